#pragma once

#include "engine/packed_weights.h"
#include "engine/tensor.h"
#include "kernels/conv/conv2d.h"

namespace frcnn {

struct Conv2dOptions {
  int stride_h = 1, stride_w = 1;
  int pad_h = 0, pad_w = 0;
  int groups = 1;
  int dilation_h = 1, dilation_w = 1;
  bool relu = false;  ///< max(0, y), fused
  kernels::ConvAlgorithm algorithm = kernels::ConvAlgorithm::automatic;

  static constexpr Conv2dOptions square(int stride, int padding, bool relu = false) {
    return {stride, stride, padding, padding, 1, 1, 1, relu};
  }
};

/// Convolution (kernels/conv/conv2d.h). x (N, C, H, W), weight (O, C / groups, kh, kw), bias (O) or
/// undefined. Returns (N, O, H', W') in the device's preferred channel block. float32 runs the fast
/// kernels, float64 the reference loops. `packed` keeps converted weights between calls (may be
/// nullptr).
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
              const Conv2dOptions& options, PackedWeights* packed = nullptr);

/// The kernel's description of this convolution of maps x (N, C, H, W); without the bias, and with
/// out_block left to the caller.
kernels::Conv2dParams conv2d_params(const Tensor& x, const Tensor& weight,
                                    const Conv2dOptions& options);

}  // namespace frcnn
