#pragma once

#include "kernels/linear/gemm.cuh"

/// The first two steps of the ladder: the equation itself, and tiles in shared memory.
namespace frcnn::kernels::gpu::gemm {

/// One thread, one element of C: every operand element is read from global memory once per product.
template <typename A, typename B, typename Out, typename Sum>
__global__ void naive_kernel(A a, B b, Output<Out, Sum> out) {
  const int64_t size = out.m * out.n;
  for (int64_t i = grid_first(); i < size; i += grid_step()) {
    const int64_t row = i / out.n, column = i % out.n;
    Sum sum = 0;
    for (int64_t k = 0; k < a.depth; ++k)
      sum += static_cast<Sum>(a.data[a.at(row, k)]) * static_cast<Sum>(b.data[b.at(column, k)]);
    out.store(row, column, sum);
  }
}

template <typename A, typename B, typename Out, typename Sum>
void run_naive(Stream stream, const A& a, const B& b, const Output<Out, Sum>& out) {
  constexpr int kThreads = 256;
  launch({"gemm_naive", blocks_for(out.m * out.n, kThreads), kThreads, 0, stream},
         naive_kernel<A, B, Out, Sum>, a, b, out);
}

constexpr int kSimpleTile = 16;

/// One block, a 16 x 16 tile of C: 16 x 16 tiles of both operands go through shared memory, so that
/// each element is read from global memory once per 16 products. Neighbouring threads read
/// neighbouring elements, whichever index of the operand that is.
template <typename A, typename B, typename Out, typename Sum>
__global__ void __launch_bounds__(kSimpleTile* kSimpleTile)
    tiled_kernel(A a, B b, Output<Out, Sum> out, TileGrid grid) {
  constexpr int kTile = kSimpleTile;
  FRCNN_SHARED(Sum, tile_a, [kTile][kTile + 1]);  // [m][k]; the odd stride keeps columns of
  FRCNN_SHARED(Sum, tile_b, [kTile][kTile + 1]);  // [k][n]; a tile in different banks
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const auto place = grid.place(blockIdx.x);
  const int64_t row0 = int64_t{place.row} * kTile, column0 = int64_t{place.column} * kTile;
  const auto read = [](const auto& operand, int64_t outer, int64_t k) {
    return outer < operand.outer && k < operand.depth
               ? static_cast<Sum>(operand.data[operand.at(outer, k)])
               : Sum(0);
  };
  Sum sum = 0;
  for (int64_t k0 = 0; k0 < a.depth; k0 += kTile) {
    if constexpr (A::major == Major::depth) {
      tile_a[y][x] = read(a, row0 + y, k0 + x);
    } else {
      tile_a[x][y] = read(a, row0 + x, k0 + y);
    }
    if constexpr (B::major == Major::depth) {
      tile_b[x][y] = read(b, column0 + y, k0 + x);
    } else {
      tile_b[y][x] = read(b, column0 + x, k0 + y);
    }
    __syncthreads();
    for (int k = 0; k < kTile; ++k) sum += tile_a[y][k] * tile_b[k][x];
    __syncthreads();  // before the next tiles are written
  }
  out.store(row0 + y, column0 + x, sum);
}

template <typename A, typename B, typename Out, typename Sum>
void run_tiled(Stream stream, const A& a, const B& b, const Output<Out, Sum>& out) {
  const auto grid = TileGrid::of<kSimpleTile, kSimpleTile>(out.m, out.n, a.depth);
  launch({"gemm_tiled", grid.count(), {kSimpleTile, kSimpleTile}, 0, stream},
         tiled_kernel<A, B, Out, Sum>, a, b, out, grid);
}

}  // namespace frcnn::kernels::gpu::gemm
