#pragma once

#include <cstdint>

#include "kernels/launch/gpu.h"
#include "kernels/launch/layout.h"

namespace frcnn::kernels {

/// Windows of an average pooling layer, as ONNX's AveragePool has them (operator specification,
/// opset 22, without dilation) and torch's AvgPool2d. Padding acts as zeros; pad < kernel.
struct AvgPoolParams {
  int64_t kernel_h = 2, kernel_w = 2;
  int64_t stride_h = 2, stride_w = 2;
  int64_t pad_h = 0, pad_w = 0;
  bool ceil_mode = false;  ///< true: a last window that is only partly inside counts
  /// What a sum is divided by: the cells of its window that lie in the map, or, when true, in the
  /// padded map. Cells beyond the end padding, which a last window has in ceil_mode, never count.
  bool count_include_pad = false;

  static constexpr AvgPoolParams square(int64_t kernel, int64_t stride, int64_t pad = 0) {
    return {kernel, kernel, stride, stride, pad, pad, false, false};
  }
};

/// Layout of the pooled map: the batch, channels and block of `x`, height and width
///   out = round((in + 2 pad - kernel) / stride) + 1, round = floor, or ceil in ceil_mode,
/// where in ceil_mode a window that would begin in the end padding or beyond it is dropped. Throws
/// Error when the parameters or the result are not positive, or a pad is not below its kernel.
MapLayout avg_pool_layout(const MapLayout& x, const AvgPoolParams& params);

namespace cpu {

/// y[n, c, i, j] = sum of x[n, c, h, w] over the cells of window (i, j) / their number. Sums run in
/// T, row by row. x and y may not overlap; padding channels of y are written as zero.
/// Deterministic.
template <typename T>
void avg_pool_forward(const MapLayout& x_layout, const AvgPoolParams& params,
                      const T* x,  // x_layout
                      T* y);       // avg_pool_layout(x_layout, params)

/// dx[h, w] = sum over the windows that hold (h, w), row by row, of dy / the window's number.
/// Writes all of dx. A gather: deterministic, no atomics.
template <typename T>
void avg_pool_backward(const MapLayout& x_layout, const AvgPoolParams& params,
                       const T* dy,  // avg_pool_layout(x_layout, params)
                       T* dx);       // x_layout

/// y[n, c] = sum of x[n, c, :, :] / (H W): ONNX's GlobalAveragePool. Sums are double. A map without
/// cells throws Error.
template <typename T>
void global_avg_pool_forward(const MapLayout& x_layout,
                             const T* x,  // x_layout
                             T* y);       // x_layout.resized(1, 1)

/// dx[n, c, h, w] = dy[n, c] / (H W).
template <typename T>
void global_avg_pool_backward(const MapLayout& x_layout,
                              const T* dy,  // x_layout.resized(1, 1)
                              T* dx);       // x_layout

}  // namespace cpu

enum class AvgPoolVersion : uint8_t { naive, vector };
inline constexpr gpu::KernelVersion kAvgPoolVersions[] = {
    {"naive", "one thread, one number"},
    {"vector", "one thread, 16 bytes of channels where they are neighbours; 32-bit indices"},
};
enum class GlobalAvgPoolVersion : uint8_t { naive, block };
inline constexpr gpu::KernelVersion kGlobalAvgPoolVersions[] = {
    {"naive", "one thread, one channel: the loop over its cells"},
    {"block",
     "a block shares 32 channels (a warp a plane of NCHW): reads in rows, sums by shuffles"},
};

/// The same on a GPU. Windows have the CPU's bits; the double sums of whole maps are added in
/// another order, which depends on the shape only. docs/kernels/pooling.md.
namespace gpu {

template <Backend backend, typename T>
void avg_pool_forward(Stream stream, const MapLayout& x_layout, const AvgPoolParams& params,
                      const T* x, T* y, AvgPoolVersion version = AvgPoolVersion::vector);
template <Backend backend, typename T>
void avg_pool_backward(Stream stream, const MapLayout& x_layout, const AvgPoolParams& params,
                       const T* dy, T* dx, AvgPoolVersion version = AvgPoolVersion::vector);
template <Backend backend, typename T>
void global_avg_pool_forward(Stream stream, const MapLayout& x_layout, const T* x, T* y,
                             GlobalAvgPoolVersion version = GlobalAvgPoolVersion::block);
template <Backend backend, typename T>
void global_avg_pool_backward(Stream stream, const MapLayout& x_layout, const T* dy, T* dx,
                              AvgPoolVersion version = AvgPoolVersion::vector);

}  // namespace gpu
}  // namespace frcnn::kernels
