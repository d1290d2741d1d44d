#include "data/show.h"

#include <cmath>
#include <limits>

#include "kernels/launch/check.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

int64_t count(const Image& image, Colour colour) {
  int64_t found = 0;
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x)
      found += std::equal(colour.begin(), colour.end(), image.pixel(x, y));
  return found;
}

constexpr Colour kRed = {255, 0, 0};

/// Boxes of 20 x 20 that don't touch, in rows.
std::vector<Box> apart(int boxes) {
  std::vector<Box> list;
  for (int i = 0; i < boxes; ++i) {
    const auto x = static_cast<float>(i % 20 * 40 + 8), y = static_cast<float>(i / 20 * 40 + 8);
    list.push_back({x, y, x + 20, y + 20});
  }
  return list;
}

}  // namespace

TEST_CASE("C8: as many anchors are drawn as there are, or as are inside") {
  const Image picture(800, 800, 90);
  const std::vector<Box> anchors = apart(100);
  std::vector<uint8_t> inside(100, 0);
  for (size_t i = 0; i < inside.size(); i += 4) inside[i] = 1;
  const Colour colour = class_colour(0);
  int64_t drawn = -1;
  const Image none = anchors_picture(picture, {anchors[0]}, 1, nullptr, "one", false, &drawn);
  CHECK(drawn == 1);
  const int64_t perimeter = 20 * 20 - 18 * 18;
  const Image all = anchors_picture(picture, anchors, 1, nullptr, "all", false, &drawn);
  CHECK(drawn == 100);
  CHECK(count(all, colour) - count(none, colour) == 99 * perimeter);
  const Image some = anchors_picture(picture, anchors, 1, &inside, "some", false, &drawn);
  CHECK(drawn == 25);
  CHECK(count(some, colour) - count(none, colour) == 24 * perimeter);
}

TEST_CASE("C8: ground truth, tiles and base anchors are drawn at their places") {
  const Image picture(800, 600, 90);
  const Image truth = truth_picture(picture, {{100, 100, 200, 300}}, {1}, {0}, {"cat", "dog"});
  CHECK(truth.height > picture.height);  // title and legend
  CHECK(count(truth, class_colour(1)) > 2 * 300);
  CHECK(count(truth, class_colour(0)) == 0);
  const TileGrid grid = {6, 8, 100, 100, 2, 3};
  const Image tiles = tiles_picture(picture, grid, 60, 80);
  CHECK(tiles.width == 800);
  // The centre of the marked tile is tinted, its neighbour's is not.
  const auto title = tiles.height - 600;
  int tinted = 0;
  for (int y = 0; y < title; ++y)
    tinted += tiles.pixel(350, y + 250)[0] > 150 && tiles.pixel(450, y + 250)[0] == 90;
  CHECK(tinted > 0);
  const Image base =
      base_anchors_picture(picture, grid, {{300, 200, 400, 300}, {-50, 0, 60, 60}}, {1, 0});
  CHECK(base.width == 800 + 2 * 52);  // the margin shows what sticks out
  CHECK(count(base, class_colour(0)) > 0);
  CHECK(count(base, class_colour(1)) > 0);
}

TEST_CASE("canvas: pictures of any size become legible") {
  for (const auto& [width, height] : std::vector<std::pair<int, int>>{
           {1, 1}, {16, 12}, {64, 48}, {500, 375}, {3, 700}, {1200, 20}, {2400, 1600}}) {
    Canvas canvas{Image(width, height, 100)};
    canvas.labelled_box({0, 0, float(width), float(height)}, "label", {kRed, 2});
    canvas.legend({kRed, 1}, "a legend that is long enough to be wrapped where there is no room");
    const Image image = canvas.finish("title");
    INFO(width << " x " << height);
    CHECK(image.width >= 400);
    CHECK(image.width <= 2500);
    CHECK(image.height >= height * canvas.factor());
    CHECK(count(image, kRed) > 20);
  }
  CHECK(Canvas(Image(64, 48)).factor() == 13);
  CHECK(Canvas(Image(500, 375)).factor() == 2);
  CHECK(Canvas(Image(900, 375)).factor() == 1);
  CHECK_THROWS_AS(Canvas(Image()), Error);
}

TEST_CASE("canvas: an outline scales with the picture and stays inside its box") {
  Canvas canvas{Image(100, 80)};  // factor 8
  canvas.box({10, 10, 30, 20}, {kRed});
  const Image image = canvas.finish("");
  CHECK(canvas.factor() == 8);
  CHECK(count(image, kRed) == 160 * 80 - 158 * 78);
  CHECK(image.pixel(80, 80)[0] == 255);
  CHECK(image.pixel(239, 159)[0] == 255);
  CHECK(image.pixel(240, 159)[0] == 0);
}

TEST_CASE("canvas: sides outside of it, NaN and empty boxes are not drawn") {
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  Canvas canvas{Image(800, 600)};
  for (const Box& box : {Box{nan, 0, 10, 10}, Box{5, 5, 5, 20}, Box{20, 20, 10, 10},
                         Box{-100, -100, 900, 700}, Box{-inf, -inf, inf, inf}})
    canvas.labelled_box({box.x1, box.y1, box.x2, box.y2}, "", {kRed, 2});
  CHECK(count(canvas.finish(""), kRed) == 0);
  canvas.box({-100, 100, 200, 200}, {kRed});  // the left side is not there
  const Image image = canvas.finish("");
  CHECK(count(image, kRed) == 200 + 200 + 98);
}

TEST_CASE("canvas: labels lie on top of boxes and beside each other") {
  Canvas canvas{Image(800, 600)};
  const Colour green = {0, 255, 0};
  canvas.labelled_box({100, 100, 400, 300}, "first", {kRed, 1});
  const int alone = count(canvas.finish(""), kRed);
  canvas.labelled_box({104, 100, 404, 300}, "other", {green, 1});  // would hide it
  canvas.box({90, 80, 500, 110}, {{0, 0, 255}, 30});               // drawn later, but below labels
  const Image image = canvas.finish("");
  Canvas second{Image(800, 600)};
  second.labelled_box({104, 100, 404, 300}, "other", {green, 1});
  const int frame = 2 * 300 + 2 * 198;  // of which the blue box hides some
  CHECK(count(image, kRed) > alone - frame);
  CHECK(count(image, green) > count(second.finish(""), green) - frame);
}

TEST_CASE("canvas: faint lines add up, dashes leave gaps") {
  Canvas canvas{Image(800, 600)};
  canvas.box({100, 100, 200, 200}, {{200, 200, 200}, 1, 0.5});
  canvas.box({100, 100, 200, 200}, {{200, 200, 200}, 1, 0.5});
  canvas.horizontal(300, 0, 800, {kRed, 1, 1, 10});
  const Image image = canvas.finish("");
  CHECK(image.pixel(150, 100)[0] == 150);
  CHECK(count(image, kRed) == 400);
}

TEST_CASE("the network's input becomes the picture that it was") {
  Image image(40, 30);
  const auto noise = random_vector<float>(image.rgb.size(), 0, 255, 3);
  for (size_t i = 0; i < noise.size(); ++i) image.rgb[i] = static_cast<uint8_t>(noise[i]);
  InputSettings settings;
  settings.shorter_side = 30;
  for (const bool bgr : {true, false}) {
    settings.bgr = bgr;
    settings.scale = bgr ? 1 : 1.0 / 255;
    if (!bgr) settings.mean = {0.485, 0.456, 0.406}, settings.stddev = {0.229, 0.224, 0.225};
    CHECK(picture_of(make_sample(image, settings), settings) == image);
  }
}

TEST_CASE("mosaics state their range and show each map or filter") {
  const std::vector<float> maps = {0, 1, 2, 3, 0, 0, 0, 10, 5, 5, 5, 5};
  const Image separate = maps_picture(maps, 3, 2, 2, true, "maps");
  const Image common = maps_picture(maps, 3, 2, 2, false, "maps");
  CHECK(count(separate, {85, 85, 85}) > 0);  // 1 of 0 to 3
  CHECK(count(common, {85, 85, 85}) == 0);
  CHECK(count(common, {26, 26, 26}) > 0);  // 1 of 0 to 10
  std::vector<float> broken = maps;
  broken[0] = std::nanf("");
  CHECK(count(maps_picture(broken, 3, 2, 2, true, "maps"), kRed) > 0);
  std::vector<float> filter(3, 0);
  filter[0] = 2;  // the first channel alone
  CHECK(count(filters_picture(filter, 1, 1, 1, false, "f"), {255, 128, 128}) > 0);
  CHECK(count(filters_picture(filter, 1, 1, 1, true, "f"), {128, 128, 255}) > 0);
  CHECK_THROWS_AS(maps_picture(maps, 4, 2, 2, true, "maps"), Error);
}

TEST_CASE("colours of heat go from blue to red") {
  CHECK(heat(0)[2] > heat(0)[0]);
  CHECK(heat(1)[0] > heat(1)[2]);
  CHECK(heat(0.5)[1] > std::max(heat(0.5)[0], heat(0.5)[2]));
  CHECK(heat(NAN) == heat(0));
}
