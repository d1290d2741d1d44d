#pragma once

#include "kernels/conv/tile_layout.cuh"

/// The two ways to multiply tiles of matrix products that lie in shared memory: FmaCore on CUDA
/// cores, MmaCore on tensor cores. A core holds the sums of its thread for one block tile of C =
/// A B, kM x kN. Operands lie in shared memory either
///   by rows     A (kM, k) and B (kN, k), k contiguous: 64 bytes of k per row, RowTile
///   by columns  A (k, kM) and B (k, kN), k slowest: ColumnTile
/// and both cores read both without bank conflicts.
namespace frcnn::kernels::gpu::conv {
namespace {

__device__ __forceinline__ float4 load_float4(const unsigned char* shared) {
  return *reinterpret_cast<const float4*>(shared);
}

/// float32 products and sums. A thread keeps 8 x (kN / 16) sums: each number it reads from shared
/// memory is used 8 (or kN / 16) times.
template <class Shape_>
struct FmaCore {
  using Shape = Shape_;
  using Element = float;                         // of the operands in shared memory
  static constexpr int kStages = 3;              // tiles in flight
  static constexpr int kTileK = 16, kChunk = 4;  // k of a tile, elements of 16 bytes
  static constexpr int kElementBlocks = 1;       // addresses of single elements take registers
  static constexpr int kThreadsX = 16, kThreadsY = Shape::kThreads / kThreadsX;
  static constexpr int kRows = Shape::kM / kThreadsY, kColumns = Shape::kN / kThreadsX;

  float sum[kRows][kColumns] = {};

  /// Element of a factor as its bits in shared memory.
  __device__ static float round(float value) { return value; }

  /// Lanes of a warp read neighbouring rows of B, which the swizzle of RowTile puts into different
  /// banks: thread (x, y) owns rows y, y + kThreadsY, ... and columns x, x + 16, ...
  __device__ static int by_rows_row(int i) { return thread_y() + i * kThreadsY; }
  __device__ static int by_rows_column(int j) { return thread_x() + j * kThreadsX; }
  /// Lanes read neighbouring float4s of a row of ColumnTile: thread (x, y) owns groups of 4.
  __device__ static int by_columns_row(int i) {
    return i / 4 * (4 * kThreadsY) + 4 * thread_y() + i % 4;
  }
  __device__ static int by_columns_column(int j) {
    return j / 4 * (4 * kThreadsX) + 4 * thread_x() + j % 4;
  }

  /// Two k at a time: four would need more registers than two blocks per multiprocessor leave.
  __device__ void multiply_rows(const unsigned char* a, const unsigned char* b) {
#pragma unroll 1
    for (int half = 0; half < 2 * RowTile::kChunks; ++half) {
      const auto load = [&](const unsigned char* tile, int row) {
        return *reinterpret_cast<const float2*>(tile + RowTile::at_half(row, half, thread_x()));
      };
      float2 left[kRows];
#pragma unroll
      for (int i = 0; i < kRows; ++i) left[i] = load(a, by_rows_row(i));
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        const float2 right = load(b, by_rows_column(j));
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
          sum[i][j] += left[i].x * right.x;
          sum[i][j] += left[i].y * right.y;
        }
      }
    }
  }

  __device__ void multiply_columns(const unsigned char* a, const unsigned char* b) {
    using TileA = ColumnTile<float, Shape::kM>;
    using TileB = ColumnTile<float, Shape::kN>;
#pragma unroll 4
    for (int k = 0; k < kTileK; ++k) {
      float4 left[kRows / 4], right[kColumns / 4];
#pragma unroll
      for (int i = 0; i < kRows / 4; ++i)
        left[i] = load_float4(a + TileA::at(k, by_columns_row(4 * i)));
#pragma unroll
      for (int j = 0; j < kColumns / 4; ++j)
        right[j] = load_float4(b + TileB::at(k, by_columns_column(4 * j)));
#pragma unroll
      for (int i = 0; i < kRows / 4; ++i)
#pragma unroll
        for (int j = 0; j < kColumns / 4; ++j) {
          add_row(sum[4 * i + 0] + 4 * j, left[i].x, right[j]);
          add_row(sum[4 * i + 1] + 4 * j, left[i].y, right[j]);
          add_row(sum[4 * i + 2] + 4 * j, left[i].z, right[j]);
          add_row(sum[4 * i + 3] + 4 * j, left[i].w, right[j]);
        }
    }
  }

  /// Calls f(row, column, sum) for every sum of this thread, after multiply_rows().
  template <class F>
  __device__ void each_of_rows(const F& f) const {
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int j = 0; j < kColumns; ++j) f(by_rows_row(i), by_rows_column(j), sum[i][j]);
  }
  /// The same after multiply_columns().
  template <class F>
  __device__ void each_of_columns(const F& f) const {
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int j = 0; j < kColumns; ++j) f(by_columns_row(i), by_columns_column(j), sum[i][j]);
  }

 private:
  __device__ static int thread_x() {
    return static_cast<int>(threadIdx.x) % kThreadsX;
  }
  __device__ static int thread_y() {
    return static_cast<int>(threadIdx.x) / kThreadsX;
  }
  __device__ __forceinline__ static void add_row(float* row, float left, const float4& right) {
    row[0] += left * right.x;
    row[1] += left * right.y;
    row[2] += left * right.z;
    row[3] += left * right.w;
  }
};

/// What a tensor core multiplies: 16 x 8 sums of kDepth = 2 chunks of k per instruction.
struct Tf32 {
  using Element = float;
  __device__ static float round(float value) { return __uint_as_float(to_tf32(value)); }
  __device__ static void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_m16n8k8_tf32(d, a, b);
  }
};
struct Bf16 {
  using Element = Bfloat16;
  __device__ static Bfloat16 round(float value) { return Bfloat16(value); }
  __device__ static void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_m16n8k16_bf16(d, a, b);
  }
};

/// Products on tensor cores with float32 sums. A warp owns every kWarpsM-th group of 16 rows and
/// kN / kWarpsN neighbouring columns. Fragments: gpu.cuh.
template <class Shape_, class Factor>
struct MmaCore {
  using Shape = Shape_;
  using Element = typename Factor::Element;
  static constexpr int kStages = 4;
  static constexpr int kChunk = 16 / static_cast<int>(sizeof(Element)), kTileK = 4 * kChunk;
  static constexpr int kRows = Shape::kM / (16 * Shape::kWarpsM);
  static constexpr int kColumns = Shape::kN / (8 * Shape::kWarpsN);
  static constexpr bool kWide = sizeof(Element) == 4;  // 32-bit elements
  /// Blocks per multiprocessor where a tile's elements pass through registers.
  static constexpr int kElementBlocks = 1;

  float sum[kRows][kColumns][4] = {};

  __device__ static Element round(float value) { return Factor::round(value); }

  /// ldmatrix does not ask what its 16-bit elements mean: a row of 16 bytes is 8 bfloat16 or 4
  /// float32, and lane 4 g + t receives word t of row g, which is what the fragments of both kinds
  /// want. The packed weights (B) are rounded to tf32 already, the map (A) is rounded here.
  __device__ void multiply_rows(const unsigned char* a, const unsigned char* b) {
    const int lane = lane_id();
#pragma unroll
    for (int step = 0; step < 2; ++step) {  // two chunks of k each
      uint32_t left[kRows][4], right[kColumns][2];
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        load_matrix_x4(left[i], a + RowTile::at(first_row(i) + lane % 16, 2 * step + lane / 16));
        if constexpr (kWide)
          for (uint32_t& word : left[i]) word = to_tf32(__uint_as_float(word));
      }
#pragma unroll
      for (int j = 0; j < kColumns; j += 2) {
        uint32_t pair[4];
        load_matrix_x4(pair, b + RowTile::at(first_column(j) + lane % 8 + lane / 16 * 8,
                                             2 * step + lane / 8 % 2));
        set_pair(right, j, pair);
      }
      multiply(left, right);
    }
  }

  /// k is slowest in shared memory, so fragments need its transpose: ldmatrix transposes 16-bit
  /// elements on the way; 32-bit elements are read one by one.
  __device__ void multiply_columns(const unsigned char* a, const unsigned char* b) {
    using TileA = ColumnTile<Element, Shape::kM>;
    using TileB = ColumnTile<Element, Shape::kN>;
    const int lane = lane_id();
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      uint32_t left[kRows][4], right[kColumns][2];
      if constexpr (kWide) {
        const int g = lane / 4, t = 8 * step + lane % 4;
        const auto word = [](const unsigned char* at) {
          return to_tf32(*reinterpret_cast<const float*>(at));
        };
#pragma unroll
        for (int i = 0; i < kRows; ++i)
#pragma unroll
          for (int part = 0; part < 4; ++part)
            left[i][part] = word(a + TileA::at(t + part / 2 * 4, first_row(i) + g + part % 2 * 8));
#pragma unroll
        for (int j = 0; j < kColumns; ++j)
#pragma unroll
          for (int part = 0; part < 2; ++part)
            right[j][part] = word(b + TileB::at(t + part * 4, first_column(j) + g));
      } else {
#pragma unroll
        for (int i = 0; i < kRows; ++i)
          load_matrix_x4<true>(left[i], a + TileA::at(16 * step + lane % 8 + lane / 16 * 8,
                                                      first_row(i) + lane / 8 % 2 * 8));
#pragma unroll
        for (int j = 0; j < kColumns; j += 2) {
          uint32_t pair[4];
          load_matrix_x4<true>(
              pair, b + TileB::at(16 * step + lane % 16, first_column(j) + lane / 16 * 8));
          set_pair(right, j, pair);
        }
      }
      multiply(left, right);
    }
  }

  template <class F>
  __device__ void each_of_rows(const F& f) const {
    const int g = lane_id() / 4, t = lane_id() % 4;
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int j = 0; j < kColumns; ++j)
#pragma unroll
        for (int part = 0; part < 4; ++part)
          f(first_row(i) + g + part / 2 * 8, first_column(j) + 2 * t + part % 2, sum[i][j][part]);
  }
  template <class F>
  __device__ void each_of_columns(const F& f) const {
    each_of_rows(f);
  }

 private:
  __device__ static int lane_id() {
    return static_cast<int>(threadIdx.x) % 32;
  }
  __device__ static int warp() {
    return static_cast<int>(threadIdx.x) / 32;
  }
  __device__ static int first_row(int i) {
    return 16 * (i * Shape::kWarpsM + warp() % Shape::kWarpsM);
  }
  __device__ static int first_column(int j) {
    return 8 * (warp() / Shape::kWarpsM * kColumns + j);
  }
  __device__ __forceinline__ static void set_pair(uint32_t (&right)[kColumns][2], int j,
                                                  const uint32_t (&pair)[4]) {
    right[j][0] = pair[0], right[j][1] = pair[1];
    right[j + 1][0] = pair[2], right[j + 1][1] = pair[3];
  }
  __device__ __forceinline__ void multiply(const uint32_t (&left)[kRows][4],
                                           const uint32_t (&right)[kColumns][2]) {
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int j = 0; j < kColumns; ++j) Factor::multiply(sum[i][j], left[i], right[j]);
  }
};

}  // namespace
}  // namespace frcnn::kernels::gpu::conv
