#pragma once

#include "engine/gpu_math.h"
#include "engine/tensor.h"

namespace frcnn {

/// Whether layers with weights round their factors on this tensor's device by cpu_math(): float32
/// on the CPU alone. (A GPU's kernels round by themselves, see gpu_math().)
bool rounds_factors(const Tensor& x);
/// A copy of `x` rounded as cpu_math() says; `x` itself where nothing is to be rounded.
Tensor rounded_factors(const Tensor& x);

}  // namespace frcnn
