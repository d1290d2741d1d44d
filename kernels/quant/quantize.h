#pragma once

#include <cstdint>

#include "kernels/launch/layout.h"
#include "kernels/pooling/max_pool.h"
#include "kernels/quant/number.h"

// Between float32 and the numbers of layers of reduced precision, symmetric and linear (Jacob et
// al., CVPR 2018, equation 1 with zero point 0; Wu et al., arXiv 2004.09602, section 3).
namespace frcnn::kernels::cpu {

/// y = the numbers of x in the order NHWC (channels as neighbours, no padding), whatever the layout
/// of x:
///   u8    min(max(round(x * (1 / scale)), 0), 255)
///   i8    min(max(round(x * (1 / scale)), -127), 127)
///   bf16  x rounded; `scale` is not read
/// Ties round to the even number; NaN becomes the least integer. Rows of a dense layer are a map of
/// 1 x 1 cells. x and y may not overlap. Deterministic.
void quantize_map(const MapLayout& layout, const float* x, float scale, LayerNumber number,
                  void* y);

/// Per-channel symmetric form of weights: for each of the `outputs` rows of `row` numbers
///   scales[o] = max |w[o]| / 127,   values[o] = round(w[o] * (1 / scales[o]))
/// A row of zeros has scale 1. Ties round to the even number.
void quantize_weights(int64_t outputs, int64_t row,
                      const float* w,  // (outputs, row)
                      int8_t* values,  // (outputs, row)
                      float* scales);  // (outputs)
/// w[o] = scales[o] * values[o].
void dequantize_weights(int64_t outputs, int64_t row, const int8_t* values, const float* scales,
                        float* w);

/// max_pool_forward() without positions for u8, i8 and bf16 maps, all NHWC. Quantisation keeps the
/// order of numbers, so that the maximum of quantised numbers is the quantised maximum. bf16 maps
/// may not hold negative numbers.
void max_pool_numbers(const MapLayout& x_layout, const MaxPoolParams& params, LayerNumber number,
                      const void* x, void* y);

}  // namespace frcnn::kernels::cpu
