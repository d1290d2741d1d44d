#pragma once

#include "kernels/launch/simd.h"

namespace frcnn::kernels::cpu {

/// The inner step of every max pooling: the maximum of N neighbouring channels over a window of
/// pixels, and where it lies. NaN wins over numbers, a later NaN over an earlier one; of equal
/// values the first in row-major order wins (torch's rules).
template <typename T, int N>
struct WindowMax {
  using P = Parts<T, N>;
  typename P::V::Vec max[P::kCount];
  typename P::V::IntVec at[P::kCount];  ///< first + row * index_stride + column

  FRCNN_INLINE void set(T value, int64_t index) {
    for (int k = 0; k < P::kCount; ++k) {
      max[k] = typename P::V::Vec{} + value;
      at[k] = typename P::V::IntVec{} + static_cast<typename P::V::Int>(index);
    }
  }
  FRCNN_INLINE void store_max(T* y) const {
    for (int k = 0; k < P::kCount; ++k) FRCNN_STORE(typename P::V::Vec, y + k * P::kLanes) = max[k];
  }
  /// Stores the positions as another integer type.
  template <typename Element>
  FRCNN_INLINE void store_at(Element* positions) const {
    using Target = typename Simd<Element, P::kLanes>::Vec;
    for (int k = 0; k < P::kCount; ++k) {
      Target converted;
      convert_lanes(at[k], converted);
      FRCNN_STORE(Target, positions + k * P::kLanes) = converted;
    }
  }
};

/// Window of `rows` x `columns` pixels, both > 0, whose first pixel is at `x`. Without kNan the
/// pixels must be numbers: nearly half the work is looking for NaN.
template <typename T, int N, bool kIndex, bool kNan = true>
FRCNN_INLINE void window_max(const T* x, int64_t row_stride, int64_t pixel_stride, int64_t rows,
                             int64_t columns, int64_t first, int64_t index_stride,
                             WindowMax<T, N>& best) {
  using P = Parts<T, N>;
  using Vec = typename P::V::Vec;
  using IntVec = typename P::V::IntVec;
  for (int k = 0; k < P::kCount; ++k) {
    best.max[k] = FRCNN_LOAD(Vec, x + k * P::kLanes);
    if (kIndex) best.at[k] = IntVec{} + static_cast<typename P::V::Int>(first);
  }
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      const T* pixel = x + i * row_stride + j * pixel_stride;
      const IntVec here = IntVec{} + static_cast<typename P::V::Int>(first + i * index_stride + j);
      for (int k = 0; k < P::kCount; ++k) {
        const Vec value = FRCNN_LOAD(Vec, pixel + k * P::kLanes);
        // Two selections: a combined condition would not stay in the mask registers.
        if (kIndex) {
          best.at[k] = value > best.max[k] ? here : best.at[k];
          if (kNan) best.at[k] = value != value ? here : best.at[k];
        }
        best.max[k] = value > best.max[k] ? value : best.max[k];
        if (kNan) best.max[k] = value != value ? value : best.max[k];
      }
    }
}

}  // namespace frcnn::kernels::cpu
