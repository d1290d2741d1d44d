#include <CLI/CLI.hpp>

#include "apps/bench/commands.h"

namespace frcnn::apps {

void add_bench(CLI::App& app, Action& action) {
  CLI::App* bench = app.add_subcommand("bench", "measure how long the work takes");
  bench->require_subcommand(1);
  bench->footer("Example: frcnn bench model --height 600 --width 800");
  add_bench_curves(*bench, action);
  add_bench_decode(*bench, action);
  add_bench_kernels(*bench, action);
  add_bench_layers(*bench, action);
  add_bench_model(*bench, action);
  add_bench_profile(*bench, action);
}

}  // namespace frcnn::apps
