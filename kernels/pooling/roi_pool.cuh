#pragma once

#include <cmath>

#include "kernels/launch/gpu.cuh"
#include "kernels/pooling/roi_pool.h"

namespace frcnn::kernels::gpu::roi {

/// Cells [begin, end) of a bin along one axis.
struct Range {
  int begin, end;
};

/// One axis of one RoI, as make_bins() of roi_pool_cpu.cpp has it, operation by operation: bins end
/// where the CPU's do.
template <typename T>
struct PoolAxis {
  T first, bin;  ///< first cell (whole) and size of a bin
  int length;    ///< cells of the map
  bool valid;    ///< false: not finite or beyond 1e7 cells; all bins are empty

  __device__ PoolAxis(T low, T high, T scale, int64_t bins, int64_t length_)
      : first(std::round(mul_rn(low, scale))), length(static_cast<int>(length_)) {
    const T last = std::round(mul_rn(high, scale));
    valid = std::abs(first) < T(1e7) && std::abs(last) < T(1e7);
    const T size = add_rn(sub_rn(last, first), T(1));
    bin = div_rn(size < T(1) ? T(1) : size, static_cast<T>(bins));
  }

  __device__ Range range(int p) const {
    if (!valid) return {0, 0};
    const auto start = static_cast<int>(first);
    const int begin = static_cast<int>(std::floor(mul_rn(static_cast<T>(p), bin))) + start;
    const int end = static_cast<int>(std::ceil(mul_rn(static_cast<T>(p + 1), bin))) + start;
    return {clamp(begin), clamp(end)};
  }

  /// [begin, end) holds every bin that has a cell in [low, high), and maybe more.
  __device__ Range bins_near(int low, int high, int bins) const {
    if (!valid) return {0, 0};
    const T from = (static_cast<T>(low) - first) / bin - T(0.5);
    const T to = (static_cast<T>(high) - first) / bin + T(1.5);
    Range near = {0, bins};
    if (from > T(0)) near.begin = from < static_cast<T>(bins) ? static_cast<int>(from) : bins;
    if (to < static_cast<T>(bins)) near.end = to > T(0) ? static_cast<int>(to) : 0;
    return near;
  }

 private:
  __device__ int clamp(int at) const { return at < 0 ? 0 : at > length ? length : at; }
};

/// What every RoI pooling kernel gets beside its arrays.
struct PoolProblem {
  MapLayout map;
  RoiPoolParams params;
  int64_t capacity;      ///< rows of rois, y, dy and argmax
  const int32_t* count;  ///< how many of them hold RoIs, or nullptr: all

  __host__ __device__ int bins() const {
    return static_cast<int>(params.pooled_h * params.pooled_w);
  }
  template <typename T>
  __device__ PoolAxis<T> rows_of(const T* roi) const {
    return {roi[2], roi[4], static_cast<T>(params.scale_y), params.pooled_h, map.h};
  }
  template <typename T>
  __device__ PoolAxis<T> columns_of(const T* roi) const {
    return {roi[1], roi[3], static_cast<T>(params.scale_x), params.pooled_w, map.w};
  }
};

inline void validate_pool(const MapLayout& map, const RoiPoolParams& p) {
  check(p.pooled_h > 0 && p.pooled_w > 0 && map.h * map.w <= INT32_MAX,
        "[roi_pool] expected positive pooled sizes and a map below 2^31 cells, got {}x{} and {}x{}",
        p.pooled_h, p.pooled_w, map.h, map.w);
  check(p.pooled_h * p.pooled_w <= INT32_MAX / 64, "[roi_pool] expected fewer bins than {}x{}",
        p.pooled_h, p.pooled_w);
}

}  // namespace frcnn::kernels::gpu::roi
