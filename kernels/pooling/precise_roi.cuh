#pragma once

#include <cmath>

#include "kernels/launch/gpu.cuh"
#include "kernels/pooling/precise_roi.h"
#include "kernels/pooling/roi_products.cuh"

namespace frcnn::kernels::gpu::roi {

/// One axis of one RoI, as make_axis() of precise_roi_cpu.cpp has it, operation by operation: the
/// weights are the CPU's, bit by bit.
template <typename T>
struct PreciseAxis {
  T start, bin;      ///< first bound and size of a bin, in cells; size 0: the RoI has no area
  T scale;           ///< cells per pixel
  int bins, length;  ///< number of bins, cells of the map
  bool valid;        ///< false: not finite or beyond 1e7 cells; such a RoI has no weights

  __device__ PreciseAxis(T low, T high, T scale_, int64_t bins_, int64_t length_)
      : start(mul_rn(low, scale_)),
        scale(scale_),
        bins(static_cast<int>(bins_)),
        length(static_cast<int>(length_)) {
    const T size = sub_rn(mul_rn(high, scale), start);
    valid = std::abs(start) < T(1e7) && std::abs(size) < T(1e7);
    bin = valid && size > T(0) ? div_rn(size, static_cast<T>(bins)) : T(0);
  }

  /// Where bin p begins, and bin p - 1 ends.
  __device__ T bound(int p) const { return add_rn(start, mul_rn(static_cast<T>(p), bin)); }

  /// The interpolation's weight of a cell at distance `way` from it.
  __device__ static T hat(T way) {
    const T weight = sub_rn(T(1), std::abs(way));
    return weight > T(0) ? weight : T(0);
  }
  /// The hat of `cell` integrated over the part of [a, b] inside [from, to], where it is linear.
  __device__ static T linear_piece(T a, T b, T from, T to, T cell) {
    from = a > from ? a : from;
    to = b < to ? b : to;
    if (!(to > from)) return T(0);
    const T middle = add_rn(from, to) / 2;
    return mul_rn(sub_rn(to, from), sub_rn(T(1), std::abs(sub_rn(middle, cell))));
  }
  __device__ T weight_in(T a, T b, int at) const {
    const auto cell = static_cast<T>(at);
    return div_rn(
        add_rn(linear_piece(a, b, cell - 1, cell, cell), linear_piece(a, b, cell, cell + 1, cell)),
        bin);
  }

  /// Weight of cell `at` in bin p: entry (p, at) of the matrix A_r or B_r of precise_roi.h.
  __device__ T weight(int p, int at) const {
    return bin > T(0) ? weight_in(bound(p), bound(p + 1), at) : T(0);
  }

  /// Calls tap(cell, weight) for every cell with a weight in bin p, rising.
  template <typename F>
  __device__ void for_taps(int p, const F& tap) const {
    for_cells(p, [&](int cell, T weight, T, T) { tap(cell, weight); });
  }
  /// Calls tap(cell, weight, by_low, by_high) likewise, with the derivatives of the weights by the
  /// RoI's coordinates.
  template <typename F>
  __device__ void for_slopes(int p, const F& tap) const {
    const T way_a = div_rn(static_cast<T>(p), static_cast<T>(bins));
    const T way_b = div_rn(static_cast<T>(p + 1), static_cast<T>(bins));
    for_cells(p, [&](int at, T weight, T a, T b) {
      const auto cell = static_cast<T>(at);
      const T by_a = mul_rn(div_rn(sub_rn(weight, hat(sub_rn(a, cell))), bin), scale);
      const T by_b = mul_rn(div_rn(sub_rn(hat(sub_rn(b, cell)), weight), bin), scale);
      tap(at, weight, add_rn(mul_rn(by_a, sub_rn(T(1), way_a)), mul_rn(by_b, sub_rn(T(1), way_b))),
          add_rn(mul_rn(by_a, way_a), mul_rn(by_b, way_b)));
    });
  }

  /// [first, end) holds every bin that has a weight for a cell in [low, high), and maybe more.
  __device__ void bins_near(int low, int high, int& first, int& end) const {
    first = end = 0;
    if (!(bin > T(0))) return;
    end = bins;
    // Bounds are rounded: bins much smaller than that may lie a little beside their place.
    const T slack =
        (std::abs(start) + bin * static_cast<T>(bins)) * (sizeof(T) == 8 ? T(1e-15) : T(1e-6));
    const T from = (static_cast<T>(low - 1) - slack - start) / bin - T(1.5);
    const T to = (static_cast<T>(high) + slack - start) / bin + T(1.5);
    if (from > T(0)) first = from < static_cast<T>(bins) ? static_cast<int>(from) : bins;
    if (to < static_cast<T>(end)) end = to > T(0) ? static_cast<int>(to) : 0;
  }

 private:
  /// Calls visit(cell, weight, a, b) for every cell with a weight in bin p = [a, b], rising.
  template <typename F>
  __device__ void for_cells(int p, const F& visit) const {
    if (!(bin > T(0))) return;
    const T a = bound(p), b = bound(p + 1);
    const int from = static_cast<int>(std::floor(a)), to = static_cast<int>(std::ceil(b));
    for (int i = from > 0 ? from : 0; i <= to && i < length; ++i) {
      const T weight = weight_in(a, b, i);
      if (weight > T(0)) visit(i, weight, a, b);
    }
  }
};

/// What every kernel of precise RoI pooling gets beside its arrays (roi_products.cuh).
struct PreciseProblem {
  MapLayout map;
  PreciseRoiParams params;
  int64_t capacity;      ///< rows of rois, y and dy
  const int32_t* count;  ///< how many of them hold RoIs, or nullptr: all

  static constexpr int kTableBlocks = 2;
  static constexpr KernelNames kNames = {"precise_roi_naive",         "precise_roi_channels_last",
                                         "precise_roi_table",         "precise_roi_backward_naive",
                                         "precise_roi_backward_tile", "precise_roi_slopes_naive",
                                         "precise_roi_slopes_table"};

  __host__ __device__ int pooled_h() const { return static_cast<int>(params.pooled_h); }
  __host__ __device__ int pooled_w() const { return static_cast<int>(params.pooled_w); }
  __host__ __device__ int bins() const { return pooled_h() * pooled_w(); }
  int64_t row_taps() const { return map.h; }
  int64_t column_taps() const { return map.w; }
  template <typename T>
  __device__ PreciseAxis<T> rows_of(const T* roi) const {
    return {roi[2], roi[4], static_cast<T>(params.scale_y), params.pooled_h, map.h};
  }
  template <typename T>
  __device__ PreciseAxis<T> columns_of(const T* roi) const {
    return {roi[1], roi[3], static_cast<T>(params.scale_x), params.pooled_w, map.w};
  }
};

inline void validate_precise(const MapLayout& map, const PreciseRoiParams& p) {
  check(p.pooled_h > 0 && p.pooled_w > 0 && map.h > 0 && map.w > 0,
        "[precise_roi] expected positive sizes, got {}x{} bins and a {}x{} map", p.pooled_h,
        p.pooled_w, map.h, map.w);
  check(map.h * map.w <= INT32_MAX && p.pooled_h * p.pooled_w <= INT32_MAX / 64,
        "[precise_roi] expected sizes below 2^31, got a {}x{} map and {}x{} bins", map.h, map.w,
        p.pooled_h, p.pooled_w);
}

}  // namespace frcnn::kernels::gpu::roi
