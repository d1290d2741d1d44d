#pragma once

#include "engine/packed_weights.h"
#include "engine/tensor.h"

namespace frcnn {

/// Dense layer (kernels/linear/linear.h). x (R, in), weight (out, in), bias (out) or undefined;
/// returns (R, out), after max(0, y) when `relu`. float32 runs the fast kernels, float64 the
/// reference loops.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, bool relu = false,
              PackedWeights* packed = nullptr);

}  // namespace frcnn
