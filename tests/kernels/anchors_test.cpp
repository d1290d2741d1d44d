#include "kernels/boxes/anchors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/launch/check.h"
#include "tests/kernels/box_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

template <typename T = float>
std::vector<T> grid(const AnchorParams& params, int64_t map_h, int64_t map_w, double stride_y,
                    double stride_x) {
  GuardedBuffer<T> out(static_cast<size_t>(map_h * map_w * params.per_cell() * 4));
  cpu::grid_anchors(params, map_h, map_w, stride_y, stride_x, out.data());
  CHECK(out.guards_intact());
  return {out.data(), out.data() + out.size()};
}

template <typename T>
int64_t count_inside(const std::vector<T>& anchors, double height, double width) {
  GuardedFlags inside(anchors.size() / 4);
  cpu::boxes_inside(static_cast<int64_t>(inside.size()), height, width, anchors.data(),
                    inside.data());
  CHECK(inside.guards_intact());
  return std::accumulate(inside.data(), inside.data() + inside.size(), int64_t{0});
}

AnchorParams exact() {
  AnchorParams p;
  p.rounding = AnchorRounding::none;
  return p;
}

}  // namespace

TEST_CASE("A1 anchors: nine per position, 36 regression and 18 class outputs") {
  CHECK(AnchorParams{}.per_cell() == 9);
  CHECK(4 * AnchorParams{}.per_cell() == 36);
  CHECK(2 * AnchorParams{}.per_cell() == 18);
  CHECK(base_anchors({}).size() == 36);
}

TEST_CASE("A5 anchors: reference table of the original code") {
  // One-based inclusive pixels of the cell at the origin.
  const std::vector<double> table = {-83, -39, 100, 56, -175, -87,  192, 104, -359, -183, 376, 200,
                                     -55, -55, 72,  72, -119, -119, 136, 136, -247, -247, 264, 264,
                                     -35, -79, 52,  96, -79,  -167, 96,  184, -167, -343, 184, 360};
  std::vector<double> pixels = grid<double>({}, 1, 1, 16, 16);
  for (size_t i = 0; i < pixels.size(); ++i)
    if (i % 4 < 2) pixels[i] += 1;  // continuous [x1, x2) to the pixels from x1 + 1 to x2
  FRCNN_CHECK_SAME(pixels, table, 0, 0);
}

TEST_CASE("A19 anchors: counts on a 37x62 and a 37x50 map, all and inside the image") {
  const auto wide = grid({}, 37, 62, 16, 16);
  CHECK(wide.size() / 4 == 20646);
  CHECK(count_inside(wide, 600, 1000) == 7790);
  const auto narrow = grid({}, 37, 50, 16, 16);
  CHECK(narrow.size() / 4 == 16650);
  CHECK(count_inside(narrow, 600, 800) == 5700);
}

TEST_CASE("A13 anchors: one cell further, every anchor is one stride further") {
  const auto all = grid<double>({}, 4, 5, 16, 8);
  const size_t row = 36;
  for (size_t cell = 0; cell < 20; ++cell)
    for (size_t i = 0; i < row; ++i)
      CHECK(all[cell * row + i] == all[i] + (i % 2 ? 16.0 * static_cast<double>(cell / 5)
                                                   : 8.0 * static_cast<double>(cell % 5)));
}

TEST_CASE("E2 anchors: 5184 on a 24x24 map") {
  CHECK(grid({}, 24, 24, 33, 33).size() / 4 == 5184);
}

TEST_CASE("E3 anchors: exact sizes keep the area; the ratio is height over width") {
  const auto base = base_anchors(exact());
  const double sizes[] = {128, 256, 512}, ratios[] = {0.5, 1, 2};
  for (size_t a = 0; a < 9; ++a) {
    const double w = base[4 * a + 2] - base[4 * a], h = base[4 * a + 3] - base[4 * a + 1];
    CHECK(std::abs(w * h / (sizes[a % 3] * sizes[a % 3]) - 1) < 1e-12);
    CHECK(std::abs(h / w / ratios[a / 3] - 1) < 1e-12);
  }
}

TEST_CASE("E3 anchors: torchvision's rounding and centres give torchvision's anchors") {
  for (const std::string name : {"anchors_common", "anchors_odd"}) {
    AnchorParams p;
    p.sizes = golden_f64("boxes", name + "/sizes").values;
    p.rounding = AnchorRounding::torchvision;
    p.centre = AnchorCentre::corner;
    FRCNN_CHECK_SAME(grid(p, 3, 5, 16, 16), golden_f32("boxes", name + "/anchors").values, 0, 0);
  }
}

TEST_CASE("F2 anchors: 22,500 on a 50x50 map at centres 8 + 16 i in the order (H, W, anchor)") {
  const auto all = grid(exact(), 50, 50, 16, 16);
  REQUIRE(all.size() / 4 == 22500);
  double worst = 0;
  for (size_t i = 0; i < 22500; ++i) {
    const double x = (all[4 * i] + all[4 * i + 2]) / 2, y = (all[4 * i + 1] + all[4 * i + 3]) / 2;
    worst = std::max({worst, std::abs(x - (8 + 16.0 * static_cast<double>(i / 9 % 50))),
                      std::abs(y - (8 + 16.0 * static_cast<double>(i / 9 / 50)))});
  }
  CHECK(worst < 1e-4);
  CHECK(count_inside(all, 800, 800) == 8940);
}

TEST_CASE("C2 anchors: strides that are fractions and differ between the axes") {
  const double stride_y = 333.0 / 9, stride_x = 500.0 / 14;
  CHECK(stride_y == 37.0);
  CHECK(std::abs(stride_x - 35.714) < 1e-3);
  const auto all = grid<double>(exact(), 9, 14, stride_y, stride_x);
  const double* last = all.data() + all.size() - 4;
  CHECK(std::abs((last[0] + last[2]) / 2 - (500 - stride_x / 2)) < 1e-9);
  CHECK(std::abs((last[1] + last[3]) / 2 - (333 - stride_y / 2)) < 1e-9);
}

TEST_CASE("B5 anchors: sizes .85 .43 .21 and ratios 1 2 .5 are five, the book's pairs in order") {
  AnchorParams p = exact();
  p.sizes = {0.85 * 256, 0.43 * 256, 0.21 * 256};
  p.ratios = {1, 2, 0.5};
  p.combine = AnchorCombine::first;
  REQUIRE(p.per_cell() == 5);
  const auto base = base_anchors(p);
  REQUIRE(base.size() == 20);
  // (s1, r1), (s2, r1), (s3, r1), (s1, r2), (s1, r3); the area is s^2, the ratio height / width.
  const double sizes[] = {0.85, 0.43, 0.21, 0.85, 0.85}, ratios[] = {1, 1, 1, 2, 0.5};
  for (size_t i = 0; i < 5; ++i) {
    const double w = base[4 * i + 2] - base[4 * i], h = base[4 * i + 3] - base[4 * i + 1];
    CHECK(std::abs(std::sqrt(w * h) / 256 - sizes[i]) < 1e-12);
    CHECK(std::abs(h / w - ratios[i]) < 1e-12);
  }
  CHECK(grid(p, 8, 8, 32, 32).size() / 4 == 320);
}

TEST_CASE("C3 anchors: scales 3, 6, 12 on a 9x14 map are 1134") {
  AnchorParams p = exact();
  p.sizes = {3 * 16.0, 6 * 16.0, 12 * 16.0};
  CHECK(grid(p, 9, 14, 37, 35.714).size() / 4 == 1134);
}

TEST_CASE("anchors: inside means x1, y1 >= 0 and x2 < width, y2 < height; NaN is outside") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::vector<float>> outside = {{-1, 0, 5, 5},  {0, -1, 5, 5},  {0, 0, 20, 5},
                                                   {0, 0, 5, 10},  {nan, 0, 5, 5}, {0, nan, 5, 5},
                                                   {0, 0, nan, 5}, {0, 0, 5, nan}};
  for (const auto& box : outside) CHECK(count_inside(box, 10, 20) == 0);
  CHECK(count_inside(std::vector<float>{0, 0, 19.5f, 9.5f}, 10, 20) == 1);
  CHECK(count_inside(std::vector<float>{}, 10, 20) == 0);
}

TEST_CASE("anchors: an empty map has none; senseless parameters are refused") {
  CHECK(grid({}, 0, 5, 16, 16).empty());
  CHECK(grid({}, 5, 0, 16, 16).empty());
  AnchorParams p;
  p.sizes = {};
  CHECK_THROWS_AS(base_anchors(p), Error);
  p.sizes = {0};
  CHECK_THROWS_AS(base_anchors(p), Error);
  p.sizes = {128};
  p.ratios = {-1};
  CHECK_THROWS_AS(base_anchors(p), Error);
  p.ratios = {std::numeric_limits<double>::quiet_NaN()};
  CHECK_THROWS_AS(base_anchors(p), Error);
}
