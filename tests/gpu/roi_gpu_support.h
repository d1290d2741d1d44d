#pragma once

#include "tests/gpu/map_gpu_support.h"

namespace frcnn::test {

using kernels::MapLayout;

/// RoIs of all kinds over images of `height` x `width` pixels: inside, over the border, outside, a
/// point, turned inside out, the whole image; their images in no order.
template <typename T>
std::vector<T> make_rois(size_t count, int64_t images, double height, double width) {
  const auto random = random_vector<double>(5 * count, 0, 1, 11);
  std::vector<T> rois;
  for (size_t r = 0; r < count; ++r) {
    const double* u = &random[5 * r];
    double x = (u[1] * 1.2 - 0.1) * width, y = (u[2] * 1.2 - 0.1) * height;
    double w = u[3] * 0.7 * width, h = u[4] * 0.7 * height;
    if (r == 1) w = h = 0;
    if (r == 2) w = -0.3 * width;
    if (r == 3) x = 1.5 * width;
    if (r == 4) x = y = 0, w = width, h = height;
    if (r == 5) x = -0.4 * width, y = -0.5 * height, w = 2 * width, h = 2 * height;
    const double image = std::floor(u[0] * static_cast<double>(images));
    for (double v : {image, x, y, x + w, y + h}) rois.push_back(static_cast<T>(v));
  }
  return rois;
}

struct RoiGpuCase {
  MapLayout map;  ///< its block is replaced
  int64_t pooled_h, pooled_w;
  size_t rois;
  double scale;
  int64_t ratio = 2;
  bool aligned = false;
};
inline const RoiGpuCase kRoiGpuCases[] = {
    {{2, 37, 19, 14, 1}, 7, 7, 9, 1.0 / 16},
    {{1, 64, 9, 17, 1}, 2, 3, 6, 0.11, 3, true},
    {{3, 5, 8, 8, 1}, 3, 2, 12, 1.0 / 8, 0, true},
    {{1, 4, 1, 1, 1}, 1, 1, 3, 1.0, -1, false},
    {{1, 32, 6, 7, 1}, 14, 14, 2, 0.25, 1, false},
    {{1, 4, 6, 7, 1}, 28, 20, 2, 0.25, 1, false},  // too much for shared memory
};

template <typename T>
struct RoiData {
  std::vector<T> x, rois, dy;
  int64_t count;
  size_t size;
  RoiData(const RoiGpuCase& c, const MapLayout& map)
      : x(random_map<T>(map, -2, 2, 1)),
        rois(make_rois<T>(c.rois, map.n, static_cast<double>(map.h) / c.scale,
                          static_cast<double>(map.w) / c.scale)),
        count(static_cast<int64_t>(c.rois)),
        size(c.rois * static_cast<size_t>(map.c * c.pooled_h * c.pooled_w)) {
    dy = random_vector<T>(size, -1, 1, 2);
  }
};

/// Most weights that one axis of a bin can have in this case.
inline double most_taps(const RoiGpuCase& c) {
  if (c.ratio > 0) return 2.0 * static_cast<double>(c.ratio);
  return static_cast<double>(std::max(c.map.h, c.map.w)) + 2;
}

}  // namespace frcnn::test
