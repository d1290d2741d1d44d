#pragma once

#include "kernels/launch/bfloat16.h"
#include "kernels/linear/gemm.cuh"

/// Where elements of a tile lie in shared memory. Its 32 banks of 4 bytes serve a warp in one go
/// when no two threads want different words of the same bank; tests/gpu/gemm_banks_test.cpp checks
/// that of every access that gemm_registers.cuh and gemm_mma.cuh make.
namespace frcnn::kernels::gpu::gemm {

/// Of gemm_registers.cuh: [k][outer]. Rows of 132 floats keep the transposing stores of depth-major
/// operands apart: lanes with k and k + 4 write 16 banks from each other.
struct RegisterTile {
  static constexpr int kThreads = 256;
  static constexpr int kSize = 128;  ///< of C, both ways
  static constexpr int kDepth = 8;
  static constexpr int kStride = kSize + 4;
  struct alignas(16) Buffer {
    float values[kDepth * kStride];  // [k][outer]
  };
};

/// What the tensor core multiplies: its depth in elements, and the instruction.
struct Tf32 {
  static constexpr int kDepth = 8;
  __device__ static void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_m16n8k8_tf32(d, a, b);
  }
};
struct Bf16 {
  static constexpr int kDepth = 16;
  __device__ static void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_m16n8k16_bf16(d, a, b);
  }
};

/// A tile of one operand in shared memory: 128 (outer) x 64 bytes (depth), rows as in global
/// memory. Within a row the units of 16 or 32 bytes are swizzled, that is, change places by
/// exclusive or with a number that depends on the row. Without that, the elements of a fragment,
/// which come from several rows, would lie in the same banks. tests/gpu/gemm_banks_test.cpp checks
/// every access.
template <typename Math, typename T, Major major_>
struct MmaTile {
  using Element = T;
  static constexpr Major major = major_;
  static constexpr int kSize = 128;
  static constexpr int kDepth = 64 / static_cast<int>(sizeof(T));
  static constexpr int kRows = major == Major::depth ? kSize : kDepth;
  static constexpr int kColumns = major == Major::depth ? kDepth : kSize;
  static constexpr int kElements = kRows * kColumns;
  static constexpr int kBytes = kElements * static_cast<int>(sizeof(T));
  /// Whether ldmatrix can bring fragments: rows of 16 bytes hold neighbours in k, or neighbours in
  /// the outer index that it can transpose (16-bit elements only).
  static constexpr bool kLdmatrix =
      std::is_same_v<T, Bfloat16> || (std::is_same_v<Math, Tf32> && major == Major::depth);
  static constexpr int kUnit = major == Major::depth ? 16 / static_cast<int>(sizeof(T)) : 8;

  __host__ __device__ static constexpr int swizzle(int row) {
    // Two rows of 64 bytes cover the banks once. Of eight rows, four pairs take four orders; bits
    // are reversed because reads of pairs of floats see four rows of two units at a time.
    if (major == Major::depth) return row / 2 % 2 * 2 + row / 4 % 2;
    if (std::is_same_v<T, Bfloat16>) return row % 8;            // eight rows of one unit
    return std::is_same_v<Math, Tf32> ? row % 4 : row / 2 % 4;  // rows t, or 2t, of one unit
  }
  /// Index of an element.
  __host__ __device__ static constexpr int at(int outer, int k) {
    const int row = major == Major::depth ? outer : k, column = major == Major::depth ? k : outer;
    return row * kColumns + (column ^ swizzle(row) * kUnit);
  }
};

}  // namespace frcnn::kernels::gpu::gemm
