#pragma once

#include "kernels/launch/pack.cuh"

namespace frcnn::kernels::gpu {

/// The inner step of every max pooling: the maximum of N neighbouring channels over pixels that are
/// taken one after the other, and the index of each. NaN wins over numbers, a later NaN over an
/// earlier one; of equal values the first wins (torch's rules, as in window_max.h).
template <typename T, int N>
struct WindowMax {
  Pack<T, N> max;
  int at[N];

  __device__ void set(T value, int index) {
    for (int k = 0; k < N; ++k) max.v[k] = value, at[k] = index;
  }
  /// The first pixel.
  __device__ void start(const Pack<T, N>& value, int index) {
    max = value;
    for (int k = 0; k < N; ++k) at[k] = index;
  }
  __device__ void take(const Pack<T, N>& value, int index) {
    for (int k = 0; k < N; ++k) {
      const bool better = value.v[k] > max.v[k] || value.v[k] != value.v[k];
      max.v[k] = better ? value.v[k] : max.v[k];
      at[k] = better ? index : at[k];
    }
  }
};

}  // namespace frcnn::kernels::gpu
