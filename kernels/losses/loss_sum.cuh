#pragma once

#include "kernels/launch/finite_flag.cuh"
#include "kernels/launch/reduce.cuh"
#include "kernels/launch/scan.cuh"
#include "kernels/losses/loss_scale.h"

/// The sum of a loss over a grid of one-dimensional blocks.
namespace frcnn::kernels::gpu {

constexpr int kLossThreads = 256;
constexpr unsigned kMostLossBlocks = 1024;

struct LossWork {
  double parts[kMostLossBlocks];
  unsigned finished;
};
static_assert(sizeof(LossWork) <= kLossWorkspace);

/// Depends on the number of items alone, so that the order of additions does.
inline unsigned loss_blocks(int64_t items, int64_t items_per_block) {
  const unsigned blocks = blocks_for(items, items_per_block, kMostLossBlocks);
  return blocks == 0 ? 1 : blocks;
}

__device__ inline double value_of(const LossScale& scale) {
  return scale.device == nullptr ? scale.value : scale.value * *scale.device;
}

/// *loss = scale times the sum of all threads' numbers: the threads of a block in a fixed order,
/// then the blocks in theirs, by the block that finishes last.
__device__ inline void store_loss(double sum, LossWork* work, const LossScale& scale,
                                  double* loss) {
  sum = block_sum<kLossThreads>(sum);
  if (threadIdx.x == 0) work->parts[blockIdx.x] = sum;
  if (!is_last_block(&work->finished, gridDim.x)) return;
  double total = 0;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += kLossThreads) total += work->parts[i];
  total = block_sum<kLossThreads>(total);
  if (threadIdx.x == 0) *loss = value_of(scale) * total;
}

}  // namespace frcnn::kernels::gpu
