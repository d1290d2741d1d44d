// RoIAlign as two small sparse products per RoI, y = A x B^T: first along x for every row of the
// map that any sample touches, then along y. Backward is the transpose. Sixteen channels at a time.
#include "kernels/pooling/roi_align.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"
#include "kernels/pooling/roi_tiles.h"

namespace frcnn::kernels::cpu {
namespace {

template <typename T>
struct Tap {
  int32_t at;  // row or column of the map; for rows: their slot in `used`
  T weight;
};

/// One axis of one RoI: row p of the sparse matrix is taps[first[p]] .. taps[first[p + 1]].
template <typename T>
struct Axis {
  std::vector<Tap<T>> taps;
  std::vector<int32_t> first;
  std::vector<int32_t> used;  // rows only: the map rows that have a tap, by slot
};

/// Adds a weight to the taps of the bin that starts at `from`; samples come in order, so a position
/// seen before is among the last two.
template <typename T>
void add_tap(std::vector<Tap<T>>& taps, size_t from, int64_t at, T weight) {
  for (size_t back = taps.size(); back > from && back + 2 > taps.size(); --back)
    if (taps[back - 1].at == at) {
      taps[back - 1].weight += weight;
      return;
    }
  taps.push_back({static_cast<int32_t>(at), weight});
}

/// The matrix of one axis. Positions are computed in T in the order of the reference
/// implementation.
template <typename T>
void make_axis(T low, T high, double scale, bool aligned, int64_t ratio, int64_t bins,
               int64_t length, Axis<T>& axis) {
  axis.taps.clear();
  axis.first.assign(1, 0);
  const T offset = aligned ? T(0.5) : T(0);
  const T start = low * static_cast<T>(scale) - offset;
  T size = high * static_cast<T>(scale) - offset - start;
  if (!aligned) size = std::max(size, T(1));
  check(std::abs(start) < T(1e7) && std::abs(size) < T(1e7),
        "[roi_align] expected finite RoIs within 1e7 cells, got {} .. {}", low, high);
  const T bin_size = size / static_cast<T>(bins);
  const int64_t grid =
      ratio > 0 ? ratio : static_cast<int64_t>(std::ceil(size / static_cast<T>(bins)));
  for (int64_t p = 0; p < bins; ++p) {
    const size_t from = axis.taps.size();
    for (int64_t i = 0; i < grid; ++i) {
      T at = start + static_cast<T>(p) * bin_size +
             (static_cast<T>(i) + T(0.5)) * bin_size / static_cast<T>(grid);
      if (at < T(-1) || at > static_cast<T>(length)) continue;
      at = std::max(at, T(0));
      auto cell = static_cast<int64_t>(at);
      T part = at - static_cast<T>(cell);
      if (cell >= length - 1) cell = length - 1, part = 0;
      add_tap(axis.taps, from, cell, (T(1) - part) / static_cast<T>(grid));
      if (part > 0) add_tap(axis.taps, from, cell + 1, part / static_cast<T>(grid));
    }
    axis.first.push_back(static_cast<int32_t>(axis.taps.size()));
  }
}

/// Lists the map rows that the taps touch and makes the taps refer to that list.
template <typename T>
void collect_rows(Axis<T>& axis) {
  axis.used.clear();
  for (const Tap<T>& tap : axis.taps) axis.used.push_back(tap.at);
  std::sort(axis.used.begin(), axis.used.end());
  axis.used.erase(std::unique(axis.used.begin(), axis.used.end()), axis.used.end());
  for (Tap<T>& tap : axis.taps)
    tap.at = static_cast<int32_t>(std::lower_bound(axis.used.begin(), axis.used.end(), tap.at) -
                                  axis.used.begin());
}

/// Both axes of every RoI.
template <typename T>
struct Table {
  std::vector<Axis<T>> rows, columns;
  size_t most_rows = 0;

  Table(const MapLayout& map, const RoiAlignParams& p, int64_t rois_count, const T* rois)
      : rows(static_cast<size_t>(rois_count)), columns(static_cast<size_t>(rois_count)) {
    check(p.pooled_h > 0 && p.pooled_w > 0 && map.h > 0 && map.w > 0,
          "[roi_align] expected positive sizes, got {}x{} bins and a {}x{} map", p.pooled_h,
          p.pooled_w, map.h, map.w);
    parallel_for(rois_count, 64, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* roi = rois + r * 5;
        Axis<T>& y = rows[static_cast<size_t>(r)];
        make_axis(roi[2], roi[4], p.scale_y, p.aligned, p.sampling_ratio, p.pooled_h, map.h, y);
        collect_rows(y);
        make_axis(roi[1], roi[3], p.scale_x, p.aligned, p.sampling_ratio, p.pooled_w, map.w,
                  columns[static_cast<size_t>(r)]);
      }
    });
    for (const Axis<T>& axis : rows) most_rows = std::max(most_rows, axis.used.size());
  }
};

/// One RoI, 16 channels: narrow[slot, j] = sum over x, then tile[i, j] = sum over y, then rows of
/// y.
template <typename T>
FRCNN_SIMD void align_group(int64_t pooled_h, int64_t pooled_w, const Axis<T>& rows,
                            const Axis<T>& columns, const T* x, int64_t row_stride,
                            int64_t pixel_stride, int64_t channels, T* narrow, T* tile, T* y) {
  using Vec = typename Simd<T, kLanes>::Vec;
  const auto slots = static_cast<int64_t>(rows.used.size());
  for (int64_t s = 0; s < slots; ++s) {
    const T* row = x + rows.used[static_cast<size_t>(s)] * row_stride;
    const Tap<T>* tap = columns.taps.data();
    for (int64_t j = 0; j < pooled_w; ++j) {
      Vec sum = {};
      for (const Tap<T>* end = columns.taps.data() + columns.first[j + 1]; tap < end; ++tap)
        sum += tap->weight * FRCNN_LOAD(Vec, row + tap->at * pixel_stride);
      FRCNN_STORE(Vec, narrow + (s * pooled_w + j) * kLanes) = sum;
    }
  }
  for (int64_t i = 0; i < pooled_h; ++i)
    for (int64_t j = 0; j < pooled_w; ++j) {
      Vec sum = {};
      for (int32_t t = rows.first[i]; t < rows.first[i + 1]; ++t)
        sum += rows.taps[t].weight *
               FRCNN_LOAD(Vec, narrow + (rows.taps[t].at * pooled_w + j) * kLanes);
      FRCNN_STORE(Vec, tile + (i * pooled_w + j) * kLanes) = sum;
    }
  tile_to_rows(channels, pooled_h * pooled_w, tile, y);
}

/// The transpose: adds A^T dy B to the map.
template <typename T>
FRCNN_SIMD void spread_group(int64_t pooled_h, int64_t pooled_w, const Axis<T>& rows,
                             const Axis<T>& columns, const T* dy, int64_t channels, T* narrow,
                             T* tile, int64_t row_stride, int64_t pixel_stride, T* dx) {
  using Vec = typename Simd<T, kLanes>::Vec;
  rows_to_tile(channels, pooled_h * pooled_w, dy, tile);
  const auto slots = static_cast<int64_t>(rows.used.size());
  std::fill_n(narrow, slots * pooled_w * kLanes, T(0));
  for (int64_t i = 0; i < pooled_h; ++i)
    for (int32_t t = rows.first[i]; t < rows.first[i + 1]; ++t)
      for (int64_t j = 0; j < pooled_w; ++j)
        FRCNN_STORE(Vec, narrow + (rows.taps[t].at * pooled_w + j) * kLanes) +=
            rows.taps[t].weight * FRCNN_LOAD(Vec, tile + (i * pooled_w + j) * kLanes);
  for (int64_t s = 0; s < slots; ++s) {
    T* row = dx + rows.used[static_cast<size_t>(s)] * row_stride;
    const Tap<T>* tap = columns.taps.data();
    for (int64_t j = 0; j < pooled_w; ++j) {
      const Vec gradient = FRCNN_LOAD(Vec, narrow + (s * pooled_w + j) * kLanes);
      for (const Tap<T>* end = columns.taps.data() + columns.first[j + 1]; tap < end; ++tap)
        FRCNN_STORE(Vec, row + tap->at * pixel_stride) += tap->weight * gradient;
    }
  }
}

}  // namespace

template <typename T>
void roi_align_forward(const MapLayout& x_layout, const RoiAlignParams& p, int64_t rois_count,
                       const T* x, const T* rois, T* y) {
  if (rois_count == 0) return;
  const Table<T> table(x_layout, p, rois_count, rois);
  std::unique_ptr<T[]> storage;
  const T* blocked = roi_map(x_layout, x, storage);
  const LaneGroups map(roi_layout(x_layout));
  const int64_t bins = p.pooled_h * p.pooled_w, channels = x_layout.c, groups = map.groups();
  parallel_for(rois_count * groups, 4, [&](int64_t begin, int64_t end) {
    std::vector<T> tile(static_cast<size_t>(bins * kLanes));
    std::vector<T> narrow(table.most_rows * static_cast<size_t>(p.pooled_w * kLanes));
    for (int64_t task = begin; task < end; ++task) {
      const int64_t r = task / groups, group = task % groups;
      const int64_t here = std::min(kLanes, channels - group * kLanes);
      if (here <= 0) continue;
      align_group<T>(p.pooled_h, p.pooled_w, table.rows[static_cast<size_t>(r)],
                     table.columns[static_cast<size_t>(r)],
                     blocked + map.at(static_cast<int64_t>(rois[r * 5]), group), map.row_stride(),
                     map.pixel_stride(), here, narrow.data(), tile.data(),
                     y + (r * channels + group * kLanes) * bins);
    }
  });
}

template <typename T>
void roi_align_backward(const MapLayout& x_layout, const RoiAlignParams& p, int64_t rois_count,
                        const T* rois, const T* dy, T* dx) {
  const Table<T> table(x_layout, p, rois_count, rois);
  const LaneGroups map(roi_layout(x_layout));
  const int64_t bins = p.pooled_h * p.pooled_w, channels = x_layout.c, groups = map.groups();
  std::unique_ptr<T[]> storage;
  T* blocked = dx;
  if (map.layout.block != x_layout.block) {
    storage.reset(new T[static_cast<size_t>(map.layout.size())]);
    blocked = storage.get();
  }
  // A group of channels of an image belongs to one thread, which walks the image's RoIs in order.
  parallel_for(x_layout.n * groups, 1, [&](int64_t begin, int64_t end) {
    std::vector<T> tile(static_cast<size_t>(bins * kLanes));
    std::vector<T> narrow(table.most_rows * static_cast<size_t>(p.pooled_w * kLanes));
    for (int64_t task = begin; task < end; ++task) {
      const int64_t image = task / groups, group = task % groups;
      T* to = blocked + map.at(image, group);
      for (int64_t i = 0; i < x_layout.h * x_layout.w; ++i)
        std::fill_n(to + i * map.pixel_stride(), kLanes, T(0));
      const int64_t here = std::min(kLanes, channels - group * kLanes);
      for (int64_t r = 0; r < rois_count && here > 0; ++r)
        if (static_cast<int64_t>(rois[r * 5]) == image)
          spread_group<T>(p.pooled_h, p.pooled_w, table.rows[static_cast<size_t>(r)],
                          table.columns[static_cast<size_t>(r)],
                          dy + (r * channels + group * kLanes) * bins, here, narrow.data(),
                          tile.data(), map.row_stride(), map.pixel_stride(), to);
    }
  });
  if (blocked != dx) reorder_map(map.layout, x_layout.block, blocked, dx);
}

#define FRCNN_INSTANTIATE(T)                                                                      \
  template void roi_align_forward<T>(const MapLayout&, const RoiAlignParams&, int64_t, const T*,  \
                                     const T*, T*);                                               \
  template void roi_align_backward<T>(const MapLayout&, const RoiAlignParams&, int64_t, const T*, \
                                      const T*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
