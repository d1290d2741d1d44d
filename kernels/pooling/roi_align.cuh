#pragma once

#include <cmath>

#include "kernels/launch/gpu.cuh"
#include "kernels/pooling/roi_align.h"
#include "kernels/pooling/roi_products.cuh"

namespace frcnn::kernels::gpu::roi {

/// One axis of one RoI, as make_axis() of roi_align_cpu.cpp has it, operation by operation: the
/// sample positions and with them the cells are the CPU's, bit by bit.
template <typename T>
struct AlignAxis {
  T start, bin;      ///< first position and size of a bin, in cells
  T scale;           ///< cells per pixel
  int grid;          ///< samples per bin
  int bins, length;  ///< number of bins, cells of the map
  bool widened;      ///< to the least size of 1: then it follows `low` alone
  bool valid;        ///< false: not finite or beyond 1e7 cells; such a RoI has no samples

  __device__ AlignAxis(T low, T high, T scale_, bool aligned, int64_t ratio, int64_t bins_,
                       int64_t length_)
      : scale(scale_), bins(static_cast<int>(bins_)), length(static_cast<int>(length_)) {
    const T offset = aligned ? T(0.5) : T(0);
    start = sub_rn(mul_rn(low, scale), offset);
    T size = sub_rn(sub_rn(mul_rn(high, scale), offset), start);
    widened = !aligned && size < T(1);
    if (widened) size = T(1);
    valid = std::abs(start) < T(1e7) && std::abs(size) < T(1e7);
    bin = div_rn(size, static_cast<T>(bins));
    grid = !valid ? 0 : static_cast<int>(ratio > 0 ? ratio : static_cast<int64_t>(std::ceil(bin)));
  }

  /// Position of sample i of bin p.
  __device__ T position(int p, int i) const {
    return add_rn(add_rn(start, mul_rn(static_cast<T>(p), bin)),
                  div_rn(mul_rn(add_rn(static_cast<T>(i), T(0.5)), bin), static_cast<T>(grid)));
  }

  /// The cell of sample i of bin p and how far it lies towards the next one; false: outside.
  __device__ bool locate(int p, int i, int& cell, T& part) const {
    bool moves;
    return locate(p, i, cell, part, moves);
  }
  /// `moves`: it follows its position, and was not moved to a border cell.
  __device__ bool locate(int p, int i, int& cell, T& part, bool& moves) const {
    T at = position(p, i);
    if (at < T(-1) || at > static_cast<T>(length)) return false;
    moves = !(at < T(0));
    at = moves ? at : T(0);
    cell = static_cast<int>(at);
    part = sub_rn(at, static_cast<T>(cell));
    if (cell >= length - 1) cell = length - 1, part = 0, moves = false;
    return true;
  }
  __device__ T low_weight(T part) const { return div_rn(sub_rn(T(1), part), static_cast<T>(grid)); }
  __device__ T high_weight(T part) const { return div_rn(part, static_cast<T>(grid)); }

  /// Calls tap(cell, weight) for the one or two cells that each sample of bin p reads, in order.
  template <typename F>
  __device__ void for_taps(int p, const F& tap) const {
    for (int i = 0; i < grid; ++i) {
      int cell;
      T part;
      if (!locate(p, i, cell, part)) continue;
      tap(cell, low_weight(part));
      if (part > T(0)) tap(cell + 1, high_weight(part));
    }
  }

  /// Calls tap(cell, weight, by_low, by_high) likewise, with the derivatives of the weights by the
  /// RoI's coordinates. The second cell is there even with weight 0.
  template <typename F>
  __device__ void for_slopes(int p, const F& tap) const {
    for (int i = 0; i < grid; ++i) {
      int cell;
      T part;
      bool moves;
      if (!locate(p, i, cell, part, moves)) continue;
      // The sample lies this part of the way from the RoI's start to its end.
      const T inside = div_rn(add_rn(static_cast<T>(i), T(0.5)), static_cast<T>(grid));
      const T way = div_rn(add_rn(static_cast<T>(p), inside), static_cast<T>(bins));
      const T slope = moves ? div_rn(scale, static_cast<T>(grid)) : T(0);
      const T by_low = widened ? slope : mul_rn(slope, sub_rn(T(1), way));
      const T by_high = widened ? T(0) : mul_rn(slope, way);
      tap(cell, low_weight(part), -by_low, -by_high);
      if (moves) tap(cell + 1, high_weight(part), by_low, by_high);
    }
  }

  /// Weight of cell `at` in bin p: entry (p, at) of the matrix A_r or B_r of roi_align.h.
  __device__ T weight(int p, int at) const {
    T sum = 0;
    for (int i = 0; i < grid; ++i) {
      int cell;
      T part;
      if (!locate(p, i, cell, part)) continue;
      if (cell == at) sum = add_rn(sum, low_weight(part));
      if (cell + 1 == at && part > T(0)) sum = add_rn(sum, high_weight(part));
    }
    return sum;
  }

  /// [first, end) holds every bin that has a weight for a cell in [low, high), and maybe more.
  __device__ void bins_near(int low, int high, int& first, int& end) const {
    first = 0;
    end = grid > 0 ? bins : 0;
    if (!(bin > T(0))) return;  // of negative or no size: all of them
    // Positions are rounded: bins much smaller than that may lie a little beside their place.
    const T slack =
        (std::abs(start) + bin * static_cast<T>(bins)) * (sizeof(T) == 8 ? T(1e-15) : T(1e-6));
    const T from = (static_cast<T>(low - 1) - slack - start) / bin - T(1);
    const T to = (static_cast<T>(high) + slack - start) / bin + T(1.5);
    if (from > T(0)) first = from < static_cast<T>(bins) ? static_cast<int>(from) : bins;
    if (to < static_cast<T>(end)) end = to > T(0) ? static_cast<int>(to) : 0;
  }
};

/// What every RoIAlign kernel gets beside its arrays.
struct AlignProblem {
  MapLayout map;
  RoiAlignParams params;
  int64_t capacity;      ///< rows of rois, y and dy
  const int32_t* count;  ///< how many of them hold RoIs, or nullptr: all

  static constexpr int kTableBlocks = 0;
  static constexpr KernelNames kNames = {"roi_align_naive",         "roi_align_channels_last",
                                         "roi_align_table",         "roi_align_backward_naive",
                                         "roi_align_backward_tile", "roi_align_slopes_naive",
                                         "roi_align_slopes_table"};

  __host__ __device__ int pooled_h() const { return static_cast<int>(params.pooled_h); }
  __host__ __device__ int pooled_w() const { return static_cast<int>(params.pooled_w); }
  __host__ __device__ int bins() const { return pooled_h() * pooled_w(); }
  int64_t row_taps() const { return params.sampling_ratio > 0 ? 2 * params.sampling_ratio : map.h; }
  int64_t column_taps() const {
    return params.sampling_ratio > 0 ? 2 * params.sampling_ratio : map.w;
  }
  template <typename T>
  __device__ AlignAxis<T> rows_of(const T* roi) const {
    return {roi[2],
            roi[4],
            static_cast<T>(params.scale_y),
            params.aligned,
            params.sampling_ratio,
            params.pooled_h,
            map.h};
  }
  template <typename T>
  __device__ AlignAxis<T> columns_of(const T* roi) const {
    return {roi[1],
            roi[3],
            static_cast<T>(params.scale_x),
            params.aligned,
            params.sampling_ratio,
            params.pooled_w,
            map.w};
  }
};

inline void validate_align(const MapLayout& map, const RoiAlignParams& p) {
  check(p.pooled_h > 0 && p.pooled_w > 0 && map.h > 0 && map.w > 0,
        "[roi_align] expected positive sizes, got {}x{} bins and a {}x{} map", p.pooled_h,
        p.pooled_w, map.h, map.w);
  check(map.h * map.w <= INT32_MAX && p.pooled_h * p.pooled_w <= INT32_MAX / 64 &&
            p.sampling_ratio <= INT32_MAX,
        "[roi_align] expected sizes below 2^31, got a {}x{} map, {}x{} bins and {} samples", map.h,
        map.w, p.pooled_h, p.pooled_w, p.sampling_ratio);
}

}  // namespace frcnn::kernels::gpu::roi
