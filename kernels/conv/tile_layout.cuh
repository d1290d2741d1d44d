#pragma once

#include "kernels/conv/conv2d_gpu.h"
#include "kernels/launch/bfloat16.h"
#include "kernels/launch/gpu.cuh"

/// Block tiles of matrix products: their sizes, and where their elements lie in shared memory.
namespace frcnn::kernels::gpu::conv {
namespace {

/// Size of a block tile, threads of the block, how its warps (tensor cores) share it, and the least
/// number of blocks that a multiprocessor must have the registers for.
struct LargeShape {
  static constexpr int kM = 128, kN = 128, kThreads = 256, kWarpsM = 2, kWarpsN = 4;
  static constexpr int kBlocks = 2;
};
struct SmallShape {
  static constexpr int kM = 64, kN = 64, kThreads = 128, kWarpsM = 2, kWarpsN = 2;
  static constexpr int kBlocks = 4;
};

/// The large tile where it gives at least one block to each multiprocessor of a large GPU.
inline bool takes_large_tile(ConvTile tile, int64_t rows, int64_t columns, int64_t times) {
  constexpr int64_t kMultiprocessors = 132;
  if (tile != ConvTile::automatic) return tile == ConvTile::large;
  return columns > 64 && ceil_div(rows, 128) * ceil_div(columns, 128) * times >= kMultiprocessors;
}

/// Rows of four 16-byte chunks. Eight rows that are read at the same chunk would meet two groups of
/// four banks; the XOR spreads them over all eight.
struct RowTile {
  static constexpr int kRowBytes = 64, kChunks = 4;
  __device__ static int at(int row, int chunk) {
    return row * kRowBytes + ((chunk ^ ((row >> 1) & 3)) << 4);
  }
  /// Half a chunk, for 16 lanes x that read rows x, x + 16, ... together: the upper eight lanes
  /// take the halves in the other order, since rows 8 apart share their banks.
  __device__ static int at_half(int row, int half, int x) {
    return at(row, half / 2) + ((half % 2) ^ (x / 8)) * 8;
  }
};

/// Rows of kColumns elements, padded by 8: neighbouring rows begin 4 (16-bit elements, ldmatrix) or
/// 8 banks (32-bit elements, plain loads) apart, so that the rows of one access never collide.
template <typename E, int kColumns>
struct ColumnTile {
  static constexpr int kStride = kColumns + 8;
  static constexpr int kRows = 64 / static_cast<int>(sizeof(E));
  static constexpr int kBytes = kRows * kStride * static_cast<int>(sizeof(E));
  __device__ static int at(int row, int column) {
    return (row * kStride + column) * static_cast<int>(sizeof(E));
  }
};

}  // namespace
}  // namespace frcnn::kernels::gpu::conv
