#pragma once

#include "kernels/launch/gpu.cuh"

/// Building blocks of reductions inside a warp or a block. The order of additions depends on the
/// block's size only: equal runs give equal bits.
namespace frcnn::kernels::gpu {

/// Sum over the 32 lanes, in every lane.
template <typename T>
__device__ inline T warp_sum(T value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}
template <typename T>
__device__ inline T warp_max(T value) {
  for (int step = 16; step > 0; step /= 2) {
    const T other = __shfl_xor_sync(kAllLanes, value, step);
    value = other > value ? other : value;
  }
  return value;
}
template <typename T>
__device__ inline T warp_min(T value) {
  for (int step = 16; step > 0; step /= 2) {
    const T other = __shfl_xor_sync(kAllLanes, value, step);
    value = other < value ? other : value;
  }
  return value;
}

/// Sum over a one-dimensional block of `threads` (a multiple of 32), in every thread. All threads
/// must call it; it may be called again at once.
template <int threads, typename T>
__device__ inline T block_sum(T value) {
  static_assert(threads % 32 == 0 && threads <= 1024);
  FRCNN_SHARED(T, parts, [threads / 32]);
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  value = warp_sum(value);
  __syncthreads();  // the last call's readers are done
  if (lane == 0) parts[warp] = value;
  __syncthreads();
  T total = parts[0];
  for (int i = 1; i < threads / 32; ++i) total += parts[i];
  return total;
}

}  // namespace frcnn::kernels::gpu
