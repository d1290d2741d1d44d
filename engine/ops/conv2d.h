#pragma once

#include "engine/packed_weights.h"
#include "engine/tensor.h"
#include "kernels/conv/conv2d.h"

namespace frcnn {

struct Conv2dOptions {
  int stride = 1;
  int padding = 0;
  bool relu = false;  ///< max(0, y), fused
  kernels::ConvAlgorithm algorithm = kernels::ConvAlgorithm::automatic;
};

/// Convolution (kernels/conv/conv2d.h). x (N, C, H, W), weight (O, C, kh, kw), bias (O) or
/// undefined. Returns (N, O, H', W') in the device's preferred channel block. float32 runs the fast
/// kernels, float64 the reference loops. `packed` keeps converted weights between calls (may be
/// nullptr).
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
              const Conv2dOptions& options, PackedWeights* packed = nullptr);

}  // namespace frcnn
