#include "kernels/boxes/anchors.h"

#include <array>
#include <cmath>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"

namespace frcnn::kernels {

namespace {

/// x1, y1, x2, y2 of the anchor of a size and ratio, around the origin.
std::array<double, 4> base_anchor(const AnchorParams& p, double size, double ratio) {
  check(size > 0 && ratio > 0, "[anchors] sizes and ratios must be positive, got {} and {}", size,
        ratio);
  double half_w = size / std::sqrt(ratio) / 2, half_h = size * std::sqrt(ratio) / 2;
  if (p.rounding == AnchorRounding::paper) {  // numpy's round: halves to even
    const double w = std::nearbyint(std::sqrt(p.base * p.base / ratio));
    const double h = std::nearbyint(w * ratio);
    half_w = w * size / p.base / 2;
    half_h = h * size / p.base / 2;
  } else if (p.rounding == AnchorRounding::torchvision) {  // in float, as there
    const float h_ratio = std::sqrt(static_cast<float>(ratio)), w_ratio = 1 / h_ratio;
    half_w = std::nearbyint(w_ratio * static_cast<float>(size) / 2);
    half_h = std::nearbyint(h_ratio * static_cast<float>(size) / 2);
  }
  return {-half_w, -half_h, half_w, half_h};
}

}  // namespace

std::vector<double> base_anchors(const AnchorParams& p) {
  check(!p.sizes.empty() && !p.ratios.empty(),
        "[anchors] expected at least one size and one ratio");
  std::vector<double> boxes;
  const auto add = [&](double size, double ratio) {
    const std::array<double, 4> box = base_anchor(p, size, ratio);
    boxes.insert(boxes.end(), box.begin(), box.end());
  };
  if (p.combine == AnchorCombine::all) {
    for (const double ratio : p.ratios)
      for (const double size : p.sizes) add(size, ratio);
  } else {
    for (const double size : p.sizes) add(size, p.ratios[0]);
    for (size_t i = 1; i < p.ratios.size(); ++i) add(p.sizes[0], p.ratios[i]);
  }
  return boxes;
}

namespace cpu {

template <typename T>
void grid_anchors(const AnchorParams& params, int64_t map_h, int64_t map_w, double stride_y,
                  double stride_x, T* anchors) {
  const std::vector<double> base = base_anchors(params);
  const int64_t per_cell = params.per_cell();
  const double shift = params.centre == AnchorCentre::cell ? 0.5 : 0.0;
  parallel_for(map_h * map_w, 512, [&](int64_t begin, int64_t end) {
    for (int64_t cell = begin; cell < end; ++cell) {
      const int64_t row = cell / map_w, column = cell % map_w;
      const double y = (static_cast<double>(row) + shift) * stride_y;
      const double x = (static_cast<double>(column) + shift) * stride_x;
      T* out = anchors + cell * per_cell * 4;
      for (int64_t i = 0; i < per_cell * 4; ++i)
        out[i] = static_cast<T>(base[static_cast<size_t>(i)] + (i % 2 ? y : x));
    }
  });
}

template <typename T>
void boxes_inside(int64_t count, double height, double width, const T* boxes, uint8_t* inside) {
  for (int64_t i = 0; i < count; ++i) {
    const T* b = boxes + 4 * i;
    inside[i] =
        b[0] >= 0 && b[1] >= 0 && b[2] < static_cast<T>(width) && b[3] < static_cast<T>(height);
  }
}

template void grid_anchors<float>(const AnchorParams&, int64_t, int64_t, double, double, float*);
template void grid_anchors<double>(const AnchorParams&, int64_t, int64_t, double, double, double*);
template void boxes_inside<float>(int64_t, double, double, const float*, uint8_t*);
template void boxes_inside<double>(int64_t, double, double, const double*, uint8_t*);

}  // namespace cpu
}  // namespace frcnn::kernels
