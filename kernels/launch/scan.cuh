#pragma once

#include "kernels/launch/gpu.cuh"

/// Prefix sums inside a block, and the block that finishes last.
namespace frcnn::kernels::gpu {

/// Sum of `value` over the threads before this one of a one-dimensional block; *total is the sum
/// over all. All threads must call it; it may be called again at once.
template <int threads>
__device__ inline int block_scan(int value, int* total) {
  static_assert(threads % 32 == 0 && threads <= 1024);
  FRCNN_SHARED(int, parts, [threads / 32]);
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int inclusive = value;
  for (unsigned step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(kAllLanes, inclusive, step);
    if (lane >= step) inclusive += other;
  }
  __syncthreads();  // the last call's readers are done
  if (lane == 31) parts[warp] = inclusive;
  __syncthreads();
  int before = 0, all = 0;
  for (unsigned i = 0; i < threads / 32; ++i) {
    if (i == warp) before = all;
    all += parts[i];
  }
  *total = all;
  return before + inclusive - value;
}

/// Whether this is the last of `blocks` blocks to come here; what the others have written to global
/// memory before is then visible to it. Leaves the counter at zero.
__device__ inline bool is_last_block(unsigned* finished, unsigned blocks) {
  FRCNN_SHARED(bool, last, [1]);
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last[0] = atomicAdd(finished, 1u) == blocks - 1;
    if (last[0]) *finished = 0;
  }
  __syncthreads();
  if (last[0]) __threadfence();
  return last[0];
}

}  // namespace frcnn::kernels::gpu
