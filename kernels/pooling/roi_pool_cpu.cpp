// RoI max pooling: one task per group of 16 channels and RoI; the maxima of all bins gather in a
// small tile, which is then turned into rows of the plain output. A group's part of the map stays
// in the cache while all RoIs pass over it.
#include "kernels/pooling/roi_pool.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/elementwise/elementwise.h"
#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"
#include "kernels/pooling/roi_tiles.h"
#include "kernels/pooling/window_max.h"

namespace frcnn::kernels::cpu {
namespace {

struct Range {
  int32_t begin, end;
};

/// Bins of one axis of every RoI, (R, bins), clipped to the map. The arithmetic in T follows the
/// original, whose rounding decides where bins end.
template <typename T>
std::vector<Range> make_bins(int64_t rois_count, const T* rois, int axis, double scale,
                             int64_t bins, int64_t length) {
  std::vector<Range> ranges(static_cast<size_t>(rois_count * bins));
  for (int64_t r = 0; r < rois_count; ++r) {
    const T first = std::round(rois[r * 5 + 1 + axis] * static_cast<T>(scale));
    const T last = std::round(rois[r * 5 + 3 + axis] * static_cast<T>(scale));
    check(std::abs(first) < T(1e7) && std::abs(last) < T(1e7),
          "[roi_pool] expected finite RoIs within 1e7 cells, got {} .. {} in RoI {}",
          rois[r * 5 + 1 + axis], rois[r * 5 + 3 + axis], r);
    const auto start = static_cast<int64_t>(first);
    const T bin = std::max(last - first + T(1), T(1)) / static_cast<T>(bins);
    for (int64_t i = 0; i < bins; ++i) {
      const auto from = static_cast<int64_t>(std::floor(static_cast<T>(i) * bin)) + start;
      const auto to = static_cast<int64_t>(std::ceil(static_cast<T>(i + 1) * bin)) + start;
      ranges[static_cast<size_t>(r * bins + i)] = {
          static_cast<int32_t>(std::clamp<int64_t>(from, 0, length)),
          static_cast<int32_t>(std::clamp<int64_t>(to, 0, length))};
    }
  }
  return ranges;
}

/// Whether some number is NaN: if not, nobody needs to look for it in each bin again.
template <typename T>
FRCNN_SIMD bool has_nan(int64_t count, const T* x) {
  int found = 0;
  for (int64_t i = 0; i < count; ++i) found |= x[i] != x[i] ? 1 : 0;
  return found != 0;
}

/// All bins of one RoI for 16 channels.
template <typename T, bool kArgmax, bool kNan>
FRCNN_SIMD void pool_group(const RoiPoolParams& p, const Range* rows, const Range* columns,
                           const T* x, int64_t row_stride, int64_t pixel_stride, int64_t width,
                           int64_t channels, T* tile, typename Simd<T, kLanes>::Int* tile_at, T* y,
                           int32_t* argmax) {
  for (int64_t i = 0; i < p.pooled_h; ++i)
    for (int64_t j = 0; j < p.pooled_w; ++j) {
      const Range h = rows[i], w = columns[j];
      const int64_t bin = (i * p.pooled_w + j) * kLanes;
      WindowMax<T, kLanes> best;
      if (h.begin < h.end && w.begin < w.end) {
        window_max<T, kLanes, kArgmax, kNan>(
            x + h.begin * row_stride + w.begin * pixel_stride, row_stride, pixel_stride,
            h.end - h.begin, w.end - w.begin, h.begin * width + w.begin, width, best);
      } else {
        best.set(T(0), -1);
      }
      best.store_max(tile + bin);
      if (kArgmax) best.store_at(tile_at + bin);
    }
  const int64_t bins = p.pooled_h * p.pooled_w;
  tile_to_rows(channels, bins, tile, y);
  if (kArgmax) tile_to_rows(channels, bins, tile_at, argmax);
}

template <typename T, bool kArgmax, bool kNan>
void pool_all(const LaneGroups& map, const RoiPoolParams& p, int64_t rois_count, const T* x,
              const T* rois, const std::vector<Range>& rows, const std::vector<Range>& columns,
              T* y, int32_t* argmax) {
  using Int = typename Simd<T, kLanes>::Int;
  const int64_t bins = p.pooled_h * p.pooled_w, channels = map.layout.c, groups = map.groups();
  parallel_for(rois_count * groups, 4, [&](int64_t begin, int64_t end) {
    std::vector<T> tile(static_cast<size_t>(bins * kLanes));
    std::vector<Int> tile_at(kArgmax ? tile.size() : 0);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t r = task % rois_count, group = task / rois_count;
      const int64_t here = std::min(kLanes, channels - group * kLanes);
      if (here <= 0) continue;
      const int64_t out = (r * channels + group * kLanes) * bins;
      pool_group<T, kArgmax, kNan>(p, &rows[static_cast<size_t>(r * p.pooled_h)],
                                   &columns[static_cast<size_t>(r * p.pooled_w)],
                                   x + map.at(static_cast<int64_t>(rois[r * 5]), group),
                                   map.row_stride(), map.pixel_stride(), map.layout.w, here,
                                   tile.data(), tile_at.data(), y + out,
                                   kArgmax ? argmax + out : nullptr);
    }
  });
}

void validate(const MapLayout& x, const RoiPoolParams& p) {
  check(p.pooled_h > 0 && p.pooled_w > 0 && x.h * x.w <= INT32_MAX,
        "[roi_pool] expected positive pooled sizes and a map below 2^31 cells, got {}x{} and {}x{}",
        p.pooled_h, p.pooled_w, x.h, x.w);
}

}  // namespace

template <typename T>
void roi_pool_forward(const MapLayout& x_layout, const RoiPoolParams& p, int64_t rois_count,
                      const T* x, const T* rois, T* y, int32_t* argmax) {
  validate(x_layout, p);
  if (rois_count == 0) return;
  std::unique_ptr<T[]> storage;
  const T* blocked = roi_map(x_layout, x, storage);
  const LaneGroups map(roi_layout(x_layout));
  const auto rows = make_bins(rois_count, rois, 1, p.scale_y, p.pooled_h, x_layout.h);
  const auto columns = make_bins(rois_count, rois, 0, p.scale_x, p.pooled_w, x_layout.w);
  const bool nan =
      parallel_reduce<int>(map.layout.size(), 1 << 16, [&](int64_t begin, int64_t end) {
        return has_nan(end - begin, blocked + begin) ? 1 : 0;
      }) > 0;
  const auto run = [&](auto with_argmax, auto with_nan) {
    pool_all<T, with_argmax.value, with_nan.value>(map, p, rois_count, blocked, rois, rows, columns,
                                                   y, argmax);
  };
  const auto choose = [&](auto with_argmax) {
    nan ? run(with_argmax, std::true_type{}) : run(with_argmax, std::false_type{});
  };
  argmax ? choose(std::true_type{}) : choose(std::false_type{});
}

template <typename T>
void roi_pool_backward(const MapLayout& x_layout, const RoiPoolParams& p, int64_t rois_count,
                       const T* rois, const T* dy, const int32_t* argmax, T* dx) {
  validate(x_layout, p);
  fill(x_layout.size(), T(0), dx);
  const int64_t bins = p.pooled_h * p.pooled_w, channels = x_layout.c, block = x_layout.block;
  // A channel belongs to one thread, which walks the RoIs in order.
  parallel_for((channels + kLanes - 1) / kLanes, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = 0; r < rois_count; ++r) {
      const auto image = static_cast<int64_t>(rois[r * 5]);
      for (int64_t c = begin * kLanes; c < std::min(channels, end * kLanes); ++c) {
        T* plane = dx + x_layout.block_at(image, c / block) + c % block;
        const T* gradient = dy + (r * channels + c) * bins;
        const int32_t* at = argmax + (r * channels + c) * bins;
        for (int64_t b = 0; b < bins; ++b)
          if (at[b] >= 0) plane[at[b] * block] += gradient[b];
      }
    }
  });
}

#define FRCNN_INSTANTIATE(T)                                                                    \
  template void roi_pool_forward<T>(const MapLayout&, const RoiPoolParams&, int64_t, const T*,  \
                                    const T*, T*, int32_t*);                                    \
  template void roi_pool_backward<T>(const MapLayout&, const RoiPoolParams&, int64_t, const T*, \
                                     const T*, const int32_t*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
