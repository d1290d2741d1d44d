#pragma once

#include <cstdint>

#include "kernels/launch/gpu.h"
#include "kernels/launch/layout.h"

namespace frcnn::kernels {

/// Windows of a max pooling layer. Padding acts as -infinity; pad <= kernel / 2.
struct MaxPoolParams {
  int64_t kernel_h = 2, kernel_w = 2;
  int64_t stride_h = 2, stride_w = 2;
  int64_t pad_h = 0, pad_w = 0;
  bool ceil_mode = false;  ///< true: a last window that is only partly inside counts (Caffe)

  static constexpr MaxPoolParams square(int64_t kernel, int64_t stride, int64_t pad = 0,
                                        bool ceil_mode = false) {
    return {kernel, kernel, stride, stride, pad, pad, ceil_mode};
  }
};

/// Layout of the pooled map: the batch, channels and block of `x`, height and width
///   out = round((in + 2 pad - kernel) / stride) + 1, round = floor, or ceil in ceil_mode,
/// where in ceil_mode a window that would start beyond in + pad is left out (torch and Caffe
/// agree). Throws Error when the parameters or the result are not positive, or kernel_h * kernel_w
/// > 256.
MapLayout max_pool_layout(const MapLayout& x, const MaxPoolParams& params);

namespace cpu {

/// y[n, c, i, j] = max of x[n, c, h, w] over the window of (i, j). NaN propagates, as in torch. Of
/// equal values the first in row-major order wins, of several NaNs the last.
///
/// `window`, which may be nullptr (inference), receives for each element of y, at the same index,
/// the position of the maximum in its window: (h - h0) * kernel_w + (w - w0), where (h0, w0) is the
/// window's first corner, padding included: h0 = i * stride_h - pad_h.
/// x and y may not overlap. Deterministic.
template <typename T>
void max_pool_forward(const MapLayout& x_layout, const MaxPoolParams& params,
                      const T* x,        // x_layout
                      T* y,              // max_pool_layout(x_layout, params)
                      uint8_t* window);  // like y, or nullptr

/// dx[h, w] = sum of dy over the windows whose maximum lies at (h, w), in row-major order of the
/// windows. Writes all of dx (padding zero). Deterministic, no atomics.
template <typename T>
void max_pool_backward(const MapLayout& x_layout, const MaxPoolParams& params,
                       const T* dy,            // max_pool_layout(x_layout, params)
                       const uint8_t* window,  // like dy, from max_pool_forward
                       T* dx);                 // x_layout

}  // namespace cpu

enum class MaxPoolVersion : uint8_t { naive, vector, halves };
inline constexpr gpu::KernelVersion kMaxPoolVersions[] = {
    {"naive", "one thread, one number"},
    {"vector", "one thread, 16 bytes of channels where they are neighbours; 32-bit indices"},
    {"halves", "2x2 windows side by side: cells loaded at once; backward, a thread per window"},
};

/// The same on a GPU, with the CPU's bits. Backward is a gather: no atomics. `halves` is for kernel
/// and stride 2 without padding (with ceil_mode, forward, even sizes); `vector` serves elsewhere.
/// docs/kernels/pooling.md.
namespace gpu {

template <Backend backend, typename T>
void max_pool_forward(Stream stream, const MapLayout& x_layout, const MaxPoolParams& params,
                      const T* x,       // x_layout
                      T* y,             // max_pool_layout(x_layout, params)
                      uint8_t* window,  // like y, or nullptr
                      MaxPoolVersion version = MaxPoolVersion::halves);

template <Backend backend, typename T>
void max_pool_backward(Stream stream, const MapLayout& x_layout, const MaxPoolParams& params,
                       const T* dy,            // max_pool_layout(x_layout, params)
                       const uint8_t* window,  // like dy
                       T* dx,                  // x_layout
                       MaxPoolVersion version = MaxPoolVersion::halves);

}  // namespace gpu
}  // namespace frcnn::kernels
