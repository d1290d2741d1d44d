// Products of a map with two sparse matrices for each RoI, y = A x B^T: first along x for every row
// of the map that any entry touches, then along y. Backward is the transpose. Sixteen channels at a
// time.
#include "kernels/pooling/roi_matrices.h"

#include <memory>

#include "kernels/pooling/roi_tiles.h"

namespace frcnn::kernels::cpu {
namespace {

/// One RoI, 16 channels: narrow[slot, j] = sum over x, then tile[i, j] = sum over y, then rows of
/// y.
template <typename T>
FRCNN_SIMD void pool_group(int64_t pooled_h, int64_t pooled_w, const RoiAxis<T>& rows,
                           const RoiAxis<T>& columns, const T* x, int64_t row_stride,
                           int64_t pixel_stride, int64_t channels, T* narrow, T* tile, T* y) {
  using Vec = typename Simd<T, kLanes>::Vec;
  const auto slots = static_cast<int64_t>(rows.used.size());
  for (int64_t s = 0; s < slots; ++s) {
    const T* row = x + rows.used[static_cast<size_t>(s)] * row_stride;
    const RoiTap<T>* tap = columns.taps.data();
    for (int64_t j = 0; j < pooled_w; ++j) {
      Vec sum = {};
      for (const RoiTap<T>* end = columns.taps.data() + columns.first[j + 1]; tap < end; ++tap)
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
FRCNN_SIMD void spread_group(int64_t pooled_h, int64_t pooled_w, const RoiAxis<T>& rows,
                             const RoiAxis<T>& columns, const T* dy, int64_t channels, T* narrow,
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
    const RoiTap<T>* tap = columns.taps.data();
    for (int64_t j = 0; j < pooled_w; ++j) {
      const Vec gradient = FRCNN_LOAD(Vec, narrow + (s * pooled_w + j) * kLanes);
      for (const RoiTap<T>* end = columns.taps.data() + columns.first[j + 1]; tap < end; ++tap)
        FRCNN_STORE(Vec, row + tap->at * pixel_stride) += tap->weight * gradient;
    }
  }
}

/// One RoI, 16 channels: adds to `sums` (4, 16) the products of dy with the derivatives of y by x1,
/// y1, x2 and y2. narrow[slot, j] holds the sums over x with the weights of column bin j, and with
/// its two slopes.
template <typename T>
FRCNN_SIMD void slope_group(int64_t pooled_h, int64_t pooled_w, const RoiAxis<T>& rows,
                            const RoiAxis<T>& columns, const T* x, int64_t row_stride,
                            int64_t pixel_stride, const T* dy, int64_t channels, T* narrow, T* tile,
                            T* sums) {
  using Vec = typename Simd<T, kLanes>::Vec;
  rows_to_tile(channels, pooled_h * pooled_w, dy, tile);
  const auto slots = static_cast<int64_t>(rows.used.size());
  for (int64_t s = 0; s < slots; ++s) {
    const T* row = x + rows.used[static_cast<size_t>(s)] * row_stride;
    for (int64_t j = 0; j < pooled_w; ++j) {
      Vec plain = {}, low = {}, high = {};
      for (int32_t t = columns.first[j]; t < columns.first[j + 1]; ++t) {
        const Vec value = FRCNN_LOAD(Vec, row + columns.taps[t].at * pixel_stride);
        plain += columns.taps[t].weight * value;
        low += columns.slopes[t].low * value;
        high += columns.slopes[t].high * value;
      }
      T* to = narrow + (s * pooled_w + j) * 3 * kLanes;
      FRCNN_STORE(Vec, to) = plain;
      FRCNN_STORE(Vec, to + kLanes) = low;
      FRCNN_STORE(Vec, to + 2 * kLanes) = high;
    }
  }
  for (int64_t i = 0; i < pooled_h; ++i)
    for (int64_t j = 0; j < pooled_w; ++j) {
      Vec x1 = {}, y1 = {}, x2 = {}, y2 = {};
      for (int32_t t = rows.first[i]; t < rows.first[i + 1]; ++t) {
        const T* from = narrow + (rows.taps[t].at * pooled_w + j) * 3 * kLanes;
        const Vec plain = FRCNN_LOAD(Vec, from);
        x1 += rows.taps[t].weight * FRCNN_LOAD(Vec, from + kLanes);
        x2 += rows.taps[t].weight * FRCNN_LOAD(Vec, from + 2 * kLanes);
        y1 += rows.slopes[t].low * plain;
        y2 += rows.slopes[t].high * plain;
      }
      const Vec gradient = FRCNN_LOAD(Vec, tile + (i * pooled_w + j) * kLanes);
      FRCNN_STORE(Vec, sums) += gradient * x1;
      FRCNN_STORE(Vec, sums + kLanes) += gradient * y1;
      FRCNN_STORE(Vec, sums + 2 * kLanes) += gradient * x2;
      FRCNN_STORE(Vec, sums + 3 * kLanes) += gradient * y2;
    }
}

}  // namespace

template <typename T>
void roi_products(const MapLayout& x_layout, const RoiMatrices<T>& p, const T* x, const T* rois,
                  T* y) {
  const int64_t rois_count = p.count();
  if (rois_count == 0) return;
  std::unique_ptr<T[]> storage;
  const T* blocked = roi_map(x_layout, x, storage);
  const LaneGroups map(roi_layout(x_layout));
  const int64_t bins = p.pooled_h * p.pooled_w, channels = x_layout.c, groups = map.groups();
  parallel_for(rois_count * groups, 4, [&](int64_t begin, int64_t end) {
    std::vector<T> tile(static_cast<size_t>(bins * kLanes));
    std::vector<T> narrow(p.most_rows * static_cast<size_t>(p.pooled_w * kLanes));
    for (int64_t task = begin; task < end; ++task) {
      const int64_t r = task / groups, group = task % groups;
      const int64_t here = std::min(kLanes, channels - group * kLanes);
      if (here <= 0) continue;
      pool_group<T>(p.pooled_h, p.pooled_w, p.rows[static_cast<size_t>(r)],
                    p.columns[static_cast<size_t>(r)],
                    blocked + map.at(static_cast<int64_t>(rois[r * 5]), group), map.row_stride(),
                    map.pixel_stride(), here, narrow.data(), tile.data(),
                    y + (r * channels + group * kLanes) * bins);
    }
  });
}

template <typename T>
void roi_products_backward(const MapLayout& x_layout, const RoiMatrices<T>& p, const T* rois,
                           const T* dy, T* dx) {
  const int64_t rois_count = p.count();
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
    std::vector<T> narrow(p.most_rows * static_cast<size_t>(p.pooled_w * kLanes));
    for (int64_t task = begin; task < end; ++task) {
      const int64_t image = task / groups, group = task % groups;
      T* to = blocked + map.at(image, group);
      for (int64_t i = 0; i < x_layout.h * x_layout.w; ++i)
        std::fill_n(to + i * map.pixel_stride(), kLanes, T(0));
      const int64_t here = std::min(kLanes, channels - group * kLanes);
      for (int64_t r = 0; r < rois_count && here > 0; ++r)
        if (static_cast<int64_t>(rois[r * 5]) == image)
          spread_group<T>(p.pooled_h, p.pooled_w, p.rows[static_cast<size_t>(r)],
                          p.columns[static_cast<size_t>(r)],
                          dy + (r * channels + group * kLanes) * bins, here, narrow.data(),
                          tile.data(), map.row_stride(), map.pixel_stride(), to);
    }
  });
  if (blocked != dx) reorder_map(map.layout, x_layout.block, blocked, dx);
}

template <typename T>
void roi_products_backward_rois(const MapLayout& x_layout, const RoiMatrices<T>& p, const T* x,
                                const T* rois, const T* dy, T* drois) {
  if (p.count() == 0) return;
  std::unique_ptr<T[]> storage;
  const T* blocked = roi_map(x_layout, x, storage);
  const LaneGroups map(roi_layout(x_layout));
  const int64_t bins = p.pooled_h * p.pooled_w, channels = x_layout.c;
  // A RoI belongs to one thread, which adds up its channels in order.
  parallel_for(p.count(), 1, [&](int64_t begin, int64_t end) {
    std::vector<T> tile(static_cast<size_t>(bins * kLanes));
    std::vector<T> narrow(p.most_rows * static_cast<size_t>(3 * p.pooled_w * kLanes));
    for (int64_t r = begin; r < end; ++r) {
      T sums[4 * kLanes] = {};
      for (int64_t group = 0; group * kLanes < channels; ++group)
        slope_group<T>(p.pooled_h, p.pooled_w, p.rows[static_cast<size_t>(r)],
                       p.columns[static_cast<size_t>(r)],
                       blocked + map.at(static_cast<int64_t>(rois[r * 5]), group), map.row_stride(),
                       map.pixel_stride(), dy + (r * channels + group * kLanes) * bins,
                       std::min(kLanes, channels - group * kLanes), narrow.data(), tile.data(),
                       sums);
      drois[5 * r] = 0;
      for (int k = 0; k < 4; ++k) {
        double sum = 0;
        for (int lane = 0; lane < kLanes; ++lane)
          sum += static_cast<double>(sums[k * kLanes + lane]);
        drois[5 * r + 1 + k] = static_cast<T>(sum);
      }
    }
  });
}

#define FRCNN_INSTANTIATE(T)                                                                      \
  template void roi_products<T>(const MapLayout&, const RoiMatrices<T>&, const T*, const T*, T*); \
  template void roi_products_backward<T>(const MapLayout&, const RoiMatrices<T>&, const T*,       \
                                         const T*, T*);                                           \
  template void roi_products_backward_rois<T>(const MapLayout&, const RoiMatrices<T>&, const T*,  \
                                              const T*, const T*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
