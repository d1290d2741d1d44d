#pragma once

#include "kernels/launch/simd.h"

namespace frcnn::kernels::cpu {

/// The inner step of every max pooling: the maximum of N neighbouring channels over a window of
/// pixels, and where it lies. NaN wins over numbers, a later NaN over an earlier one; of equal
/// values the first in row-major order wins (torch's rules).
template <typename T, int N>
struct WindowMax {
  typename Simd<T, N>::Vec max;
  typename Simd<T, N>::IntVec at;  ///< row * index_stride + column, from `first`
};

/// Window of `rows` x `columns` pixels, both > 0, whose first pixel is at `x`.
template <typename T, int N, bool kIndex>
FRCNN_INLINE void window_max(const T* x, int64_t row_stride, int64_t pixel_stride, int64_t rows,
                             int64_t columns, int64_t first, int64_t index_stride,
                             WindowMax<T, N>& result) {
  using Vec = typename Simd<T, N>::Vec;
  using Int = typename Simd<T, N>::Int;
  Vec max = FRCNN_LOAD(Vec, x);
  typename Simd<T, N>::IntVec at = {};
  if (kIndex) at += static_cast<Int>(first);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      const Vec value = FRCNN_LOAD(Vec, x + i * row_stride + j * pixel_stride);
      const auto wins = (value > max) | (value != value);
      max = wins ? value : max;
      if (kIndex) at = wins ? static_cast<Int>(first + i * index_stride + j) : at;
    }
  result.max = max;
  result.at = at;
}

}  // namespace frcnn::kernels::cpu
