#pragma once

#include "kernels/elementwise/elementwise.h"
#include "kernels/launch/pack.cuh"

/// A function of one or two numbers applied to flat arrays, for elementwise.cu and its neighbours.
namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;

/// y[i] = f(a[i], b[i]); functions of one argument leave the second alone.
template <typename T, typename F>
__global__ void map_scalar(F f, int64_t count, const T* a, const T* b, T* y) {
  for (int64_t i = grid_first(); i < count; i += grid_step()) y[i] = f(a[i], b[i]);
}

template <typename T, typename F>
__global__ void map_vector(F f, int64_t count, const T* a, const T* b, T* y) {
  constexpr int kSize = Pack<T>::kSize;
  const int64_t packs = count / kSize;
  for (int64_t i = grid_first(); i < packs; i += grid_step()) {
    const auto pa = load_pack<kSize>(a + i * kSize), pb = load_pack<kSize>(b + i * kSize);
    Pack<T> py;
    for (int k = 0; k < kSize; ++k) py.v[k] = f(pa.v[k], pb.v[k]);
    store_pack(y + i * kSize, py);
  }
  for (int64_t i = packs * kSize + grid_first(); i < count; i += grid_step()) y[i] = f(a[i], b[i]);
}

template <typename T, typename F>
void map(const char* name, Stream stream, ElementwiseVersion version, int64_t count, F f,
         const T* a, const T* b, T* y) {
  if (count == 0) return;
  const bool vector = version == ElementwiseVersion::vector && aligned_to(16, a, b, y);
  const int64_t items = vector ? ceil_div(count, Pack<T>::kSize) : count;
  launch({name, blocks_for(items, kThreads), kThreads, 0, stream},
         vector ? map_vector<T, F> : map_scalar<T, F>, f, count, a, b, y);
}

}  // namespace
}  // namespace frcnn::kernels::gpu
