#pragma once

#include <cstdint>

#include "kernels/launch/gpu.h"
#include "kernels/launch/layout.h"

namespace frcnn::kernels {

/// Adaptive max pooling: any map to out_h x out_w bins, which cover it and may overlap by a row:
///   bin i of n over a length L is [floor(i * L / n), ceil((i + 1) * L / n)).
/// The result has the layout x_layout.resized(out_h, out_w).
namespace cpu {

/// y[n, c, i, j] = max of x over bin (i, j). NaN propagates; of equal values the first in row-major
/// order wins. `argmax`, which may be nullptr (inference), receives h * W + w of the maximum, at
/// the index of y. x and y may not overlap. Deterministic.
template <typename T>
void adaptive_max_pool_forward(const MapLayout& x_layout, int64_t out_h, int64_t out_w,
                               const T* x,        // x_layout
                               T* y,              // x_layout.resized(out_h, out_w)
                               int32_t* argmax);  // like y, or nullptr

/// dx[h, w] = sum of dy over the bins whose maximum lies at (h, w), in row-major order of the bins.
/// Writes all of dx. Deterministic, no atomics.
template <typename T>
void adaptive_max_pool_backward(const MapLayout& x_layout, int64_t out_h, int64_t out_w,
                                const T* dy,            // x_layout.resized(out_h, out_w)
                                const int32_t* argmax,  // like dy
                                T* dx);                 // x_layout

}  // namespace cpu

enum class AdaptiveMaxPoolVersion : uint8_t { naive, vector };
inline constexpr gpu::KernelVersion kAdaptiveMaxPoolVersions[] = {
    {"naive", "one thread, one number"},
    {"vector", "one thread, 16 bytes of channels where they are neighbours; 32-bit indices"},
};

/// The same on a GPU, with the CPU's bits. Backward is a gather: no atomics.
/// docs/kernels/pooling.md.
namespace gpu {

template <Backend backend, typename T>
void adaptive_max_pool_forward(Stream stream, const MapLayout& x_layout, int64_t out_h,
                               int64_t out_w,
                               const T* x,       // x_layout
                               T* y,             // x_layout.resized(out_h, out_w)
                               int32_t* argmax,  // like y, or nullptr
                               AdaptiveMaxPoolVersion version = AdaptiveMaxPoolVersion::vector);

template <Backend backend, typename T>
void adaptive_max_pool_backward(Stream stream, const MapLayout& x_layout, int64_t out_h,
                                int64_t out_w,
                                const T* dy,            // x_layout.resized(out_h, out_w)
                                const int32_t* argmax,  // like dy
                                T* dx,                  // x_layout
                                AdaptiveMaxPoolVersion version = AdaptiveMaxPoolVersion::vector);

}  // namespace gpu
}  // namespace frcnn::kernels
