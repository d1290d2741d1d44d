#pragma once

#include "kernels/conv/conv_geometry.cuh"
#include "kernels/launch/bfloat16.h"

/// The way out of a block tile: bias, ReLU, 2x2 max pooling and the map's layout.
namespace frcnn::kernels::gpu::conv {
namespace {

template <typename T>
struct alignas(4 * sizeof(T)) Quad {
  T v[4];
};

/// Sums pass through shared memory 64 rows at a time, so that they reach the map in an order that
/// suits its layout, whatever the order in which threads own them. A row is one pixel; its stride
/// is an odd number of 16-byte groups, so that both walks below read without bank conflicts.
template <class Shape>
struct StoreSlab {
  static constexpr int kRows = 64, kStride = Shape::kN + 4;
  static constexpr int kQuads = Shape::kN / 4;
  static constexpr int kBytes = kRows * kStride * static_cast<int>(sizeof(float));
  __device__ static int at(int row, int column) { return row * kStride + column; }

  /// Stores the slab's rows; row i begins at row_target[i] of `target`, nowhere if that is
  /// negative. One thread takes four channels of a pixel, or of a pooling window of four rows.
  template <typename T>
  __device__ static void store(const GatherProblem& problem, const float* slab,
                               const int64_t* row_target, int first_n, const float* bias, T* target,
                               uint8_t* window) {
    const int cells = problem.pooled ? kRows / 4 : kRows;
    for (int i = static_cast<int>(threadIdx.x); i < cells * kQuads; i += Shape::kThreads) {
      // Neighbouring lanes: neighbouring pixels of NCHW, neighbouring channels of other layouts.
      const bool by_pixel = problem.target.block == 1;
      const int cell = by_pixel ? i % cells : i / kQuads;
      const int quad = by_pixel ? i / cells : i % kQuads;
      const int column = first_n + 4 * quad;
      if (column >= problem.target.stored) continue;
      if (problem.pooled) {
        store_window(problem, slab + at(4 * cell, 4 * quad), row_target + 4 * cell, column, bias,
                     target, window);
      } else if (row_target[cell] >= 0) {
        Quad<T> out;
        finish(problem, slab + at(cell, 4 * quad), column, bias, out);
        put(problem.target, row_target[cell], column, out, target);
      }
    }
  }

 private:
  /// Bias and ReLU of four neighbouring channels. NaN stays NaN.
  template <typename T>
  __device__ static void finish(const GatherProblem& problem, const float* sums, int column,
                                const float* bias, Quad<T>& out) {
    const float4 sum = *reinterpret_cast<const float4*>(sums);
    const float value[4] = {sum.x, sum.y, sum.z, sum.w};
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      float v = value[e];
      if (bias != nullptr && column + e < problem.columns) v += bias[column + e];
      out.v[e] = static_cast<T>(problem.relu && v < 0.0f ? 0.0f : v);
    }
  }

  /// The maximum as max_pool_forward() takes it: of equal values the first, of NaNs the last. The
  /// comparison sees values as they would have been stored.
  template <typename T>
  __device__ static void store_window(const GatherProblem& problem, const float* sums,
                                      const int64_t* row_target, int column, const float* bias,
                                      T* target, uint8_t* window) {
    if (row_target[0] < 0) return;
    Quad<T> best;
    Quad<uint8_t> where{};
    finish(problem, sums, column, bias, best);
#pragma unroll
    for (int w = 1; w < 4; ++w) {
      if (row_target[w] < 0) continue;  // beyond the edge: ceil_mode
      Quad<T> next;
      finish(problem, sums + at(w, 0), column, bias, next);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float a = static_cast<float>(best.v[e]), b = static_cast<float>(next.v[e]);
        if (b > a || b != b) {
          best.v[e] = next.v[e];
          where.v[e] = static_cast<uint8_t>(w);
        }
      }
    }
    put(problem.target, row_target[0], column, best, target);
    if (window != nullptr) put(problem.target, row_target[0], column, where, window);
  }

  template <typename T>
  __device__ static void put(const Map& map, int64_t at, int column, const Quad<T>& out,
                             T* target) {
    T* const to = target + at + map.channel(column);
    if (map.block % 4 == 0 && reinterpret_cast<uintptr_t>(target) % sizeof(Quad<T>) == 0) {
      *reinterpret_cast<Quad<T>*>(to) = out;
    } else {
#pragma unroll
      for (int e = 0; e < 4; ++e)
        if (column + e < map.stored) target[at + map.channel(column + e)] = out.v[e];
    }
  }
};

}  // namespace
}  // namespace frcnn::kernels::gpu::conv
