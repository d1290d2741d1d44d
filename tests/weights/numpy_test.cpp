#include "tests/weights/weight_files.h"

namespace frcnn {
namespace {

using test::mentions;
using test::weights_golden;

/// What is said of a .npy file with that description of its array and `data` bytes of zeros.
std::string refusal(const std::string& header, size_t data, char version = 1) {
  const test::TempDir folder;
  std::string bytes("\x93NUMPY", 6);
  bytes += version;
  bytes += '\0';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i)
    bytes += static_cast<char>(header.size() >> (8 * i) & 0xFF);
  test::write_bytes(folder.path() / "a.npy", bytes + header + std::string(data, '\0'));
  return test::refusal(folder.path() / "a.npy");
}

std::string header(const std::string& type, const std::string& shape) {
  return "{'descr': '" + type + "', 'fortran_order': False, 'shape': (" + shape + "), }  \n";
}

TEST_CASE("arrays of every type and order are read from .npz, stored and deflated", "[numpy]") {
  for (const char* name : {"stored.npz", "deflated.npz"}) {
    const auto file = WeightFile::open(weights_golden(name));
    CHECK(file->format() == "NumPy");
    CHECK(file->entries().size() == 13);
    CHECK(file->find("big4")->type == StoredType::f32);
    test::check_golden(*file, "numpy");
  }
}

TEST_CASE("a single .npy of each version is read under its file's name", "[numpy]") {
  for (const char* name : {"version1", "version2", "version3"}) {
    const auto file = WeightFile::open(weights_golden(std::string(name) + ".npy"));
    REQUIRE(file->entries().size() == 1);
    CHECK(file->entries()[0].name == name);
    const auto golden = test::golden_f32("weight_files", "numpy/fortran");
    CHECK(file->entries()[0].shape == Shape(golden.shape));
    FRCNN_CHECK_SAME(file->read(file->entries()[0]).to_vector<float>(), golden.values, 0, 0);
  }
}

TEST_CASE("descriptions of NumPy arrays that do not fit their data are refused", "[numpy]") {
  CHECK(refusal(header("<f4", "2, 3"), 24).empty());
  CHECK(refusal(header("<f4", "2, 3"), 24, 2).empty());
  CHECK(refusal(header("<f4", ""), 4).empty());
  CHECK(refusal(header("<f4", "2L,"), 8).empty());
  CHECK_THAT(refusal(header("<f4", "2, 3"), 23), mentions("beyond the 95 bytes"));
  CHECK_THAT(refusal(header("<f4", "2, 3"), 28), mentions("takes"));
  CHECK_THAT(refusal(header("<f4", "4611686018427387904,"), 8),
             mentions("more elements than any memory holds"));
  CHECK_THAT(refusal(header("<f4", "-1,"), 8), mentions("size -1"));
  CHECK_THAT(refusal(header("<f4", "99999999999999999999,"), 8), mentions("is not {'descr'"));
  CHECK_THAT(refusal(header("<u4", "2,"), 8), mentions("'<u4'"));
  CHECK_THAT(refusal(header("|O", "2,"), 8), mentions("'|O'"));
  CHECK_THAT(refusal(header("<f4", "2,"), 8, 4), mentions("version 4"));
  CHECK_THAT(refusal("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", 8),
             mentions("structured types"));
  CHECK_FALSE(refusal("{'descr': '<f4'}", 8).empty());
  CHECK_FALSE(refusal(header("<f4", "2,") + "x", 8).empty());
  CHECK_FALSE(refusal("{'descr': '<f4', 'descr': '<f4', 'shape': (2,)}", 8).empty());
  CHECK_FALSE(refusal("", 0).empty());
  CHECK_THAT(test::refusal(weights_golden("unsigned.npy")), mentions("astype"));
}

}  // namespace
}  // namespace frcnn
