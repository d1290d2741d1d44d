#pragma once

#include "engine/tensor.h"
#include "kernels/random/philox.h"

namespace frcnn {

// Element-wise operations. All take float32 or float64 tensors of any layout and, unless said
// otherwise, are differentiable: they record themselves on the active tape.

/// max(x, 0).
Tensor relu(const Tensor& x);
/// x >= 0 ? x : slope * x.
Tensor leaky_relu(const Tensor& x, double slope);
/// min(max(x, lo), hi); an infinity leaves its side open. No gradient flows where a bound holds.
Tensor clip(const Tensor& x, double lo, double hi);
/// 1 / (1 + exp(-x)).
Tensor sigmoid(const Tensor& x);

/// a + b, a - b and a * b of one type, in a's layout. Either b has a's shape, or a is a map
/// (N, C, H, W) or a matrix (N, C) over which b is spread (kernels/elementwise/broadcast.h):
///   one element                                     the same number everywhere
///   (C), (C, 1, 1), (1, C, 1, 1), for matrices (1, C)   one number for each channel
///   (N, C, 1, 1)                                    one for each channel of each image
/// Error for any other shape of b: a is the larger one, and H and W are never spread over.
/// Gradients of b are summed in a fixed order.
Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
/// `x` itself, whose gradient is multiplied by `factor` on its way back.
Tensor scaled_gradient(const Tensor& x, double factor);
/// sum_i factors[i] * terms[i] of scalars: the combination of losses (paper, equation 1).
Tensor weighted_sum(const std::vector<Tensor>& terms, const std::vector<double>& factors);
/// Names random numbers. On a GPU the step of the key may lie in device memory (one i64): a
/// recorded graph then draws other numbers at each replay.
struct StepKey {
  kernels::RandomKey key;
  Tensor step;  ///< undefined: key.step

  StepKey(const kernels::RandomKey& key_, Tensor step_ = {})  // NOLINT: a key is one
      : key(key_), step(std::move(step_)) {}
  /// For kernels: the step in device memory, or nullptr.
  const uint64_t* device_step() const {
    return step ? reinterpret_cast<const uint64_t*>(step.data<int64_t>()) : nullptr;
  }
};
/// Inverted dropout with the mask of `key` (kernels/random/dropout.h); p = 0 returns x.
Tensor dropout(const Tensor& x, double p, const StepKey& key);
inline Tensor dropout(const Tensor& x, double p, const kernels::RandomKey& key) {
  return dropout(x, p, StepKey(key));
}
/// x (N, C, H, W) in another channel block; x itself when it is already so.
Tensor convert_block(const Tensor& x, int64_t channel_block);
/// Maps (N, C_i, H, W) of one type and device, one behind the other along the channels. The result
/// is NHWC where all maps are, else in the channel block of the first; blocks may differ.
Tensor concat_channels(const std::vector<Tensor>& maps);
/// x (N, C, H, W) with rows and columns of `value` around it, in x's layout. Negative numbers of
/// rows, which ONNX reads as a crop, throw Error.
Tensor pad2d(const Tensor& x, int64_t top, int64_t left, int64_t bottom, int64_t right,
             double value = 0);
/// Windows of x (N, C, H, W) around some of its cells, (tiles, C, window, window) in x's channel
/// block, zero outside of the map and in unused tiles: kernels/elementwise/map_tiles.h. cells
/// (tiles) i32: numbers of cells, -1 unused. places (N H W) i32, needed for gradients alone: the
/// tile of each cell, -1 none. No cell has two tiles.
Tensor gather_tiles(const Tensor& x, int window, const Tensor& cells, const Tensor& places);
/// The same elements with another shape; x must be plain row-major.
Tensor reshape(const Tensor& x, const Shape& shape);
/// (N, A*D, H, W) to rows (N*H*W*A, D): row ((n*H + h)*W + w)*A + a holds channels a*D .. a*D + D-1
/// of cell (h, w). The one place that fixes the order of anchors: that of the convolution's output.
Tensor map_to_rows(const Tensor& x, int64_t row_size);
/// Rows [begin, begin + count) of a plain tensor.
Tensor slice_rows(const Tensor& x, int64_t begin, int64_t count);
/// The rows of a plain tensor in consecutive parts of `counts` rows, which share its memory. The
/// counts must add up to its rows. The gradients of all parts are gathered in one pass; parts that
/// nothing used get zeros.
std::vector<Tensor> split_rows(const Tensor& x, const std::vector<int64_t>& counts);

/// Not differentiable: gradient = y > 0 ? gradient : 0, in place. y and gradient share a layout.
void relu_mask(const Tensor& y, Tensor& gradient);

}  // namespace frcnn
