#include "data/shapes.h"

#include <algorithm>
#include <cmath>

namespace frcnn {
namespace {

constexpr double kPi = 3.14159265358979323846;

/// Corners of a unit shape as x, y pairs; empty for the round ones.
std::vector<std::array<double, 2>> unit_corners(ShapeKind kind) {
  std::vector<std::array<double, 2>> corners;
  const auto on_circle = [&](int count, double outer, double inner) {
    for (int i = 0; i < count; ++i) {
      const double radius = i % 2 == 0 ? outer : inner, at = 2 * kPi * i / count - kPi / 2;
      corners.push_back({radius * std::cos(at), radius * std::sin(at)});
    }
  };
  switch (kind) {
    case ShapeKind::circle:
    case ShapeKind::ring:
      break;
    case ShapeKind::square:
      corners = {{-1, -1}, {1, -1}, {1, 1}, {-1, 1}};
      break;
    case ShapeKind::triangle:
      on_circle(3, 1, 1);
      break;
    case ShapeKind::star:
      on_circle(10, 1, 0.42);
      break;
    case ShapeKind::cross:
      corners = {{-0.3, -1}, {0.3, -1}, {0.3, -0.3}, {1, -0.3}, {1, 0.3},   {0.3, 0.3},
                 {0.3, 1},   {-0.3, 1}, {-0.3, 0.3}, {-1, 0.3}, {-1, -0.3}, {-0.3, -0.3}};
      break;
  }
  return corners;
}

}  // namespace

Shape::Shape(ShapeKind kind, double size, double angle) {
  const auto unit = unit_corners(kind);
  if (unit.empty()) {
    outer_ = size / 2;
    inner_ = kind == ShapeKind::ring ? 0.55 * outer_ : 0;
    bounds_ = {-outer_, -outer_, outer_, outer_};
    return;
  }
  const double c = std::cos(angle), s = std::sin(angle);
  BasicBox<double> b = {1e9, 1e9, -1e9, -1e9};
  for (const auto& [x, y] : unit) {
    corners_.push_back({c * x - s * y, s * x + c * y});
    b = {std::min(b.x1, corners_.back().x), std::min(b.y1, corners_.back().y),
         std::max(b.x2, corners_.back().x), std::max(b.y2, corners_.back().y)};
  }
  const double scale = size / std::max(b.width(), b.height());
  for (Point& p : corners_) p = {p.x * scale, p.y * scale};
  bounds_ = {b.x1 * scale, b.y1 * scale, b.x2 * scale, b.y2 * scale};
}

bool Shape::contains(double x, double y) const {
  if (corners_.empty()) {
    const double square = x * x + y * y;
    return square <= outer_ * outer_ && square >= inner_ * inner_;
  }
  // Even number of edges crossed on the way to the right: outside.
  bool inside = false;
  for (size_t i = 0, j = corners_.size() - 1; i < corners_.size(); j = i++) {
    const Point &a = corners_[i], &b = corners_[j];
    if ((a.y > y) != (b.y > y) && x < (b.x - a.x) * (y - a.y) / (b.y - a.y) + a.x) inside = !inside;
  }
  return inside;
}

void draw_shape(Image& image, const Shape& shape, double x, double y,
                const std::array<uint8_t, 3>& colour) {
  constexpr int kSamples = 4;
  const BasicBox<double>& b = shape.bounds();
  const int x1 = std::max(0, static_cast<int>(std::floor(x + b.x1)));
  const int y1 = std::max(0, static_cast<int>(std::floor(y + b.y1)));
  const int x2 = std::min(image.width, static_cast<int>(std::ceil(x + b.x2)));
  const int y2 = std::min(image.height, static_cast<int>(std::ceil(y + b.y2)));
  for (int py = y1; py < y2; ++py) {
    for (int px = x1; px < x2; ++px) {
      int hits = 0;
      for (int row = 0; row < kSamples; ++row)
        for (int column = 0; column < kSamples; ++column)
          hits +=
              shape.contains(px + (column + 0.5) / kSamples - x, py + (row + 0.5) / kSamples - y);
      const double cover = hits / static_cast<double>(kSamples * kSamples);
      uint8_t* pixel = image.pixel(px, py);
      for (size_t c = 0; c < 3; ++c)
        pixel[c] = static_cast<uint8_t>(std::lround(pixel[c] + cover * (colour[c] - pixel[c])));
    }
  }
}

}  // namespace frcnn
