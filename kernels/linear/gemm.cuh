#pragma once

#include <algorithm>
#include <type_traits>

#include "kernels/launch/pack.cuh"

/// Matrix product on a GPU: C[m, n] = sum_k A[m, k] B[k, n], with bias and ReLU on the way out.
/// What all kernels of it share: operands, tiles of C, split sums, the way out. The kernels
/// themselves: gemm_simple.cuh, gemm_registers.cuh, gemm_mma.cuh.
///
/// Both operands are seen as (outer, depth), where outer is m for A and n for B, and depth is k. In
/// memory either index may be the one that runs through neighbours; so one kernel serves all three
/// products of a dense layer (w is (out, in)):
///
///   pass               C             A                    B                    called
///   forward            y = x wT      x   (depth major)    w  (depth major)     NT
///   backward data      dx = dy w     dy  (depth major)    w  (outer major)     NN
///   backward weights   dw = dyT x    dy  (outer major)    x  (outer major)     TN
namespace frcnn::kernels::gpu::gemm {

/// Which index of an operand runs through neighbouring elements of memory.
enum class Major : uint8_t { depth, outer };

template <typename T, Major major_>
struct Operand {
  using Element = T;
  static constexpr Major major = major_;
  static constexpr int kWide = 16 / sizeof(T);  ///< elements of a 16-byte load

  const T* data;
  int64_t outer, depth;

  /// Elements from one row of memory to the next.
  __host__ __device__ int64_t stride() const { return major == Major::depth ? depth : outer; }
  __host__ __device__ int64_t at(int64_t o, int64_t k) const {
    return major == Major::depth ? o * depth + k : k * outer + o;
  }
  /// Whether every row begins at a multiple of 16 bytes. Its length is then a multiple, too.
  bool wide() const { return stride() % kWide == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0; }
};
template <typename T>
using DepthMajor = Operand<T, Major::depth>;
template <typename T>
using OuterMajor = Operand<T, Major::outer>;

/// Sums of products: float for float and bfloat16 elements, double for double.
template <typename T>
using SumOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <typename To, typename From>
__host__ __device__ To element_cast(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else {
    return static_cast<To>(value);
  }
}

/// C and what happens to a sum on its way there: bias of its column, then the ReLU. NaN stays NaN.
template <typename Out, typename Sum>
struct Output {
  Out* data;
  int64_t m, n;
  const Sum* bias = nullptr;  // (n)
  bool relu = false;

  /// Whether four neighbours can be stored at once where the column is a multiple of four.
  __host__ __device__ bool wide() const {
    return n % 4 == 0 && reinterpret_cast<uintptr_t>(data) % (4 * sizeof(Out)) == 0;
  }
  __device__ Out finish(int64_t column, Sum sum) const {
    if (bias != nullptr) sum += bias[column];
    return element_cast<Out>(relu && sum < Sum(0) ? Sum(0) : sum);
  }
  __device__ void store(int64_t row, int64_t column, Sum sum) const {
    if (row < m && column < n) data[row * n + column] = finish(column, sum);
  }
  /// `count` (2 or 4) neighbours of a row, from a column that is a multiple of `count`.
  template <int count>
  __device__ void store(int64_t row, int64_t column, const Sum (&sums)[count],
                        bool together) const {
    if (together && row < m && column < n) {
      Pack<Out, count> pack;
      for (int i = 0; i < count; ++i) pack.v[i] = finish(column + i, sums[i]);
      store_pack(data + row * n + column, pack);
    } else {
      for (int i = 0; i < count; ++i) store(row, column + i, sums[i]);
    }
  }
};

/// Blocks that share operands should run at the same time, so that they find them in the L2 cache.
/// Tiles of C are numbered down groups of kGroup tile rows, column after column: a group's part of
/// A stays while B passes by once.
struct TileGrid {
  static constexpr unsigned kGroup = 16;
  unsigned rows, columns;  ///< tiles of C

  template <int tile_m, int tile_n>
  static TileGrid of(int64_t m, int64_t n, int64_t k) {
    constexpr int64_t kMost = int64_t{1} << 31;
    const int64_t rows = ceil_div(m, tile_m), columns = ceil_div(n, tile_n);
    check(rows * columns < kMost && k < kMost, "[gemm] {} x {} x {} is too large", m, n, k);
    return {static_cast<unsigned>(rows), static_cast<unsigned>(columns)};
  }
  unsigned count() const { return rows * columns; }

  struct Place {
    unsigned row, column;
  };
  __device__ Place place(unsigned index) const {
    const unsigned group = index / (kGroup * columns);
    const unsigned first = group * kGroup;
    const unsigned height = rows - first < kGroup ? rows - first : kGroup;
    const unsigned inside = index - first * columns;
    return {first + inside % height, inside / height};
  }
};

/// The depth, cut into `count` ranges of `depth` (the last may be shorter), one per blockIdx.y.
struct Split {
  int count = 1;
  int64_t depth = 0;

  /// A skinny product has too few tiles of C to fill a GPU: then several blocks share a tile, each
  /// with its own range of the depth. The choice depends on the shape alone, so that results have
  /// the same bits on every device.
  static Split of(int64_t m, int64_t n, int64_t k, int64_t tile) {
    constexpr int64_t kBlocks = 264;      // two for each of an H100's 132 multiprocessors
    constexpr int64_t kLeastDepth = 256;  // less would not pay for adding up the parts
    constexpr int64_t kRound = 32;        // a multiple of every kernel's tile depth
    const int64_t tiles = std::max<int64_t>(1, ceil_div(m, tile) * ceil_div(n, tile));
    const int64_t wanted = std::max<int64_t>(1, std::min(kBlocks / tiles, k / kLeastDepth));
    const int64_t depth = std::max(kRound, ceil_div(ceil_div(k, wanted), kRound) * kRound);
    return {static_cast<int>(std::max<int64_t>(1, ceil_div(k, depth))), depth};
  }
  static Split none(int64_t k) { return {1, k}; }

  /// Partial sums: (count, m, n) floats, when there is more than one range.
  size_t workspace(int64_t m, int64_t n) const {
    return count > 1 ? static_cast<size_t>(count * m * n) * sizeof(float) : 0;
  }
};

/// C = the parts of a split product added in order: equal runs give equal bits.
template <typename Out>
__global__ void sum_parts(const float* parts, int count, Output<Out, float> out) {
  const int64_t size = out.m * out.n;
  for (int64_t i = grid_first(); i < size; i += grid_step()) {
    float sum = parts[i];
    for (int part = 1; part < count; ++part) sum += parts[part * size + i];
    out.data[i] = out.finish(i % out.n, sum);
  }
}

/// Runs product(output) with C as its output, or, when the depth is split, with the parts as its
/// output (m x n of each blockIdx.y) and adds them.
template <typename Out, typename Product>
void run_split(Stream stream, const Split& split, const Output<Out, float>& out, void* workspace,
               const Product& product) {
  if (split.count == 1) return product(out);
  check(workspace != nullptr, "[gemm] a product split into {} needs its workspace", split.count);
  auto* parts = static_cast<float*>(workspace);
  product(Output<float, float>{parts, out.m, out.n});
  constexpr int kThreads = 256;
  launch({"gemm_sum_parts", blocks_for(out.m * out.n, kThreads), kThreads, 0, stream},
         sum_parts<Out>, parts, split.count, out);
}

}  // namespace frcnn::kernels::gpu::gemm
