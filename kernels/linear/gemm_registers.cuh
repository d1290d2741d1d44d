#pragma once

#include "kernels/linear/gemm_tiles.cuh"

/// The fastest float32 product without tensor cores. Shared memory cannot feed the arithmetic units
/// when every product reads two numbers from it; so each thread keeps 8 x 8 sums in registers, and
/// 16 numbers read serve 64 products (Volkov & Demmel, SC 2008).
///
///   tile of C    128 x 128 per block of 256 threads, 8 deep
///   global       16 bytes per load; the next tile is on its way to registers while this one is
///   used shared       two tiles per operand, [k][outer]: one barrier per tile; rows of 132 floats
///   keep
///                the transposing stores of depth-major operands free of bank conflicts
///   a warp       32 x 64 of C; a thread's sums are four 4 x 4 pieces, so that a 16-byte read of
///                eight lanes covers all banks once
namespace frcnn::kernels::gpu::gemm {

/// Brings tiles of one operand from global to shared memory: four elements per thread and tile.
template <typename Source, bool wide>
class RegisterFetch {
  using Tile = RegisterTile;
  static constexpr bool kDepthMajor = Source::major == Major::depth;

 public:
  /// Tiles of 128 from outer0 on and of the depth from k0 to k_end.
  __device__ RegisterFetch(const Source& source, int64_t outer0, int64_t k0, int64_t k_end) {
    const int t = static_cast<int>(threadIdx.x);
    const int outer = kDepthMajor ? t / 2 : t % 32 * 4, k = kDepthMajor ? t % 2 * 4 : t / 32;
    target_ = k * Tile::kStride + outer;
    from_ = source.data + source.at(outer0 + outer, k0 + k);
    step_ = kDepthMajor ? Tile::kDepth : Tile::kDepth * static_cast<int>(source.stride());
    outer_left_ = static_cast<int>(std::min<int64_t>(source.outer - outer0, Tile::kSize)) - outer;
    k_left_ = static_cast<int>(k_end - k0) - k;
  }

  /// Reads the next tile into registers; what lies outside the operand is zero.
  __device__ void load() {
    if constexpr (wide) {  // a group of four is inside or outside as a whole
      float4 group{0, 0, 0, 0};
      if (outer_left_ > 0 && k_left_ > 0) group = *reinterpret_cast<const float4*>(from_);
      value_[0] = group.x, value_[1] = group.y, value_[2] = group.z, value_[3] = group.w;
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const bool inside = outer_left_ > (kDepthMajor ? 0 : i) && k_left_ > (kDepthMajor ? i : 0);
        value_[i] = inside ? from_[i] : 0.0f;
      }
    }
    from_ += step_;
    k_left_ -= Tile::kDepth;
  }
  __device__ void store(Tile::Buffer& tile) const {
    if constexpr (kDepthMajor) {
#pragma unroll
      for (int i = 0; i < 4; ++i) tile.values[target_ + i * Tile::kStride] = value_[i];
    } else {
      *reinterpret_cast<float4*>(&tile.values[target_]) =
          make_float4(value_[0], value_[1], value_[2], value_[3]);
    }
  }

 private:
  const float* from_;
  int step_;  ///< elements from one tile to the next
  int target_;
  int outer_left_, k_left_;  ///< elements from this thread's first one to the operand's end
  float value_[4];
};

/// Eight numbers of a row of a tile: four from `at`, four from `at` + `apart`.
__device__ inline void read_eight(float (&value)[8], const float* at, int apart) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float4 group = *reinterpret_cast<const float4*>(at + half * apart);
    value[4 * half] = group.x, value[4 * half + 1] = group.y;
    value[4 * half + 2] = group.z, value[4 * half + 3] = group.w;
  }
}

template <typename A, typename B, typename Out, bool wide>
__global__ void __launch_bounds__(RegisterTile::kThreads, 2)
    registers_kernel(A a, B b, Output<Out, float> out, TileGrid grid, Split split) {
  using Tile = RegisterTile;
  FRCNN_SHARED(Tile::Buffer, tiles_a, [2]);
  FRCNN_SHARED(Tile::Buffer, tiles_b, [2]);
  const auto place = grid.place(blockIdx.x);
  const int64_t row0 = int64_t{place.row} * Tile::kSize;
  const int64_t column0 = int64_t{place.column} * Tile::kSize;
  const int64_t k0 = blockIdx.y * split.depth, k_end = std::min(a.depth, k0 + split.depth);

  const int warp = static_cast<int>(threadIdx.x / kWarpSize);
  const int lane = static_cast<int>(threadIdx.x % kWarpSize);
  const int row = warp / 2 * 32 + lane / 8 * 4;     // of this thread in the tile; 16 apart again
  const int column = warp % 2 * 64 + lane % 8 * 4;  // 32 apart again

  float sums[8][8] = {};
  RegisterFetch<A, wide> fetch_a(a, row0, k0, k_end);
  RegisterFetch<B, wide> fetch_b(b, column0, k0, k_end);
  const int count = static_cast<int>(ceil_div(k_end - k0, Tile::kDepth));
  if (count > 0) {
    fetch_a.load();
    fetch_b.load();
    fetch_a.store(tiles_a[0]);
    fetch_b.store(tiles_b[0]);
    __syncthreads();
  }
  for (int tile = 0; tile < count; ++tile) {
    const bool more = tile + 1 < count;
    if (more) {
      fetch_a.load();
      fetch_b.load();
    }
    const Tile::Buffer& tile_a = tiles_a[tile % 2];
    const Tile::Buffer& tile_b = tiles_b[tile % 2];
#pragma unroll 2  // eight steps at once would not fit into 128 registers
    for (int k = 0; k < Tile::kDepth; ++k) {
      float x[8], y[8];
      read_eight(x, &tile_a.values[k * Tile::kStride + row], 16);
      read_eight(y, &tile_b.values[k * Tile::kStride + column], 32);
#pragma unroll
      for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int j = 0; j < 8; ++j) sums[i][j] += x[i] * y[j];
    }
    if (more) {  // the other buffers: their readers passed the last barrier
      fetch_a.store(tiles_a[(tile + 1) % 2]);
      fetch_b.store(tiles_b[(tile + 1) % 2]);
    }
    __syncthreads();
  }

  if (split.count > 1) out.data += blockIdx.y * out.m * out.n;
  const bool together = out.wide();
#pragma unroll
  for (int i = 0; i < 8; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float* from = &sums[i][4 * half];
      const float group[4] = {from[0], from[1], from[2], from[3]};
      out.template store<4>(row0 + row + i / 4 * 16 + i % 4, column0 + column + half * 32, group,
                            together);
    }
}

template <typename A, typename B, typename Out>
void run_registers(Stream stream, const A& a, const B& b, const Output<Out, float>& out,
                   const Split& split, void* workspace) {
  const auto grid = TileGrid::of<RegisterTile::kSize, RegisterTile::kSize>(out.m, out.n, a.depth);
  run_split(stream, split, out, workspace, [&](const auto& output) {
    using To = std::remove_pointer_t<decltype(output.data)>;
    const bool wide = a.wide() && b.wide();
    launch({"gemm_registers",
            {grid.count(), static_cast<unsigned>(split.count)},
            RegisterTile::kThreads,
            0,
            stream},
           wide ? registers_kernel<A, B, To, true> : registers_kernel<A, B, To, false>, a, b,
           output, grid, split);
  });
}

}  // namespace frcnn::kernels::gpu::gemm
