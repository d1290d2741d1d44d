#pragma once

#include "apps/commands.h"

namespace frcnn::apps {

// Parts of `frcnn bench`.
void add_bench_curves(CLI::App& bench, Action& action);
void add_bench_decode(CLI::App& bench, Action& action);
void add_bench_kernels(CLI::App& bench, Action& action);
void add_bench_layers(CLI::App& bench, Action& action);
void add_bench_model(CLI::App& bench, Action& action);
void add_bench_profile(CLI::App& bench, Action& action);

}  // namespace frcnn::apps
