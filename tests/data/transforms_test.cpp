#include "data/transforms.h"

#include "tests/data/voc_maker.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

ImageRecord record_with(const Box& box) {
  return {"id", "", 0, 0, {{box, 3, true, false, 0}, {box, 1, false, false, 0}}, ""};
}

InputSettings plain(int shorter, int longer) {
  InputSettings settings;
  settings.bgr = false;
  settings.mean = {0, 0, 0};
  settings.shorter_side = shorter;
  settings.longer_side = longer;
  return settings;
}

}  // namespace

TEST_CASE("A18 transforms: 375x500 becomes 600x800, boxes with it") {
  const Sample sample = make_sample(Image(500, 375), record_with({10, 20, 110, 375}), {});
  CHECK(sample.height == 600);
  CHECK(sample.width == 800);
  CHECK(sample.scale_x == 1.6);
  CHECK(sample.scale_y == 1.6);
  CHECK(sample.pixels.size() == 3 * 600 * 800);
  REQUIRE(sample.boxes.size() == 2);
  CHECK(sample.boxes[0] == Box{16, 32, 176, 600});
  CHECK(sample.labels == std::vector<int>{3, 1});
  CHECK(sample.difficult == std::vector<uint8_t>{1, 0});
  CHECK(sample.original_height == 375);
  CHECK(sample.original_width == 500);
}

TEST_CASE("A18 transforms: the longer side is limited and the two scales are exact") {
  const Sample sample =
      make_sample(Image(1000, 333), record_with({0, 0, 1000, 333}), plain(600, 1000));
  CHECK(sample.width == 1000);
  CHECK(sample.height == 333);
  const Sample other = make_sample(Image(101, 67), record_with({0, 0, 101, 67}), plain(50, 80));
  CHECK(other.height == 50);
  CHECK(other.width == 75);
  CHECK(other.scale_x == Approx(75.0 / 101));
  CHECK(other.scale_y == Approx(50.0 / 67));
  CHECK(other.boxes[0] == Box{0, 0, 75, 50});  // the whole picture stays the whole picture
}

TEST_CASE("Transforms: channel order, scale, mean and deviation") {
  Image image(4, 4);
  for (size_t i = 0; i < image.rgb.size(); ++i)
    image.rgb[i] = static_cast<uint8_t>(50 * (i % 3 + 1));
  InputSettings settings = plain(4, 4);
  settings.mean = {1, 2, 3};
  settings.stddev = {2, 4, 5};
  settings.scale = 0.1;
  const Sample rgb = make_sample(image, settings);
  CHECK(rgb.pixels[0] == Approx((5 - 1) / 2.0));
  CHECK(rgb.pixels[16] == Approx((10 - 2) / 4.0));
  CHECK(rgb.pixels[32] == Approx((15 - 3) / 5.0));
  settings.bgr = true;
  const Sample bgr = make_sample(image, settings);
  CHECK(bgr.pixels[0] == Approx((15 - 1) / 2.0));
  CHECK(bgr.pixels[32] == Approx((5 - 3) / 5.0));
}

TEST_CASE("Transforms: a flip mirrors pixels and boxes, twice is nothing") {
  Image image(30, 20);
  for (int y = 0; y < 20; ++y)
    for (int x = 0; x < 30; ++x) image.pixel(x, y)[0] = static_cast<uint8_t>(x * 8 + y);
  const Box box = {3, 4, 10, 12};
  const Sample straight = make_sample(image, record_with(box), plain(40, 60));
  const Sample flipped = make_sample(image, record_with(box), plain(40, 60), true);
  CHECK(flipped.boxes[0] == Box{60 - 20, 8, 60 - 6, 24});
  for (int y = 0; y < 40; ++y)
    for (int x = 0; x < 60; ++x)
      REQUIRE(flipped.pixels[static_cast<size_t>(y * 60 + x)] ==
              Approx(straight.pixels[static_cast<size_t>(y * 60 + 59 - x)]).margin(1e-3));
  CHECK(to_picture(straight.boxes[0], straight) == box);
  CHECK(to_picture(flipped.boxes[0], flipped) == box);
}

TEST_CASE("Transforms: padding is zero and reaches a multiple") {
  InputSettings settings = plain(10, 20);
  settings.pad_multiple = 16;
  const Sample sample = make_sample(Image(30, 20, 7), settings);
  CHECK(sample.height == 10);
  CHECK(sample.width == 15);
  CHECK(sample.padded_height == 16);
  CHECK(sample.padded_width == 16);
  GuardedBuffer<float> out(3 * 16 * 18);
  copy_padded(sample, 16, 18, out.data());
  CHECK(out.guards_intact());
  for (int c = 0; c < 3; ++c)
    for (int y = 0; y < 16; ++y)
      for (int x = 0; x < 18; ++x)
        REQUIRE(out.span()[static_cast<size_t>((c * 16 + y) * 18 + x)] ==
                (x < 15 && y < 10 ? 7 : 0));
  CHECK(contains(error_of([&] { copy_padded(sample, 9, 18, out.data()); }),
                 "expected room for 10x15"));
  CHECK(contains(error_of([&] { make_sample(Image(), settings); }), "expected a picture"));
}
