#pragma once

#include "kernels/launch/gpu.cuh"

namespace frcnn::kernels::gpu {

/// N neighbouring numbers that are read and written with one instruction of up to 16 bytes; the
/// address must be a multiple of the size.
template <typename T, int N = static_cast<int>(16 / sizeof(T))>
struct alignas(N * sizeof(T)) Pack {
  static_assert(N * sizeof(T) <= 16 && (N & (N - 1)) == 0);
  static constexpr int kSize = N;
  T v[N];
};

template <int N, typename T>
__device__ __forceinline__ Pack<T, N> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}
template <int N, typename T>
__device__ __forceinline__ void store_pack(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

/// Whether all pointers (nullptr included) are multiples of `bytes`.
template <typename... Pointers>
bool aligned_to(size_t bytes, const Pointers*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) | ...) % bytes) == 0;
}

}  // namespace frcnn::kernels::gpu
