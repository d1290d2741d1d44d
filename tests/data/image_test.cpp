#include "data/image.h"

#include <cmath>
#include <cstdlib>
#include <numeric>

#include "data/files.h"
#include "data/jpeg_markers.h"
#include "tests/data/picture_maker.h"
#include "tests/data/voc_maker.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;
namespace fs = std::filesystem;

namespace {

/// Colours that change slowly, so that JPEG keeps them.
Image gradient(int width, int height) {
  Image image(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      image.pixel(x, y)[0] = static_cast<uint8_t>(255 * x / width);
      image.pixel(x, y)[1] = static_cast<uint8_t>(255 * y / height);
      image.pixel(x, y)[2] = static_cast<uint8_t>(128 + 60 * (x + y) / (width + height));
    }
  }
  return image;
}

double mean_difference(const Image& a, const Image& b) {
  if (a.width != b.width || a.height != b.height) return 1e9;
  double sum = 0;
  for (size_t i = 0; i < a.rgb.size(); ++i) sum += std::abs(a.rgb[i] - b.rgb[i]);
  return sum / static_cast<double>(a.rgb.size());
}

}  // namespace

TEST_CASE("Image: PNG round trip is exact, JPEG close") {
  TempDir temp;
  const Image image = gradient(37, 23);
  write_image(image, temp.path() / "a.png");
  write_image(image, temp.path() / "a.JPG", 95);
  CHECK(decode_image(temp.path() / "a.png") == image);
  CHECK(mean_difference(decode_image(temp.path() / "a.JPG"), image) < 3);
  CHECK(contains(error_of([&] { write_image(image, temp.path() / "a.txt"); }), "found '.txt'"));
  CHECK(contains(error_of([&] { write_image(image, temp.path() / "no/a.png"); }),
                 "cannot be written: No such file or directory"));
  CHECK(contains(error_of([&] { encode_png(Image()); }), "expected a picture of at least 1x1"));
  // Nothing but the two pictures is left behind.
  CHECK(std::distance(fs::directory_iterator(temp.path()), fs::directory_iterator()) == 2);
}

TEST_CASE("Image: orientation moves the corners where EXIF says") {
  // Stored 3x2:  1 2 3
  //              4 5 6
  Image stored(3, 2);
  for (size_t i = 0; i < 6; ++i) stored.rgb[i * 3] = static_cast<uint8_t>(i + 1);
  const auto shown = [&](int orientation) {
    const Image image = apply_orientation(stored, orientation);
    std::string text;
    for (int y = 0; y < image.height; ++y) {
      for (int x = 0; x < image.width; ++x) text += static_cast<char>('0' + image.pixel(x, y)[0]);
      text += y + 1 < image.height ? "/" : "";
    }
    return text;
  };
  CHECK(shown(0) == "123/456");
  CHECK(shown(1) == "123/456");
  CHECK(shown(2) == "321/654");
  CHECK(shown(3) == "654/321");
  CHECK(shown(4) == "456/123");
  CHECK(shown(5) == "14/25/36");
  CHECK(shown(6) == "41/52/63");  // turned clockwise
  CHECK(shown(7) == "63/52/41");
  CHECK(shown(8) == "36/25/14");
  CHECK(shown(9) == "123/456");
}

TEST_CASE("Image: EXIF orientation is read in both byte orders and applied once") {
  const std::vector<uint8_t> jpeg = encode_jpeg(gradient(32, 16));
  CHECK(exif_orientation(jpeg) == 1);
  for (const bool little : {true, false}) {
    for (uint8_t value = 0; value < 12; ++value) {
      const auto bytes = with_app1(jpeg, exif_block(value, little));
      CHECK(exif_orientation(bytes) == (value >= 1 && value <= 8 ? value : 1));
      const Image image = decode_image(bytes, "memory");
      CHECK(image == apply_orientation(decode_image(jpeg, "memory"), value));
    }
  }
}

TEST_CASE("Image: corrupt EXIF blocks are ignored") {
  const std::vector<uint8_t> jpeg = encode_jpeg(gradient(32, 16));
  const std::vector<uint8_t> good = exif_block(6, true);
  for (size_t length = 0; length < good.size(); ++length) {
    const std::vector<uint8_t> part(good.begin(), good.begin() + static_cast<ptrdiff_t>(length));
    const int orientation = exif_orientation(with_app1(jpeg, part));
    CHECK((orientation == 1 || orientation == 6));
    CHECK(decode_image(with_app1(jpeg, part), "memory").rgb.size() == 32 * 16 * 3);
  }
  for (size_t at = 6; at < good.size(); ++at) {
    for (const uint8_t value : {0x00, 0x7F, 0xFF}) {
      std::vector<uint8_t> bad = good;
      bad[at] = value;
      const int orientation = exif_orientation(with_app1(jpeg, bad));
      CHECK((orientation >= 1 && orientation <= 8));
    }
  }
}

TEST_CASE("Image: the EXIF test pictures are all alike once oriented") {
  FRCNN_REQUIRE_REAL_DATA(data);
  for (const std::string& name : {std::string("Landscape"), std::string("Portrait")}) {
    const auto path = [&](int i) {
      return data / "images/exif_orientation" / fmt::format("{}_{}.jpg", name, i);
    };
    const Image first = decode_image(path(1));
    for (int i = 0; i <= 8; ++i) {
      INFO(path(i));
      const ImageInfo info = read_image_info(path(i));
      CHECK(info.orientation == std::max(i, 1));
      CHECK(info.width == first.width);
      CHECK(info.height == first.height);
      if (i == 1 || (i != 0 && i != 3 && i != 6)) continue;  // decoding all takes a while
      CHECK(mean_difference(decode_image(path(i)), first) < 6);
    }
  }
}

TEST_CASE("Image: gray, alpha, 16-bit and palette pictures become 8-bit RGB") {
  FRCNN_REQUIRE_REAL_DATA(data);
  const fs::path pngs = data / "images/stb_png/tests/pngsuite";
  // The first 32 pixels of the first row of each, by an independent decoder.
  for (const std::string& name : golden_members("png_rows", "/")) {
    INFO(name);
    const auto row = golden_i64("png_rows", name);  // (32, 3)
    const fs::path folder = name.find("16") != std::string::npos ? "16bit" : "primary";
    const Image image = decode_image(pngs / folder / (name + ".png"));
    CHECK(image.width == 32);
    CHECK(image.height == 32);
    std::vector<int64_t> actual(image.rgb.begin(), image.rgb.begin() + 96);
    FRCNN_CHECK_SAME(std::span<const int64_t>(actual), std::span<const int64_t>(row.values));
  }
}

TEST_CASE("Image: reference JPEGs decode to their references") {
  FRCNN_REQUIRE_REAL_DATA(data);
  const fs::path folder = data / "images/jpeg/reftest/images";
  for (const char* name : {"rgb", "restarts", "progressive3", "grayscale_square", "blank_800x280",
                           "grayscale_16x24_sampling2x2", "non-interleaved-mcu", "16bit-qtables"}) {
    INFO(name);
    const Image jpeg = decode_image(folder / (std::string(name) + ".jpg"));
    const Image png = decode_image(folder / (std::string(name) + ".png"));
    CHECK(mean_difference(jpeg, png) < 2);
  }
}

TEST_CASE("Bad input: a JPEG cut short is refused at every length") {
  TempDir temp;
  const std::vector<uint8_t> jpeg = encode_jpeg(gradient(64, 64));
  for (size_t length = 0; length < jpeg.size(); length += 7) {
    const std::span<const uint8_t> part(jpeg.data(), length);
    const std::string message = error_of([&] { decode_image(part, "cut.jpg"); });
    INFO(length << " bytes: " << message);
    CHECK(contains(message, "cut.jpg: "));
    CHECK(message.find('\n') == std::string::npos);
  }
  write_file(temp.path() / "half.jpg", std::span(jpeg).first(jpeg.size() / 2));
  CHECK(contains(error_of([&] { decode_image(temp.path() / "half.jpg"); }),
                 "half.jpg: JPEG is cut short: no end marker within its"));
  // An embedded preview's end marker doesn't count; bytes behind the end marker don't matter.
  std::vector<uint8_t> preview = with_app1(jpeg, {'x', 0xFF, 0xD8, 0xFF, 0xD9});
  CHECK(has_end_of_image(preview));
  preview.resize(preview.size() - 2);
  CHECK_FALSE(has_end_of_image(preview));
  std::vector<uint8_t> longer = jpeg;
  longer.insert(longer.end(), {1, 2, 3});
  CHECK(decode_image(longer, "memory") == decode_image(jpeg, "memory"));
}

TEST_CASE("Bad input: a PNG cut short is refused") {
  const std::vector<uint8_t> png = encode_png(gradient(64, 64));
  for (size_t length = 0; length + 16 < png.size(); length += 5) {
    const std::span<const uint8_t> part(png.data(), length);
    CHECK(contains(error_of([&] { decode_image(part, "cut.png"); }), "cut.png: "));
  }
}

TEST_CASE("Bad input: files that are no pictures, missing or too large") {
  TempDir temp;
  write_file(temp.path() / "a.jpg", "hello, this is text\n");
  const auto message = [&](const char* name) {
    return error_of([&] { decode_image(temp.path() / name); });
  };
  CHECK(contains(message("a.jpg"),
                 "a.jpg: expected a picture (JPEG, PNG, BMP, GIF, PNM), found a "
                 "file that begins 'hello, this is t'"));
  write_file(temp.path() / "empty.png", "");
  CHECK(contains(message("empty.png"), "empty.png: expected a picture, found an empty file"));
  CHECK(contains(message("none.png"), "none.png: cannot be read: No such file"));
  CHECK(contains(message(""), "expected a file, found a folder"));
  const std::vector<uint8_t> png = encode_png(Image(200, 100));
  CHECK(contains(error_of([&] { decode_image(png, "big.png", 19'999); }),
                 "big.png: expected at most 19999 pixels, found 200x100 = 20000"));
  CHECK(decode_image(png, "big.png", 20'000).width == 200);
}

TEST_CASE("Bad input: broken and fuzzed pictures give an error or a picture, never a crash") {
  FRCNN_REQUIRE_REAL_DATA(data);
  int refused = 0, decoded = 0;
  for (const char* folder :
       {"images/jpeg/crashtest/images", "images/stb_png/tests/pngsuite/corrupt"}) {
    for (const auto& entry : fs::recursive_directory_iterator(data / folder)) {
      if (!entry.is_regular_file() || !has_image_extension(entry.path())) continue;
      const std::string message = error_of([&] {
        const Image image = decode_image(entry.path(), 4'000'000);
        ++decoded;
        CHECK(image.rgb.size() == static_cast<size_t>(image.width) * image.height * 3);
      });
      if (message.empty()) continue;
      ++refused;
      CHECK(contains(message, entry.path().filename().string()));
    }
  }
  CHECK(refused > 100);
  WARN(refused << " refused, " << decoded << " decoded");
}
