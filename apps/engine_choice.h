#pragma once

#include <string>

#include "apps/ops/registry.h"

namespace frcnn::apps {

/// Name of the kernel that a layer of the engine would take on the program's GPU for the shapes of
/// a case: what was measured for --gpu-math (docs/kernels/tuning.md), else the fixed rule. Maps are
/// NHWC there, whatever layout the case has. `pass` is "forward", "backward_data" or
/// "backward_weights". Empty on the CPU and for operations without a choice.
std::string engine_choice(const ops::Operation& op, const ops::Case& given,
                          const std::string& pass);

}  // namespace frcnn::apps
