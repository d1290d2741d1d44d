#pragma once

#include "kernels/launch/gpu.cuh"
#include "kernels/launch/layout.h"
#include "kernels/launch/reduce.cuh"

/// Sums over the cells of a map, channel by channel, in double: for the gradient of what was spread
/// over a map, and for the mean of a whole map. Planes may be cut into `pieces` of `piece` cells,
/// so that few channels of a large map are work for many blocks. The order of additions depends on
/// the shape only.
///
/// A `Put` receives what was summed: put(n, c, piece, sum) for every channel c of every image,
/// padding channels (with 0) included.
namespace frcnn::kernels::gpu {
namespace {

constexpr int kSumThreads = 256;

struct SumShape {
  MapLayout layout;
  int64_t piece, pieces;
  SumShape(const MapLayout& map, int64_t piece_cells)
      : layout(map), piece(piece_cells), pieces(ceil_div(map.h * map.w, piece_cells)) {}
  __host__ __device__ int64_t stored() const { return layout.blocks() * layout.block; }
};

/// The product with `factor`, which may be nullptr: 1.
template <typename T>
__device__ double sum_term(const T* x, const T* factor, int64_t at) {
  const auto value = static_cast<double>(x[at]);
  return factor == nullptr ? value : value * static_cast<double>(factor[at]);
}

/// One thread, one channel of one piece.
template <typename T, typename Put>
__global__ void channel_sums_naive(SumShape shape, const T* x, const T* factor, Put put) {
  const MapLayout& map = shape.layout;
  const int64_t stored = shape.stored(), count = map.n * stored * shape.pieces;
  for (int64_t item = grid_first(); item < count; item += grid_step()) {
    const int64_t piece = item % shape.pieces, c = item / shape.pieces % stored;
    const int64_t n = item / shape.pieces / stored;
    const int64_t first = piece * shape.piece, cells = map.h * map.w;
    const int64_t end = first + shape.piece < cells ? first + shape.piece : cells;
    const int64_t start = map.block_at(n, c / map.block) + c % map.block;
    double sum = 0;
    for (int64_t i = first; c < map.c && i < end; ++i)
      sum += sum_term(x, factor, start + i * map.block);
    put(n, c, piece, sum);
  }
}

/// Channels side by side in memory: 32 lanes are 32 channels, the warps take turns at the cells.
template <typename T, typename Put>
__global__ void __launch_bounds__(kSumThreads)
    channel_sums_block(SumShape shape, const T* x, const T* factor, Put put) {
  constexpr int kWarps = kSumThreads / 32;
  FRCNN_SHARED(double, parts, [kWarps][32]);
  const MapLayout& map = shape.layout;
  const int64_t deep = ceil_div(shape.stored(), int64_t{32});
  const int64_t piece = blockIdx.x % shape.pieces, n = blockIdx.x / shape.pieces / deep;
  const auto lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int64_t c = blockIdx.x / shape.pieces % deep * 32 + lane;
  const int64_t first = piece * shape.piece, cells = map.h * map.w;
  const int64_t end = first + shape.piece < cells ? first + shape.piece : cells;
  double sum = 0;
  if (c < map.c) {
    const int64_t start = map.block_at(n, c / map.block) + c % map.block;
    for (int64_t i = first + warp; i < end; i += kWarps)
      sum += sum_term(x, factor, start + i * map.block);
  }
  parts[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || c >= shape.stored()) return;
  for (int i = 1; i < kWarps; ++i) sum += parts[i][lane];
  put(n, c, piece, sum);
}

/// NCHW: a warp has one channel, its lanes are neighbouring cells.
template <typename T, typename Put>
__global__ void __launch_bounds__(kSumThreads)
    channel_sums_rows(SumShape shape, const T* x, const T* factor, Put put) {
  const MapLayout& map = shape.layout;
  const int64_t item = int64_t{blockIdx.x} * (kSumThreads / 32) + threadIdx.x / 32;
  if (item >= map.n * map.c * shape.pieces) return;
  const int64_t piece = item % shape.pieces, plane = item / shape.pieces, cells = map.h * map.w;
  const int64_t first = piece * shape.piece, start = plane * cells;
  const int64_t end = first + shape.piece < cells ? first + shape.piece : cells;
  double sum = 0;
  for (int64_t i = first + threadIdx.x % 32; i < end; i += 32)
    sum += sum_term(x, factor, start + i);
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) put(plane / map.c, plane % map.c, piece, sum);
}

template <typename T, typename Put>
void channel_sums(const char* name, Stream stream, const SumShape& shape, bool naive, const T* x,
                  const T* factor, const Put& put) {
  const MapLayout& map = shape.layout;
  if (naive) {
    const int64_t count = map.n * shape.stored() * shape.pieces;
    launch({name, blocks_for(count, kSumThreads), kSumThreads, 0, stream},
           channel_sums_naive<T, Put>, shape, x, factor, put);
    return;
  }
  const bool rows = map.block == 1;
  const int64_t blocks = rows ? ceil_div(map.n * map.c * shape.pieces, int64_t{kSumThreads / 32})
                              : map.n * ceil_div(shape.stored(), int64_t{32}) * shape.pieces;
  check(blocks < (int64_t{1} << 31), "[{}] {} blocks are too many for one launch", name, blocks);
  launch({name, static_cast<unsigned>(blocks), kSumThreads, 0, stream},
         rows ? channel_sums_rows<T, Put> : channel_sums_block<T, Put>, shape, x, factor, put);
}

}  // namespace
}  // namespace frcnn::kernels::gpu
