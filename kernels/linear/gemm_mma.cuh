#pragma once

#include "kernels/linear/gemm_tiles.cuh"

/// Products on tensor cores (mma.sync, compute capability 8.0): tf32 or bfloat16 factors, float32
/// sums.
///
///   tile of C    128 x 128 per block of four warps; a warp keeps 64 x 64 sums in registers
///   global       cp.async, 16 bytes at a time, straight to shared memory: four tiles per operand,
///                three of them on their way while one is used; one barrier per tile
///   shared       elements as they are in global memory, in either order, 64 bytes deep, swizzled
///                so that no access has a bank conflict; 64 KiB
///   fragments    ldmatrix where the elements already have the width of the factors; otherwise each
///                lane gathers its elements and rounds them (bfloat16 factors from float32)
namespace frcnn::kernels::gpu::gemm {

constexpr int kMmaThreads = 128;
constexpr int kMmaStages = 4;

/// Two floats rounded to bfloat16, as a register of mma: the lower half comes first in k.
__device__ inline uint32_t pack_bf16(float low, float high) {
#if defined(__CUDACC__) && FRCNN_ARCHITECTURE >= 800
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return uint32_t{Bfloat16(high).bits} << 16 | Bfloat16(low).bits;
#endif
}

/// Brings tiles of one operand from global to shared memory, one after the other along the depth.
/// Elements outside the operand become zeros.
template <typename Tile, typename Source, bool wide>
class TileCopy {
  using T = typename Source::Element;
  static constexpr bool kDepthMajor = Source::major == Major::depth;
  static constexpr int kGroup = wide ? Source::kWide : 1;  // elements of one copy
  static constexpr int kAcross = Tile::kColumns / kGroup;  // copies per row
  static constexpr int kRowsAtOnce = kMmaThreads / kAcross;
  static constexpr int kPasses = Tile::kRows / kRowsAtOnce;
  // Copies of single elements, at most four at once: more would not fit into the registers.
  static constexpr int kUnroll = wide ? kPasses : 4;
  static_assert(kMmaThreads % kAcross == 0 && Tile::kRows % kRowsAtOnce == 0);

 public:
  /// Tiles of 128 from outer0 on and of the depth from k0 to k_end.
  __device__ TileCopy(const Source& source, int64_t outer0, int64_t k0, int64_t k_end)
      : stride_(source.stride()) {
    const int t = static_cast<int>(threadIdx.x);
    const int row = t / kAcross, column = t % kAcross * kGroup;
    outer_ = kDepthMajor ? row : column;
    k_ = kDepthMajor ? column : row;
    from_ = source.data + source.at(outer0 + outer_, k0 + k_);
    outer_left_ = static_cast<int>(std::min<int64_t>(source.outer - outer0, Tile::kSize)) - outer_;
    k_left_ = static_cast<int>(k_end - k0) - k_;
  }

  __device__ void start(T* tile) {
#pragma unroll kUnroll
    for (int pass = 0; pass < kPasses; ++pass) {
      const int rows = pass * kRowsAtOnce;
      const int outer = kDepthMajor ? rows : 0, k = kDepthMajor ? 0 : rows;
      copy(tile + Tile::at(outer_ + outer, k_ + k), from_ + rows * stride_,
           outer_left_ > outer && k_left_ > k);
    }
    from_ += kDepthMajor ? Tile::kDepth : Tile::kDepth * stride_;
    k_left_ -= Tile::kDepth;
  }

 private:
  __device__ static void copy(T* to, const T* from, bool inside) {
    constexpr int kBytes = kGroup * static_cast<int>(sizeof(T));
    if constexpr (kBytes >= 4) {
      async_copy<kBytes>(to, from, inside);
    } else {  // cp.async copies no fewer than four bytes
      *to = inside ? *from : T{};
    }
  }

  const T* from_;
  int64_t stride_;
  int outer_, k_;            ///< of this thread's first element in the tile
  int outer_left_, k_left_;  ///< elements from there to the operand's end
};

/// The fragment of 16 (outer, from o0) x Math::kDepth (from k0) as mma wants it of A: with half the
/// depth h, registers 0 to 3 hold (o0, k0), (o0 + 8, k0), (o0, k0 + h), (o0 + 8, k0 + h). The same
/// registers are two fragments of B, 8 wide each: {0, 2} and {1, 3}.
template <typename Math, typename Tile>
__device__ inline void load_fragment(const typename Tile::Element* tile, int o0, int k0,
                                     uint32_t (&r)[4]) {
  constexpr int kHalf = Math::kDepth / 2;
  const int lane = static_cast<int>(threadIdx.x % kWarpSize);
  if constexpr (Tile::kLdmatrix) {
    const int matrix = lane / 8, row = lane % 8;  // this lane names a row of 16 bytes
    const int o = o0 + matrix % 2 * 8, k = k0 + matrix / 2 * kHalf;
    if constexpr (Tile::major == Major::depth) {
      load_matrix_x4(r, tile + Tile::at(o + row, k));
    } else {
      load_matrix_x4<true>(r, tile + Tile::at(o, k + row));
    }
    if constexpr (std::is_same_v<Math, Tf32>) {
#pragma unroll
      for (uint32_t& word : r) word = to_tf32(__uint_as_float(word));
    }
  } else {
    const int group = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int o = o0 + i % 2 * 8 + group, k = k0 + i / 2 * kHalf;
      if constexpr (std::is_same_v<Math, Tf32>) {
        r[i] = to_tf32(tile[Tile::at(o, k + t)]);
      } else if constexpr (Tile::major == Major::depth) {
        const float2 pair = *reinterpret_cast<const float2*>(tile + Tile::at(o, k + 2 * t));
        r[i] = pack_bf16(pair.x, pair.y);
      } else {
        r[i] = pack_bf16(tile[Tile::at(o, k + 2 * t)], tile[Tile::at(o, k + 2 * t + 1)]);
      }
    }
  }
}

/// Shared memory of a block, and where each stage's tiles begin in it.
template <typename Math, typename A, typename B>
struct MmaPipeline {
  using TileA = MmaTile<Math, typename A::Element, A::major>;
  using TileB = MmaTile<Math, typename B::Element, B::major>;
  static_assert(TileA::kDepth == TileB::kDepth);
  static constexpr int kStageBytes = TileA::kBytes + TileB::kBytes;
  static constexpr int kBytes = kMmaStages * kStageBytes;
  static_assert(kBytes <= 99 << 10, "all architectures from 8.0 on have that much");

  unsigned char* shared;
  __device__ typename A::Element* a(int stage) const {
    return reinterpret_cast<typename A::Element*>(shared + stage * kStageBytes);
  }
  __device__ typename B::Element* b(int stage) const {
    return reinterpret_cast<typename B::Element*>(shared + stage * kStageBytes + TileA::kBytes);
  }
};

template <typename Math, typename A, typename B, typename Out, bool wide>
__global__ void __launch_bounds__(kMmaThreads, 2)
    mma_kernel(A a, B b, Output<Out, float> out, TileGrid grid, Split split) {
  using Pipeline = MmaPipeline<Math, A, B>;
  using TileA = typename Pipeline::TileA;
  using TileB = typename Pipeline::TileB;
  FRCNN_DYNAMIC_SHARED(unsigned char, shared);
  const Pipeline pipeline{shared};
  const auto place = grid.place(blockIdx.x);
  const int64_t row0 = int64_t{place.row} * TileA::kSize;
  const int64_t column0 = int64_t{place.column} * TileB::kSize;
  const int64_t k0 = blockIdx.y * split.depth, k_end = std::min(a.depth, k0 + split.depth);
  const int warp = static_cast<int>(threadIdx.x / kWarpSize);
  const int warp_row = warp / 2 * 64, warp_column = warp % 2 * 64;

  TileCopy<TileA, A, wide> copy_a(a, row0, k0, k_end);
  TileCopy<TileB, B, wide> copy_b(b, column0, k0, k_end);
  const int count = static_cast<int>(ceil_div(k_end - k0, TileA::kDepth));
  const auto start = [&](int tile) {  // one group of copies per tile, also where there is none
    if (tile < count) {
      copy_a.start(pipeline.a(tile % kMmaStages));
      copy_b.start(pipeline.b(tile % kMmaStages));
    }
    async_commit();
  };

  float sums[4][8][4] = {};  // 16 x 8 pieces, in the lanes' order of mma
  for (int tile = 0; tile < kMmaStages - 1; ++tile) start(tile);
  for (int tile = 0; tile < count; ++tile) {
    async_wait<kMmaStages - 2>();  // this tile is there ...
    __syncthreads();               // ... of all threads, and all are done with the one before,
    start(tile + kMmaStages - 1);  // whose place is free
    const auto* tile_a = pipeline.a(tile % kMmaStages);
    const auto* tile_b = pipeline.b(tile % kMmaStages);
#pragma unroll
    for (int k = 0; k < TileA::kDepth; k += Math::kDepth) {
      uint32_t x[4][4];
#pragma unroll
      for (int i = 0; i < 4; ++i) load_fragment<Math, TileA>(tile_a, warp_row + 16 * i, k, x[i]);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        uint32_t y[4];
        load_fragment<Math, TileB>(tile_b, warp_column + 16 * j, k, y);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          Math::multiply(sums[i][2 * j], x[i], {y[0], y[2]});
          Math::multiply(sums[i][2 * j + 1], x[i], {y[1], y[3]});
        }
      }
    }
  }
  async_wait<0>();

  if (split.count > 1) out.data += blockIdx.y * out.m * out.n;
  const bool together = out.wide();
  const int lane = static_cast<int>(threadIdx.x % kWarpSize);
  const int64_t row = row0 + warp_row + lane / 4, column = column0 + warp_column + lane % 4 * 2;
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 8; ++j)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float pair[2] = {sums[i][j][2 * half], sums[i][j][2 * half + 1]};
        out.template store<2>(row + 16 * i + 8 * half, column + 8 * j, pair, together);
      }
}

template <typename Math, typename A, typename B, typename Out>
void run_mma(Stream stream, const A& a, const B& b, const Output<Out, float>& out,
             const Split& split, void* workspace) {
  using Pipeline = MmaPipeline<Math, A, B>;
  const auto grid =
      TileGrid::of<Pipeline::TileA::kSize, Pipeline::TileB::kSize>(out.m, out.n, a.depth);
  run_split(stream, split, out, workspace, [&](const auto& output) {
    using To = std::remove_pointer_t<decltype(output.data)>;
    const bool wide = a.wide() && b.wide();
    launch({std::is_same_v<Math, Tf32> ? "gemm_mma_tf32" : "gemm_mma_bf16",
            {grid.count(), static_cast<unsigned>(split.count)},
            kMmaThreads,
            size_t{Pipeline::kBytes},
            stream},
           wide ? mma_kernel<Math, A, B, To, true> : mma_kernel<Math, A, B, To, false>, a, b,
           output, grid, split);
  });
}

}  // namespace frcnn::kernels::gpu::gemm
