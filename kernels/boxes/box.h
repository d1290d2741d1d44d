#pragma once

#include <algorithm>

namespace frcnn {

/// Axis-aligned box in continuous pixel coordinates: x grows right, y down, width = x2 - x1. The
/// only box convention inside the project; others are converted where data enters or leaves.
template <typename T>
struct BasicBox {
  T x1 = 0, y1 = 0, x2 = 0, y2 = 0;

  constexpr T width() const { return x2 - x1; }
  constexpr T height() const { return y2 - y1; }
  constexpr T area() const { return width() * height(); }
  constexpr bool operator==(const BasicBox&) const = default;
};
using Box = BasicBox<float>;

/// Intersection over union; 0 when both boxes are empty. Boxes must have x2 >= x1 and y2 >= y1.
template <typename T>
constexpr T iou(const BasicBox<T>& a, const BasicBox<T>& b) {
  const T w = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  const T h = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  if (!(w > 0 && h > 0)) return T(0);
  const T inter = w * h;
  return inter / (a.area() + b.area() - inter);
}

}  // namespace frcnn
