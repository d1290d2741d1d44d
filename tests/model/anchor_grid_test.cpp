#include "model/anchor_grid.h"

#include <cmath>

#include "kernels/boxes/box.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

BasicBox<double> centred(const BoxShape& s) {
  const double w = s.size / std::sqrt(s.ratio), h = s.size * std::sqrt(s.ratio);
  return {-w / 2, -h / 2, w / 2, h / 2};
}

}  // namespace

TEST_CASE("anchor grid: the IoU of shapes is that of boxes with a common centre") {
  const auto values = random_vector<double>(400, 0.05, 4, 3);
  for (size_t i = 0; i + 3 < values.size(); i += 4) {
    const BoxShape a{100 * values[i], values[i + 1]}, b{100 * values[i + 2], values[i + 3]};
    CHECK(shape_iou(a, b) == Approx(iou(centred(a), centred(b))).epsilon(1e-12));
    CHECK(shape_iou(a, a) == Approx(1));
  }
}

TEST_CASE("anchor grid: a grid of shapes is found again") {
  std::vector<BoxShape> shapes;
  for (const double size : {64, 128, 256})
    for (const double ratio : {0.5, 1.0, 2.0})
      for (int i = 0; i < 20; ++i)
        shapes.push_back({size * (1 + 0.01 * (i % 3 - 1)), ratio * (1 + 0.01 * (i % 5 - 2))});
  const AnchorGrid grid = fit_anchor_grid(shapes, 3, 3);
  CHECK(grid.sizes == std::vector<double>{64, 128, 256});
  CHECK(grid.ratios == std::vector<double>{0.5, 1, 2});
  CHECK(grid.mean_iou > 0.97);
  CHECK(grid.mean_iou == Approx(mean_shape_iou(shapes, grid)));
  // Once more, and with more anchors than shapes ask for: equal ones are joined.
  CHECK(fit_anchor_grid(shapes, 3, 3).sizes == grid.sizes);
  const AnchorGrid one = fit_anchor_grid({{100, 1.5}, {100, 1.5}}, 3, 3);
  CHECK(one.sizes == std::vector<double>{104});
  CHECK(one.ratios == std::vector<double>{1.5});
  CHECK(fit_anchor_grid({}, 3, 3).sizes.empty());
}

TEST_CASE("anchor grid: better than the usual anchors for objects unlike those") {
  const auto u = random_vector<double>(2000, 0, 1, 5);
  std::vector<BoxShape> shapes;  // small and upright, sizes over a factor of 8
  for (size_t i = 0; i + 1 < u.size(); i += 2)
    shapes.push_back({12 * std::pow(8.0, u[i]), 1.2 * std::pow(3.0, u[i + 1])});
  const AnchorGrid usual{{128, 256, 512}, {0.5, 1, 2}, 0};
  const AnchorGrid fitted = fit_anchor_grid(shapes, 3, 3);
  CHECK(mean_shape_iou(shapes, usual) < 0.4);
  CHECK(fitted.mean_iou > 0.7);
  // No neighbour of the grid is much better: a local optimum but for rounding.
  for (size_t i = 0; i < 3; ++i)
    for (const double factor : {0.85, 1.18}) {
      AnchorGrid moved = fitted;
      moved.sizes[i] *= factor;
      CHECK(mean_shape_iou(shapes, moved) < fitted.mean_iou + 0.005);
    }
  const AnchorGrid more = fit_anchor_grid(shapes, 5, 3);
  CHECK(more.mean_iou > fitted.mean_iou);
}
