#pragma once

#include "kernels/launch/reduce.cuh"
#include "kernels/launch/scan.cuh"

/// Sums over a whole grid, in an order that the grid's size alone decides.
namespace frcnn::kernels::gpu {

/// Most blocks of a grid that takes sums.
inline constexpr unsigned kMostSumBlocks = 1024;

/// Scratch in device memory: zero before its first use, and left fit for the next.
struct GridWork {
  double parts[kMostSumBlocks];  ///< one number of each block
  unsigned finished;
};

/// Blocks for `items`, of which a block takes `items_per_block` at a time; at least one.
inline unsigned sum_blocks(int64_t items, int64_t items_per_block) {
  const unsigned blocks = blocks_for(items, items_per_block, kMostSumBlocks);
  return blocks == 0 ? 1 : blocks;
}

/// The sum of the numbers of all threads of a grid of one-dimensional blocks: those of a block in a
/// fixed order, then the blocks in theirs, by the block that finishes last. Calls store(total) in
/// one thread of the grid. All threads must call it.
template <int threads, typename Store>
__device__ void grid_sum(double value, GridWork* work, const Store& store) {
  value = block_sum<threads>(value);
  if (threadIdx.x == 0) work->parts[blockIdx.x] = value;
  if (!is_last_block(&work->finished, gridDim.x)) return;
  double total = 0;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += threads) total += work->parts[i];
  total = block_sum<threads>(total);
  if (threadIdx.x == 0) store(total);
}

}  // namespace frcnn::kernels::gpu
