#pragma once

#include <algorithm>
#include <vector>

#include "kernels/launch/check.h"
#include "kernels/launch/layout.h"
#include "kernels/launch/parallel.h"

/// RoI layers of the CPU that are products with two small sparse matrices for each RoI,
///   y[r, c] = A_r x[b_r, c] B_r^T,   A_r (pooled_h, H),  B_r (pooled_w, W):
/// RoIAlign and precise RoI pooling. A layer says what the matrices are; what is here multiplies.
namespace frcnn::kernels::cpu {

/// An entry of a matrix that is not 0.
template <typename T>
struct RoiTap {
  int32_t at;  ///< row or column of the map; once collected, rows are slots of `used`
  T weight;
};
/// How an entry changes with the two coordinates of the RoI that made its axis, per image pixel.
template <typename T>
struct RoiSlope {
  T low = 0, high = 0;
};

/// One axis of one RoI: row p of its matrix is taps[first[p]] .. taps[first[p + 1]].
template <typename T>
struct RoiAxis {
  std::vector<RoiTap<T>> taps;
  std::vector<RoiSlope<T>> slopes;  ///< of each tap, or empty where nobody asked for them
  std::vector<int32_t> first = {0};
  std::vector<int32_t> used;  ///< rows only: the map rows that have a tap, by slot

  /// Adds to an entry of the row that is being made. Entries come in order, so a position seen
  /// before is among the last two.
  void add(int64_t at, T weight) {
    for (size_t back = taps.size(); back > row_begin() && back + 2 > taps.size(); --back)
      if (taps[back - 1].at == at) {
        taps[back - 1].weight += weight;
        return;
      }
    taps.push_back({static_cast<int32_t>(at), weight});
  }
  void add(int64_t at, T weight, const RoiSlope<T>& slope) {
    add(at, weight);
    slopes.resize(taps.size());
    size_t place = taps.size() - 1;
    if (taps[place].at != at) --place;
    slopes[place].low += slope.low;
    slopes[place].high += slope.high;
  }
  void end_row() { first.push_back(static_cast<int32_t>(taps.size())); }

  /// Lists the map rows that the taps touch and makes the taps refer to that list.
  void collect_rows() {
    for (const RoiTap<T>& tap : taps) used.push_back(tap.at);
    std::sort(used.begin(), used.end());
    used.erase(std::unique(used.begin(), used.end()), used.end());
    for (RoiTap<T>& tap : taps)
      tap.at =
          static_cast<int32_t>(std::lower_bound(used.begin(), used.end(), tap.at) - used.begin());
  }

 private:
  size_t row_begin() const { return static_cast<size_t>(first.back()); }
};

/// The matrices of all RoIs.
template <typename T>
struct RoiMatrices {
  int64_t pooled_h, pooled_w;
  std::vector<RoiAxis<T>> rows, columns;
  size_t most_rows = 0;

  int64_t count() const { return static_cast<int64_t>(rows.size()); }

  /// make_rows(y1, y2) and make_columns(x1, x2) give the axes of a RoI.
  template <typename MakeRows, typename MakeColumns>
  RoiMatrices(const char* op, const MapLayout& map, int64_t pooled_h_, int64_t pooled_w_,
              int64_t rois_count, const T* rois, const MakeRows& make_rows,
              const MakeColumns& make_columns)
      : pooled_h(pooled_h_),
        pooled_w(pooled_w_),
        rows(static_cast<size_t>(rois_count)),
        columns(static_cast<size_t>(rois_count)) {
    check(pooled_h > 0 && pooled_w > 0 && map.h > 0 && map.w > 0,
          "[{}] expected positive sizes, got {}x{} bins and a {}x{} map", op, pooled_h, pooled_w,
          map.h, map.w);
    parallel_for(rois_count, 64, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* roi = rois + r * 5;
        RoiAxis<T>& y = rows[static_cast<size_t>(r)];
        y = make_rows(roi[2], roi[4]);
        y.collect_rows();
        columns[static_cast<size_t>(r)] = make_columns(roi[1], roi[3]);
      }
    });
    for (const RoiAxis<T>& axis : rows) most_rows = std::max(most_rows, axis.used.size());
  }
};

/// y[r] = A_r x[b_r] B_r^T, (R, C, pooled_h, pooled_w). Deterministic, as all of these.
template <typename T>
void roi_products(const MapLayout& x_layout, const RoiMatrices<T>& matrices, const T* x,
                  const T* rois, T* y);
/// dx[b] = sum over RoIs r of image b, in order, of A_r^T dy[r] B_r.
template <typename T>
void roi_products_backward(const MapLayout& x_layout, const RoiMatrices<T>& matrices, const T* rois,
                           const T* dy, T* dx);
/// drois[r] = (0, d_x1, d_y1, d_x2, d_y2) of sum over c, i, j of dy[r] y[r]: the same products with
/// one matrix at a time replaced by its slopes, which `matrices` must have.
template <typename T>
void roi_products_backward_rois(const MapLayout& x_layout, const RoiMatrices<T>& matrices,
                                const T* x, const T* rois, const T* dy,
                                T* drois);  // (R, 5)

}  // namespace frcnn::kernels::cpu
