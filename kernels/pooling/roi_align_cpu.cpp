// RoIAlign: the samples of each axis of a RoI as a sparse matrix; roi_matrices.h multiplies.
#include "kernels/pooling/roi_align.h"

#include <algorithm>
#include <cmath>

#include "kernels/pooling/roi_matrices.h"

namespace frcnn::kernels::cpu {
namespace {

/// The matrix of one axis. Positions are computed in T in the order of the reference
/// implementation.
template <typename T>
RoiAxis<T> make_axis(T low, T high, double scale, bool aligned, int64_t ratio, int64_t bins,
                     int64_t length, bool with_slopes) {
  RoiAxis<T> axis;
  const T offset = aligned ? T(0.5) : T(0);
  const T start = low * static_cast<T>(scale) - offset;
  T size = high * static_cast<T>(scale) - offset - start;
  const bool widened = !aligned && size < T(1);
  if (widened) size = T(1);
  check(std::abs(start) < T(1e7) && std::abs(size) < T(1e7),
        "[roi_align] expected finite RoIs within 1e7 cells, got {} .. {}", low, high);
  const T bin_size = size / static_cast<T>(bins);
  const int64_t grid =
      ratio > 0 ? ratio : static_cast<int64_t>(std::ceil(size / static_cast<T>(bins)));
  for (int64_t p = 0; p < bins; ++p) {
    for (int64_t i = 0; i < grid; ++i) {
      T at = start + static_cast<T>(p) * bin_size +
             (static_cast<T>(i) + T(0.5)) * bin_size / static_cast<T>(grid);
      if (at < T(-1) || at > static_cast<T>(length)) continue;
      bool moves = at >= 0;
      at = std::max(at, T(0));
      auto cell = static_cast<int64_t>(at);
      T part = at - static_cast<T>(cell);
      if (cell >= length - 1) cell = length - 1, part = 0, moves = false;
      const T low_weight = (T(1) - part) / static_cast<T>(grid);
      const T high_weight = part / static_cast<T>(grid);
      if (!with_slopes) {
        axis.add(cell, low_weight);
        if (part > 0) axis.add(cell + 1, high_weight);
        continue;
      }
      // The sample lies this part of the way from the RoI's start to its end.
      const T way = (static_cast<T>(p) + (static_cast<T>(i) + T(0.5)) / static_cast<T>(grid)) /
                    static_cast<T>(bins);
      const T slope = moves ? static_cast<T>(scale) / static_cast<T>(grid) : T(0);
      const T by_low = widened ? slope : slope * (T(1) - way);
      const T by_high = widened ? T(0) : slope * way;
      axis.add(cell, low_weight, {-by_low, -by_high});
      if (moves) axis.add(cell + 1, high_weight, {by_low, by_high});
    }
    axis.end_row();
  }
  return axis;
}

template <typename T>
RoiMatrices<T> make_matrices(const MapLayout& map, const RoiAlignParams& p, int64_t rois_count,
                             const T* rois, bool with_slopes) {
  const auto axis = [&](double scale, int64_t bins, int64_t length) {
    return [=](T low, T high) {
      return make_axis(low, high, scale, p.aligned, p.sampling_ratio, bins, length, with_slopes);
    };
  };
  return {"roi_align",
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
void roi_align_forward(const MapLayout& x_layout, const RoiAlignParams& p, int64_t rois_count,
                       const T* x, const T* rois, T* y) {
  roi_products(x_layout, make_matrices(x_layout, p, rois_count, rois, false), x, rois, y);
}

template <typename T>
void roi_align_backward(const MapLayout& x_layout, const RoiAlignParams& p, int64_t rois_count,
                        const T* rois, const T* dy, T* dx) {
  roi_products_backward(x_layout, make_matrices(x_layout, p, rois_count, rois, false), rois, dy,
                        dx);
}

template <typename T>
void roi_align_backward_rois(const MapLayout& x_layout, const RoiAlignParams& p, int64_t rois_count,
                             const T* x, const T* rois, const T* dy, T* drois) {
  roi_products_backward_rois(x_layout, make_matrices(x_layout, p, rois_count, rois, true), x, rois,
                             dy, drois);
}

#define FRCNN_INSTANTIATE(T)                                                                      \
  template void roi_align_forward<T>(const MapLayout&, const RoiAlignParams&, int64_t, const T*,  \
                                     const T*, T*);                                               \
  template void roi_align_backward<T>(const MapLayout&, const RoiAlignParams&, int64_t, const T*, \
                                      const T*, T*);                                              \
  template void roi_align_backward_rois<T>(const MapLayout&, const RoiAlignParams&, int64_t,      \
                                           const T*, const T*, const T*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
