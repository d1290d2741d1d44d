#include "kernels/image/image_size.h"
#include "kernels/image/resize.h"
#include "kernels/launch/check.h"
#include "tests/kernels/map_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

std::vector<uint8_t> bytes(const Golden<int64_t>& image) {
  return {image.values.begin(), image.values.end()};
}

}  // namespace

TEST_CASE("A18 image size: shorter side 600, longer at most 1000; 375x500 becomes 600x800") {
  for (SizeRounding rounding : {SizeRounding::nearest, SizeRounding::floor}) {
    const ImageSize size = scaled_image_size(375, 500, 600, 1000, rounding);
    CHECK(size.height == 600);
    CHECK(size.width == 800);
    CHECK(size.scale == 1.6);
  }
  // The longer side limits: 281x500 by 2 (not 2.135), 1000 wide.
  const ImageSize wide = scaled_image_size(281, 500, 600, 1000);
  CHECK(wide.width == 1000);
  CHECK(wide.height == 562);
  const ImageSize unlimited = scaled_image_size(100, 500, 600, 0);
  CHECK(unlimited.height == 600);
  CHECK(unlimited.width == 3000);
  // 333x500: 900.9 wide; nearest and floor differ.
  CHECK(scaled_image_size(333, 500, 600, 1000).width == 901);
  CHECK(scaled_image_size(333, 500, 600, 1000, SizeRounding::floor).width == 900);
  CHECK_THROWS_AS(scaled_image_size(0, 500, 600, 1000), Error);
  CHECK_THROWS_AS(scaled_image_size(5, 500, 0, 1000), Error);
}

TEST_CASE("B5 F1 image size: without its aspect ratio a picture fills both sides exactly") {
  const auto size = [](int64_t h, int64_t w, int64_t shorter, int64_t longer) {
    const ImageSize s = scaled_image_size(h, w, shorter, longer, SizeRounding::nearest, false);
    return std::pair(s.height, s.width);
  };
  CHECK(size(375, 500, 256, 256) == std::pair<int64_t, int64_t>(256, 256));
  CHECK(size(333, 500, 800, 800) == std::pair<int64_t, int64_t>(800, 800));
  CHECK(size(375, 500, 300, 400) == std::pair<int64_t, int64_t>(300, 400));
  CHECK(size(500, 375, 300, 400) == std::pair<int64_t, int64_t>(400, 300));
  CHECK(size(50, 50, 300, 400) == std::pair<int64_t, int64_t>(300, 400));
  CHECK_THROWS_AS(size(375, 500, 300, 0), Error);
}

TEST_CASE("A18 image size equals torchvision's with rounding down") {
  const auto sizes = golden_i64("image", "sizes");
  for (size_t i = 0; i < sizes.values.size(); i += 6) {
    const int64_t* row = sizes.values.data() + i;
    INFO(row[0] << "x" << row[1] << " to " << row[2] << ", " << row[3]);
    const ImageSize size = scaled_image_size(row[0], row[1], row[2], row[3], SizeRounding::floor);
    CHECK(size.height == row[4]);
    CHECK(size.width == row[5]);
  }
}

TEMPLATE_TEST_CASE("bilinear resize equals torch's interpolate", "", float, double) {
  using T = TestType;
  for (const std::string& name : golden_members("image", "resize")) {
    INFO(name);
    const std::string group = "resize/" + name;
    const auto image = golden_i64("image", group + "/image");
    const auto y = golden_f64("image", group + "/y");
    const auto single = golden_f32("image", group + "/y_f32");
    const auto& expected =
        sizeof(T) == 8 ? y.values : std::vector<double>(single.values.begin(), single.values.end());
    ResizeParams params;
    params.in_h = image.shape[0], params.in_w = image.shape[1];
    params.out_h = y.shape[1], params.out_w = y.shape[2];
    GuardedBuffer<T> out(expected.size());
    cpu::resize_normalize(params, bytes(image).data(), out.data());
    CHECK(out.guards_intact());
    FRCNN_CHECK_SAME(values_of(out), expected, 0, 255 * tolerance<T>());

    GuardedBytes drawn(static_cast<int64_t>(expected.size()));
    cpu::resize_u8(params.in_h, params.in_w, params.out_h, params.out_w, bytes(image).data(),
                   drawn.data());
    CHECK(drawn.guards_intact());
    const auto pixels = static_cast<size_t>(params.out_h * params.out_w);
    double worst = 0;
    for (size_t i = 0; i < expected.size(); ++i)
      worst = std::max(worst, std::abs(drawn.data()[i] - expected[i % 3 * pixels + i / 3]));
    CHECK(worst <= 0.501);
  }
}

TEST_CASE("resize with normalisation and padding equals torchvision's whole transform") {
  const auto image = golden_i64("image", "transform/image");
  const auto batch = golden_f32("image", "transform/batch");
  const ImageSize size =
      scaled_image_size(image.shape[0], image.shape[1], 40, 50, SizeRounding::floor);
  CHECK(static_cast<double>(size.height) == golden_attribute("image", "transform", "height"));
  CHECK(static_cast<double>(size.width) == golden_attribute("image", "transform", "width"));
  ResizeParams params;
  params.in_h = image.shape[0], params.in_w = image.shape[1];
  params.out_h = size.height, params.out_w = size.width;
  params.padded_h = batch.shape[2], params.padded_w = batch.shape[3];
  params.scale = 1.0 / 255;
  params.mean = {0.485, 0.456, 0.406};
  params.std = {0.229, 0.224, 0.225};
  GuardedBuffer<float> out(batch.values.size());
  cpu::resize_normalize(params, bytes(image).data(), out.data());
  CHECK(out.guards_intact());
  FRCNN_CHECK_SAME(out.span(), batch.values, 2e-6, 1e-5);
}

TEST_CASE("resize: channel order, interleaving, mirror, means by channel of the output") {
  const MapLayout map{1, 3, 4, 5, 3};
  std::vector<uint8_t> image(60);
  for (size_t i = 0; i < 60; ++i) image[i] = static_cast<uint8_t>((i * 37) % 251);
  for (bool flip : {false, true})
    for (bool interleaved : {false, true})
      for (ChannelOrder order : {ChannelOrder::rgb, ChannelOrder::bgr}) {
        ResizeParams p;
        p.in_h = p.out_h = 4, p.in_w = p.out_w = 5;
        p.padded_h = 6, p.padded_w = 8;
        p.flip = flip, p.interleaved = interleaved, p.order = order;
        p.mean = {1, 2, 3}, p.std = {2, 4, 8}, p.scale = 0.5;
        std::vector<double> expected(3 * 48, 0.0);
        for (int64_t c = 0; c < 3; ++c)
          for (int64_t h = 0; h < 4; ++h)
            for (int64_t w = 0; w < 5; ++w) {
              const int64_t from_c = order == ChannelOrder::bgr ? 2 - c : c;
              const int64_t from_w = flip ? 4 - w : w;
              const double v = image[static_cast<size_t>(map.at(0, from_c, h, from_w))];
              const int64_t at = interleaved ? (h * 8 + w) * 3 + c : (c * 6 + h) * 8 + w;
              const auto i = static_cast<size_t>(c);
              expected[static_cast<size_t>(at)] = (v * 0.5 - p.mean[i]) / p.std[i];
            }
        GuardedBuffer<double> out(expected.size());
        cpu::resize_normalize(p, image.data(), out.data());
        CHECK(out.guards_intact());
        FRCNN_CHECK_SAME(values_of(out), expected, 1e-13, 1e-13);
      }
  // A mirrored resize is the mirror of the resize.
  ResizeParams p;
  p.in_h = 4, p.in_w = 5, p.out_h = 7, p.out_w = 9;
  std::vector<double> plain(189), mirrored(189);
  cpu::resize_normalize(p, image.data(), plain.data());
  p.flip = true;
  cpu::resize_normalize(p, image.data(), mirrored.data());
  for (size_t row = 0; row < 21; ++row)
    std::reverse(mirrored.begin() + static_cast<std::ptrdiff_t>(row * 9),
                 mirrored.begin() + static_cast<std::ptrdiff_t>(row * 9 + 9));
  CHECK(plain == mirrored);

  p.padded_h = 3;
  CHECK_THROWS_AS(cpu::resize_normalize(p, image.data(), plain.data()), Error);
  p.padded_h = 0, p.std[1] = 0;
  CHECK_THROWS_AS(cpu::resize_normalize(p, image.data(), plain.data()), Error);
  CHECK_THROWS_AS(cpu::resize_u8(0, 5, 2, 2, image.data(), image.data()), Error);
}
