#include "data/draw.h"

#include <cmath>
#include <limits>
#include <set>

#include "data/font.h"
#include "tests/data/voc_maker.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

int count(const Image& image, Colour colour) {
  int found = 0;
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x)
      found += std::equal(colour.begin(), colour.end(), image.pixel(x, y));
  return found;
}

constexpr Colour kRed = {255, 0, 0};

}  // namespace

TEST_CASE("B8 drawing: a box is a crisp frame of its width, inside the box") {
  Image image(40, 30);
  draw_box(image, {10, 5, 30, 25}, kRed, 2);
  CHECK(count(image, kRed) == 20 * 20 - 16 * 16);
  CHECK(image.pixel(10, 5)[0] == 255);
  CHECK(image.pixel(29, 24)[0] == 255);
  CHECK(image.pixel(30, 24)[0] == 0);
  CHECK(image.pixel(12, 7)[0] == 0);
  Image small(10, 10);
  draw_box(small, {4, 4, 5, 6}, kRed, 2);
  CHECK(count(small, kRed) == 2);
  CHECK(line_width(Image(500, 375)) == 2);
  CHECK(line_width(Image(2000, 1000)) == 5);
}

TEST_CASE("B8 drawing: boxes partly or wholly outside, and senseless ones") {
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  Image image(40, 30);
  for (const Box& box : {Box{50, 50, 60, 60}, Box{-20, -20, -1, -1}, Box{nan, 0, 10, 10},
                         Box{20, 20, 10, 10}, Box{5, 5, 5, 20}})
    draw_labelled_box(image, box, "x", kRed);
  CHECK(count(image, kRed) == 0);
  draw_labelled_box(image, {-inf, -5, inf, 1e30f}, "x", kRed);
  CHECK(count(image, kRed) > 0);
  draw_labelled_box(image, {0, 0, 40, 30}, std::string(500, 'W'), kRed);
  Image tiny(1, 1);
  draw_labelled_box(tiny, {0, 0, 1, 1}, "label", kRed);
}

TEST_CASE("B8 drawing: the label's plate stays in the picture") {
  const std::array<int, 2> size = text_size("cat 0.90", 1);
  CHECK(size == std::array<int, 2>{8 * 6 - 1, 7});
  CHECK(text_size("dog", 2) == std::array<int, 2>{2 * 17, 18});  // the g reaches below
  for (const Box& box : {Box{0, 0, 20, 20}, Box{180, 0, 200, 20}, Box{180, 130, 200, 150},
                         Box{0, 140, 30, 150}, Box{90, 60, 120, 90}}) {
    Image image(200, 150, 128);
    draw_labelled_box(image, box, "cat 0.90", kRed);
    // Plate without letters, plus the frame where the plate doesn't hide it.
    const int plate = (size[0] + 4) * (size[1] + 4);
    CHECK(count(image, kRed) + count(image, {255, 255, 255}) >= plate);
  }
}

TEST_CASE("B8 drawing: characters differ and unknown ones show") {
  std::set<std::array<uint8_t, kGlyphHeight>> glyphs;
  for (char c = ' '; c <= '~'; ++c) glyphs.insert(glyph(c));
  CHECK(glyphs.size() == 95);
  CHECK(glyph('\n') == glyph('\xE4'));
  CHECK(glyph('\n')[0] == 0x1F);
  std::set<Colour> colours;
  for (int label = 0; label < 40; ++label) colours.insert(class_colour(label));
  CHECK(colours.size() == 40);
}

TEST_CASE("B8 drawing: the detection with the highest score is on top") {
  Image image(60, 60);
  const Box box = {10, 10, 50, 50};
  draw_detections(image, {{0, 0, 0.9f, box}, {0, 1, 0.2f, box}}, {"a", "b"});
  const Colour top = class_colour(0);
  CHECK(std::equal(top.begin(), top.end(), image.pixel(10, 30)));
  draw_objects(image, {{box, 1, true, false, 0}}, {"a", "b"});
  CHECK(image.pixel(10, 30)[0] == class_colour(1)[0]);
}
