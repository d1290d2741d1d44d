// Precise RoI pooling: the integrals of each axis of a RoI as a sparse matrix; roi_matrices.h
// multiplies.
#include "kernels/pooling/precise_roi.h"

#include <algorithm>
#include <cmath>

#include "kernels/pooling/roi_matrices.h"

namespace frcnn::kernels::cpu {
namespace {

/// The interpolation's weight of a cell at distance `way` from it.
template <typename T>
T hat(T way) {
  return std::max(T(0), T(1) - std::abs(way));
}

/// The hat of `cell` integrated over the part of [a, b] inside [from, to], where it is linear: the
/// length times the value in the middle.
template <typename T>
T linear_piece(T a, T b, T from, T to, T cell) {
  from = std::max(a, from);
  to = std::min(b, to);
  return to > from ? (to - from) * (T(1) - std::abs((from + to) / 2 - cell)) : T(0);
}

/// The matrix of one axis (docs/kernels/precise_roi.md).
template <typename T>
RoiAxis<T> make_axis(T low, T high, double scale, int64_t bins, int64_t length, bool with_slopes) {
  RoiAxis<T> axis;
  const T factor = static_cast<T>(scale), start = low * factor, size = high * factor - start;
  check(std::abs(start) < T(1e7) && std::abs(size) < T(1e7),
        "[precise_roi] expected finite RoIs within 1e7 cells, got {} .. {}", low, high);
  const auto n = static_cast<T>(bins);
  const T bin = size / n;
  for (int64_t p = 0; p < bins; ++p) {
    const T a = start + static_cast<T>(p) * bin, b = start + static_cast<T>(p + 1) * bin;
    const auto first = std::max<int64_t>(0, static_cast<int64_t>(std::floor(a)));
    const auto last = std::min<int64_t>(length - 1, static_cast<int64_t>(std::ceil(b)));
    for (int64_t i = first; bin > 0 && i <= last; ++i) {
      const auto cell = static_cast<T>(i);
      const T weight =
          (linear_piece(a, b, cell - 1, cell, cell) + linear_piece(a, b, cell, cell + 1, cell)) /
          bin;
      if (!(weight > 0)) continue;
      if (!with_slopes) {
        axis.add(i, weight);
        continue;
      }
      const T by_a = (weight - hat(a - cell)) / bin * factor;
      const T by_b = (hat(b - cell) - weight) / bin * factor;
      const T way_a = static_cast<T>(p) / n, way_b = static_cast<T>(p + 1) / n;
      axis.add(i, weight, {by_a * (1 - way_a) + by_b * (1 - way_b), by_a * way_a + by_b * way_b});
    }
    axis.end_row();
  }
  return axis;
}

template <typename T>
RoiMatrices<T> make_matrices(const MapLayout& map, const PreciseRoiParams& p, int64_t rois_count,
                             const T* rois, bool with_slopes) {
  const auto axis = [&](double scale, int64_t bins, int64_t length) {
    return [=](T low, T high) { return make_axis(low, high, scale, bins, length, with_slopes); };
  };
  return {"precise_roi",
          map,
          p.pooled_h,
          p.pooled_w,
          rois_count,
          rois,
          axis(p.scale_y, p.pooled_h, map.h),
          axis(p.scale_x, p.pooled_w, map.w)};
}

}  // namespace

template <typename T>
void precise_roi_forward(const MapLayout& x_layout, const PreciseRoiParams& p, int64_t rois_count,
                         const T* x, const T* rois, T* y) {
  roi_products(x_layout, make_matrices(x_layout, p, rois_count, rois, false), x, rois, y);
}

template <typename T>
void precise_roi_backward(const MapLayout& x_layout, const PreciseRoiParams& p, int64_t rois_count,
                          const T* rois, const T* dy, T* dx) {
  roi_products_backward(x_layout, make_matrices(x_layout, p, rois_count, rois, false), rois, dy,
                        dx);
}

template <typename T>
void precise_roi_backward_rois(const MapLayout& x_layout, const PreciseRoiParams& p,
                               int64_t rois_count, const T* x, const T* rois, const T* dy,
                               T* drois) {
  roi_products_backward_rois(x_layout, make_matrices(x_layout, p, rois_count, rois, true), x, rois,
                             dy, drois);
}

#define FRCNN_INSTANTIATE(T)                                                                     \
  template void precise_roi_forward<T>(const MapLayout&, const PreciseRoiParams&, int64_t,       \
                                       const T*, const T*, T*);                                  \
  template void precise_roi_backward<T>(const MapLayout&, const PreciseRoiParams&, int64_t,      \
                                        const T*, const T*, T*);                                 \
  template void precise_roi_backward_rois<T>(const MapLayout&, const PreciseRoiParams&, int64_t, \
                                             const T*, const T*, const T*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
