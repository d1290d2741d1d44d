#include <sys/resource.h>

#include <cmath>
#include <ctime>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include "data/files.h"
#include "data/image.h"
#include "data/picture_facts.h"
#include "kernels/launch/parallel.h"
#include "tests/data/picture_maker.h"
#include "tests/data/voc_maker.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;
namespace fs = std::filesystem;

namespace {

uint32_t fnv1a(std::span<const uint8_t> bytes) {
  uint32_t hash = 0x811C9DC5;
  for (const uint8_t byte : bytes) hash = (hash ^ byte) * 0x01000193;
  return hash;
}

struct Difference {
  double mean = 1e9;
  int most = 1 << 30;
};

Difference difference_of(const Image& a, const Image& b) {
  if (a.width != b.width || a.height != b.height) return {};
  Difference d{0, 0};
  for (size_t i = 0; i < a.rgb.size(); ++i) {
    const int each = std::abs(a.rgb[i] - b.rgb[i]);
    d.mean += each, d.most = std::max(d.most, each);
  }
  d.mean /= static_cast<double>(a.rgb.size());
  return d;
}

/// Largest difference of the brightness, where no colour was cut at 0 or 255.
double luma_difference(const Image& a, const Image& b) {
  double most = 0;
  const auto cut = [](const Image& image, size_t i) {
    const auto [low, high] = std::minmax({image.rgb[i], image.rgb[i + 1], image.rgb[i + 2]});
    return low == 0 || high == 255;
  };
  for (size_t i = 0; i < a.rgb.size(); i += 3) {
    if (cut(a, i) || cut(b, i)) continue;
    const auto luma = [&](const Image& image) {
      return 0.299 * image.rgb[i] + 0.587 * image.rgb[i + 1] + 0.114 * image.rgb[i + 2];
    };
    most = std::max(most, std::abs(luma(a) - luma(b)));
  }
  return most;
}

/// What decoding gives: a picture, or one line that names the file.
struct Outcome {
  Image image;
  std::string error;
  double seconds = 0;
};

Outcome outcome(const fs::path& path) {
  Outcome result;
  const auto now = [] {  // of this thread: other work on the machine does not count
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double start = now();
  result.error = error_of([&] { result.image = decode_image(path); });
  result.seconds = now() - start;
  return result;
}

std::vector<fs::path> files_below(const fs::path& folder, const std::set<std::string>& extensions) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && extensions.count(entry.path().extension().string()) != 0)
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

/// The most memory that the process had at a time, MiB.
long peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

/// A zlib stream of `count` zeros in 13 bits for each 258 of them.
std::vector<uint8_t> packed_zeros(size_t count) {
  std::vector<uint8_t> out = {0x78, 0x9C};
  uint32_t buffer = 0;
  int held = 0;
  const auto bits = [&](std::initializer_list<int> values) {
    for (const int bit : values) {
      buffer |= static_cast<uint32_t>(bit) << held;
      if (++held < 8) continue;
      out.push_back(static_cast<uint8_t>(buffer));
      buffer = 0, held = 0;
    }
  };
  bits({1, 1, 0});                 // the last block, fixed codes
  bits({0, 0, 1, 1, 0, 0, 0, 0});  // one zero
  for (size_t i = 0; i < count / 258; ++i)
    bits({1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0});   // 258 more, from one byte before
  bits({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});  // the end, and padding
  out.insert(out.end(), 4, 0);
  return out;
}

}  // namespace

TEST_CASE("Nasty pictures: each PNG of the stb set decodes to its reference or is refused") {
  FRCNN_REQUIRE_REAL_DATA(data);
  const fs::path root = data / "images/stb_png/tests";
  std::ifstream golden(source_dir() / "tests/golden/png_hashes.txt");
  int decoded = 0, refused = 0;
  for (std::string line; std::getline(golden, line);) {
    std::istringstream fields(line);
    std::string name, width, height, hash;
    fields >> name >> width >> height >> hash;
    INFO(name);
    const Outcome found = outcome(root / name);
    if (width == "error") {
      CHECK(contains(found.error, fs::path(name).filename().string()));
      ++refused;
      continue;
    }
    CHECK(found.error == "");
    CHECK(std::to_string(found.image.width) == width);
    CHECK(std::to_string(found.image.height) == height);
    CHECK(fmt::format("{:08x}", fnv1a(found.image.rgb)) == hash);
    ++decoded;
  }
  CHECK(decoded == 246);
  CHECK(refused == 12);
}

TEST_CASE("Nasty pictures: each reference JPEG decodes to its reference or is refused") {
  FRCNN_REQUIRE_REAL_DATA(data);
  const fs::path root = data / "images/jpeg/reftest/images";
  // Too small for libjpeg to interpolate the colours (it needs three samples), which made the
  // references: only brightness can agree.
  const std::set<std::string> tiny = {"jpg-size-3x3.jpg", "jpg-size-4x4.jpg"};
  std::map<std::string, std::string> refused;
  int compared = 0;
  for (const fs::path& path : files_below(root, {".jpg"})) {
    const std::string name = path.filename().string();
    INFO(name);
    const Outcome found = outcome(path);
    if (!found.error.empty()) {
      CHECK(contains(found.error, name + ": "));
      refused[name] = found.error;
      continue;
    }
    fs::path png = path;
    const Image reference = decode_image(png.replace_extension(".png"));
    const Difference d = difference_of(found.image, reference);
    // The standard leaves the rounding of the transform open: a unit of the colour difference is
    // 1.8 units of blue.
    CHECK(luma_difference(found.image, reference) <= 3);
    if (tiny.count(name) == 0) {
      CHECK(d.mean < 0.35);
      CHECK(d.most <= 7);
    }
    ++compared;
  }
  CHECK(compared == 35);
  CHECK(refused.size() == 13);
  for (const auto& [name, message] : refused) {
    INFO(message);
    if (name == "partial_progressive.jpg")  // a scan ends in the middle
      CHECK(contains(message, "cannot be decoded"));
    else if (name == "progressive-missing-dc.jpg")
      CHECK(contains(message, "lacks the first scan of a component"));
    else
      CHECK(contains(message, "found one with lossless coding; convert it"));
  }
}

TEST_CASE("Nasty pictures: all 16 orientations of the EXIF set show the same two pictures") {
  FRCNN_REQUIRE_REAL_DATA(data);
  std::vector<std::string> names;
  for (const char* name : {"Landscape", "Portrait"})
    for (int i = 0; i <= 8; ++i) names.push_back(fmt::format("{}_{}.jpg", name, i));
  std::vector<Outcome> found(names.size());
  kernels::parallel_for(std::ssize(names), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      found[static_cast<size_t>(i)] =
          outcome(data / "images/exif_orientation" / names[static_cast<size_t>(i)]);
  });
  for (size_t i = 0; i < names.size(); ++i) {
    INFO(names[i]);
    CHECK(found[i].error == "");
    // Each was compressed anew after it was turned.
    CHECK(difference_of(found[i].image, found[i < 9 ? 1 : 10].image).mean < 6);
    CHECK(found[i].image.width == (i < 9 ? 1800 : 1200));
  }
  CHECK(difference_of(found[1].image, apply_orientation(found[1].image, 3)).mean > 20);
}

TEST_CASE("Nasty pictures: PNM of 16 bits is the PNG of the same picture") {
  FRCNN_REQUIRE_REAL_DATA(data);
  const fs::path folder = data / "images/stb_png/tests";
  const Image gray = decode_image(folder / "pngsuite/16bit/basi0g16.png");
  CHECK(decode_image(folder / "pbm/basi0g16.pgm") == gray);
  CHECK(decode_image(folder / "pbm/basi2c16.ppm") ==
        decode_image(folder / "pngsuite/16bit/basi2c16.png"));
  CHECK(gray.rgb != std::vector<uint8_t>(gray.rgb.size(), gray.rgb[0]));
}

TEST_CASE("PNM of 16 bits: comments, other largest values, cut files") {
  const auto bytes_of = [](const std::string& text) {
    return std::vector<uint8_t>(text.begin(), text.end());
  };
  const std::string header = "P5 # gray\n#two\n3 1\n", samples("\x00\x00\x02\x00\x03\xff", 6);
  const Image image = decode_image(bytes_of(header + "1023\n" + samples), "x.pgm");
  CHECK(image.rgb == std::vector<uint8_t>{0, 0, 0, 128, 128, 128, 255, 255, 255});
  const Image high = decode_image(bytes_of(header + "65535\n" + samples), "x.pgm");
  CHECK(high.rgb == std::vector<uint8_t>{0, 0, 0, 2, 2, 2, 3, 3, 3});
  CHECK(contains(
      error_of([&] { decode_image(bytes_of(header + "65535\n" + samples.substr(0, 5)), "x.pgm"); }),
      "x.pgm: PNM is cut short: expected 6 bytes of samples, found 5"));
}

TEST_CASE("Nasty pictures: nothing crashes, takes 5 s or 1 GiB, or is refused without its name") {
  FRCNN_REQUIRE_REAL_DATA(data);
  const long before = peak_memory();
  int decoded = 0, refused = 0;
  for (const fs::path& path :
       files_below(data / "images", {".jpg", ".jpeg", ".png", ".pgm", ".ppm"})) {
    if (contains(path.string(), "exif_orientation")) continue;
    INFO(path);
    const Outcome found = outcome(path);
    CHECK(found.seconds < 5);
    CHECK(found.error.find('\n') == std::string::npos);
    if (!found.error.empty()) CHECK(contains(found.error, path.filename().string()));
    (found.error.empty() ? decoded : refused)++;
    // What the doctor looks at must not stumble either.
    const PictureFacts facts = look_at_picture(path, false);
    if (found.error.empty()) CHECK(facts.error == "");
    if (found.error.empty()) CHECK(facts.whole);
  }
  CHECK(peak_memory() - before < 1024);
  CHECK(decoded > 300);
  CHECK(refused > 100);
}

TEST_CASE("Bad input: pictures that unpack to far more than they show are refused") {
  const long before = peak_memory();
  // 16x16 pixels, and 300 MB behind them in a file of 2 MB.
  const std::vector<uint8_t> bomb = PngMaker::packed(16, 16, 8, 2, packed_zeros(300'000'000));
  CHECK(bomb.size() < 2'500'000);
  const std::string message = error_of([&] { decode_image(bomb, "bomb.png"); });
  CHECK(message ==
        "bomb.png: expected a picture that decodes within 64 MiB, found 16x16 pixels that unpack "
        "to more");
  CHECK(peak_memory() - before < 512);
  // The allocator is free again for the next picture.
  const std::vector<uint8_t> good = PngMaker::packed(16, 16, 8, 2, packed_zeros(49 * 16 + 258));
  CHECK(decode_image(good, "good.png") == Image(16, 16, 0));
  // Headers alone that claim more than the limit.
  const std::vector<uint8_t> large = PngMaker::packed(16'000, 10'000, 8, 2, packed_zeros(1000));
  CHECK(error_of([&] { decode_image(large, "large.png"); }) ==
        "large.png: expected at most 100000000 pixels, found 16000x10000 = 160000000");
  const std::vector<uint8_t> wide = PngMaker::packed(50'000, 40'000, 8, 2, packed_zeros(1000));
  CHECK(error_of([&] { decode_image(wide, "wide.png"); }) ==
        "wide.png: expected at most 268435456 pixels, found 50000x40000 = 2000000000");
  CHECK(peak_memory() - before < 512);
}

TEST_CASE("Nasty pictures: facts of formats and colours") {
  FRCNN_REQUIRE_REAL_DATA(data);
  const fs::path root = data / "images";
  const PictureFacts cmyk = look_at_picture(root / "jpeg/reftest/images/ycck.jpg", true);
  CHECK(cmyk.format == PictureFormat::jpeg);
  CHECK(cmyk.cmyk);
  CHECK(cmyk.error == "");
  const PictureFacts gray =
      look_at_picture(root / "jpeg/reftest/images/mozilla/jpg-gray.jpg", false);
  CHECK(gray.channels == 1);
  CHECK_FALSE(gray.cmyk);
  const PictureFacts deep =
      look_at_picture(root / "stb_png/tests/pngsuite/16bit/basn2c16.png", false);
  CHECK(deep.bits == 16);
  CHECK(deep.channels == 3);
  // Decoded, the same picture saved with another filter or order of rows is the same.
  const fs::path primary = root / "stb_png/tests/pngsuite/primary";
  const auto plain = [&](const char* name, bool pixels) {
    return look_at_picture(primary / name, pixels).hash;
  };
  CHECK(plain("basn2c08.png", true) == plain("basi2c08.png", true));
  CHECK(plain("basn2c08.png", false) != plain("basi2c08.png", false));
}
