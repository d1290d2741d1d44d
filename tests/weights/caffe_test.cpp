#include "tests/weights/weight_files.h"

namespace frcnn {
namespace {

using std::string_literals::operator""s;
using test::mentions;
using test::weights_golden;

std::string refusal(const std::string& bytes) {
  const test::TempDir folder;
  test::write_bytes(folder.path() / "a.caffemodel", bytes);
  return test::refusal(folder.path() / "a.caffemodel");
}

/// A field with a length before it, as protocol buffers write it.
std::string field(int number, const std::string& content) {
  std::string out;
  for (uint32_t value :
       {static_cast<uint32_t>(number << 3 | 2), static_cast<uint32_t>(content.size())}) {
    for (; value > 127; value >>= 7) out += static_cast<char>(value & 127 | 128);
    out += static_cast<char>(value);
  }
  return out + content;
}

TEST_CASE("layers of Caffe models are read, with shapes and with the four sizes of old files",
          "[caffe]") {
  for (const char* name : {"new.caffemodel", "v1.caffemodel", "new_legacy_dims.caffemodel"}) {
    const auto file = WeightFile::open(weights_golden(name));
    CHECK(file->format() == "Caffe");
    CHECK(file->metadata().at("name") == "tiny");
    CHECK(file->entries().size() == 7);
    CHECK(file->find("fc6/weight")->shape == Shape{5, 8});
    CHECK(file->find("fc6/bias")->shape == Shape{5});
    CHECK(file->find("bn/2")->shape == Shape{1});
    test::check_golden(*file, "caffe");
  }
}

TEST_CASE("numbers of Caffe models may be of double precision", "[caffe]") {
  const auto file = WeightFile::open(weights_golden("double.caffemodel"));
  CHECK(file->entries()[0].type == StoredType::f64);
  test::check_golden(*file, "caffe_double");
}

TEST_CASE("shapes of Caffe models that do not fit their numbers are refused", "[caffe]") {
  CHECK_THAT(test::refusal(weights_golden("shape_huge.caffemodel")),
             mentions("more elements than any memory holds"));
  CHECK_THAT(test::refusal(weights_golden("shape_negative.caffemodel")), mentions("size -1"));
  CHECK_THAT(test::refusal(weights_golden("shape_wrong.caffemodel")), mentions("bytes"));
}

TEST_CASE("damaged Caffe models are refused", "[caffe]") {
  const std::string blob = field(5, "\0\0\x80\x3f"s) + field(7, field(1, "\x01"));
  const std::string layer = field(1, "a") + field(7, blob);
  CHECK(refusal(field(1, "net") + field(100, layer)).empty());
  CHECK_THAT(refusal(field(1, "net")), mentions("no layer"));
  CHECK_THAT(refusal(field(1, "net") + field(100, layer) + field(100, layer)), mentions("twice"));
  CHECK_THAT(refusal(field(1, "net") + field(100, layer + "\x0a\x7f")), mentions("cut short"));
  CHECK_THAT(refusal(field(1, "net") + "\xff\xff\xff\xff\xff\xff"), mentions("not a Caffe model"));
  CHECK_THAT(refusal(field(1, "net") + "\x03"), mentions("not a Caffe model"));  // a group
  CHECK_THAT(refusal(field(1, "net") + field(2, field(1, field(1, "old")))), mentions("upgrade"));
  // One number with a tag of its own, instead of all in one piece.
  CHECK_THAT(refusal(field(1, "net") + field(100, field(1, "a") + field(7, "\x2d\0\0\x80\x3f"s))),
             mentions("one piece"));
}

}  // namespace
}  // namespace frcnn
