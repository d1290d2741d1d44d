#pragma once

#include <memory>
#include <string>

#include "engine/autotune.h"
#include "kernels/conv/conv2d.h"

namespace frcnn {

// What a pass of a convolution is called and how large it is, for the choice among its kernels
// (engine/ops/tuned.h), and that choice on the CPU.

/// "forward", "backward_data", "backward_weights".
const char* conv_pass_name(kernels::LayerPass pass);
/// "<prefix> forward <arithmetic> 64/64>128/128 kernel 3x3 ..." of images, height and width.
TuningKey conv_key(const std::string& prefix, const kernels::Conv2dParams& p,
                   kernels::LayerPass pass, const std::string& arithmetic);
/// Numbers that the pass writes, the bias's gradient left out.
int64_t conv_outputs(const kernels::Conv2dParams& p, kernels::LayerPass pass);

/// The arrays that a pass reads; those of other passes may be nullptr.
struct ConvInputs {
  const float *x = nullptr, *w = nullptr, *b = nullptr, *dy = nullptr;
};
/// conv2d_plan() of the pass on the CPU: the direct form or Winograd, the faster as measured with
/// these arrays where the CPU is tuned (engine/tuning.h), else by the fixed rule of
/// ConvAlgorithm::automatic.
std::shared_ptr<const kernels::cpu::LayerPlan> cpu_conv2d_plan(const kernels::Conv2dParams& p,
                                                               kernels::LayerPass pass,
                                                               const ConvInputs& inputs);

}  // namespace frcnn
