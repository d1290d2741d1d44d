#include "data/synth.h"

#include <algorithm>

#include "data/shapes.h"
#include "tests/data/voc_maker.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;
namespace fs = std::filesystem;

namespace {

SynthOptions small_options() {
  SynthOptions options;
  options.images = 20;
  options.width = 96;
  options.height = 80;
  options.max_size = 40;
  options.classes = 6;
  return options;
}

}  // namespace

TEST_CASE("Synth: a VOC set with splits, tight boxes and every class") {
  TempDir temp;
  make_synthetic(temp.path() / "deep/set/", small_options());
  const fs::path root = temp.path() / "deep/set";
  const Dataset set = read_folder(root);
  CHECK(set.images.size() == 20);
  std::vector<std::string> names = synth_class_names(6);
  std::sort(names.begin(), names.end());
  CHECK(set.class_names == names);
  CHECK(read_folder(root, "train").images.size() == 14);
  CHECK(read_folder(root, "val").images.size() == 2);
  CHECK(read_folder(root, "trainval").images.size() == 16);
  CHECK(read_folder(root, "test").images.size() == 4);
  REQUIRE(set.findings.size() == 1);  // the note on coordinates
  CHECK(contains(set.findings[0].message, "1-based"));
  for (const ImageRecord& image : set.images) {
    CHECK(image.width == 96);
    CHECK(image.objects.size() >= 1);
    CHECK(image.objects.size() <= 5);
    for (const Object& object : image.objects) {
      const float longer = std::max(object.box.width(), object.box.height());
      CHECK(longer >= 23);
      CHECK(longer <= 41);
    }
  }
  // No temporary folder is left.
  CHECK(std::distance(fs::directory_iterator(temp.path() / "deep"), fs::directory_iterator()) == 1);
}

TEST_CASE("Synth: the seed decides every byte, also with other thread counts") {
  TempDir temp;
  SynthOptions options = small_options();
  options.images = 4;
  make_synthetic(temp.path() / "a", options);
  make_synthetic(temp.path() / "b", options);
  options.seed = 2;
  make_synthetic(temp.path() / "c", options);
  for (const char* name : {"JPEGImages/000003.jpg", "Annotations/000003.xml"}) {
    CHECK(read_bytes(temp.path() / "a" / name) == read_bytes(temp.path() / "b" / name));
    CHECK(read_bytes(temp.path() / "a" / name) != read_bytes(temp.path() / "c" / name));
  }
}

TEST_CASE("Synth: shapes fill their bounds tightly") {
  for (int kind = 0; kind < 6; ++kind) {
    for (const double angle : {0.0, 0.3, -0.35}) {
      INFO("kind " << kind << " angle " << angle);
      const Shape shape(static_cast<ShapeKind>(kind), 40, angle);
      const BasicBox<double>& b = shape.bounds();
      CHECK(std::max(b.width(), b.height()) == Approx(40));
      Image image(64, 64);
      draw_shape(image, shape, 32, 32, {255, 255, 255});
      int x1 = 64, y1 = 64, x2 = 0, y2 = 0;
      for (int y = 0; y < 64; ++y) {
        for (int x = 0; x < 64; ++x) {
          if (image.pixel(x, y)[0] == 0) continue;
          x1 = std::min(x1, x), y1 = std::min(y1, y);
          x2 = std::max(x2, x + 1), y2 = std::max(y2, y + 1);
        }
      }
      // Sharp tips may cover less than a sample of their last pixel.
      CHECK(x1 == Approx(32 + b.x1).margin(2));
      CHECK(y1 == Approx(32 + b.y1).margin(2));
      CHECK(x2 == Approx(32 + b.x2).margin(2));
      CHECK(y2 == Approx(32 + b.y2).margin(2));
    }
  }
  const Shape ring(ShapeKind::ring, 40, 0);
  CHECK_FALSE(ring.contains(0, 0));
  CHECK(ring.contains(15, 0));
}

TEST_CASE("Bad input: synth refuses full folders and impossible settings") {
  TempDir temp;
  write_file(temp.path() / "full.txt", "x");
  const auto message = [&](const SynthOptions& options, const char* name = "new") {
    return error_of([&] { make_synthetic(temp.path() / name, options); });
  };
  SynthOptions options = small_options();
  CHECK(
      contains(message(options, ""), "expected a new or empty folder, found one with files in it"));
  CHECK(contains(message(options, "full.txt"), "expected a new folder, found a file"));
  CHECK(contains(message(options, "full.txt/a"), "cannot be written"));
  options.classes = 7;
  CHECK(contains(message(options), "expected 1 to 6 classes, got 7"));
  options = small_options();
  options.max_size = 79;
  CHECK(contains(message(options), "expected objects that fit into 96x80 (at most 78)"));
  options = small_options();
  options.test_share = 0.95;
  CHECK(contains(message(options), "below 1"));
  CHECK_FALSE(fs::exists(temp.path() / "new"));
  fs::create_directory(temp.path() / "empty");
  options = small_options();
  options.images = 1;
  CHECK(message(options, "empty").empty());
}
