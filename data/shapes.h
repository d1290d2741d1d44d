#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "data/image.h"
#include "kernels/boxes/box.h"

namespace frcnn {

enum class ShapeKind : uint8_t { circle, square, triangle, star, ring, cross };

/// An outline around the origin: a polygon, or a disc with an optional hole when it has no corners.
class Shape {
 public:
  /// A shape whose box has `size` as its longer side, turned by `angle` radians.
  Shape(ShapeKind kind, double size, double angle);

  /// Tight box around the outline, relative to the shape's own origin.
  const BasicBox<double>& bounds() const { return bounds_; }
  bool contains(double x, double y) const;

 private:
  struct Point {
    double x, y;
  };
  std::vector<Point> corners_;
  double outer_ = 0, inner_ = 0;  // radii, without corners
  BasicBox<double> bounds_;
};

/// Draws the shape with its origin at (x, y); edges are smoothed by 4x4 samples per pixel.
void draw_shape(Image& image, const Shape& shape, double x, double y,
                const std::array<uint8_t, 3>& colour);

}  // namespace frcnn
