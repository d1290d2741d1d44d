// Damaged HDF5 files are refused, or read to the end: nothing crashes and nothing hangs. The same
// code runs under libFuzzer (tests/fuzz/keras_hdf5_fuzz.cpp).
#include <algorithm>
#include <fstream>

#include "kernels/launch/check.h"
#include "kernels/random/philox.h"
#include "tests/support/catch.h"
#include "tests/support/support.h"
#include "weights/checkpoint.h"
#include "weights/weight_file.h"

namespace frcnn {
namespace {

namespace fs = std::filesystem;

std::vector<char> bytes_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// True when the file was refused.
bool refused(const fs::path& file, const std::vector<char>& bytes) {
  std::ofstream(file, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  try {
    const auto weights = WeightFile::open(file);
    for (const WeightEntry& entry : weights->entries()) weights->read(entry);
  } catch (const Error&) {
    return true;
  }
  return false;
}

std::vector<std::string> samples() {
  return {"keras1_weights.h5", "keras2_weights.h5", "keras2_chunked.h5", "keras3.weights.h5",
          "keras2_model.h5"};
}

/// Where to damage a file: its structure lies at the front and between the arrays.
size_t place(uint64_t number, size_t size) {
  return static_cast<size_t>(
      test::random_vector<double>(1, 0, static_cast<double>(size), number)[0]);
}

TEST_CASE("keras: a file cut short anywhere is refused") {
  const test::TempDir dir;
  for (const std::string& name : samples()) {
    const std::vector<char> whole = bytes_of(test::source_dir() / "tests/golden" / name);
    for (uint64_t i = 0; i < 24; ++i) {
      const size_t length = i == 0 ? whole.size() - 1 : place(1000 + i, whole.size());
      INFO(name << " cut to " << length << " of " << whole.size() << " bytes");
      CHECK(refused(dir.path() / "cut.h5", {whole.begin(), whole.begin() + long(length)}));
    }
  }
}

TEST_CASE("keras: flipped bits never crash the program") {
  const test::TempDir dir;
  for (const std::string& name : samples()) {
    const std::vector<char> whole = bytes_of(test::source_dir() / "tests/golden" / name);
    int count = 0;
    for (uint64_t i = 0; i < 60; ++i) {
      std::vector<char> bytes = whole;
      // Every third in the first kilobytes, where the structure is dense.
      const size_t at = place(2000 + i, i % 3 == 0 ? 4096 : bytes.size());
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << i % 8));
      INFO(name << ": bit " << i % 8 << " of byte " << at);
      count += refused(dir.path() / "flipped.h5", bytes) ? 1 : 0;
    }
    CHECK(count > 0);  // those that hit the structure
  }
}

TEST_CASE("checkpoint as weights: damage is refused, as every part has a checksum") {
  const test::TempDir dir;
  const fs::path file = dir.path() / "model.h5";
  Checkpoint checkpoint;
  checkpoint.classes = {"cat", "dog"};
  checkpoint.parameters["backbone.conv1.weight"] =
      Tensor::from(Shape{8, 3, 3, 3}, test::random_vector<float>(216, -1, 1, 5));
  checkpoint.buffers["backbone.conv1.norm.running_mean"] = Tensor::zeros(Shape{8});
  save_checkpoint(file, checkpoint);
  const auto weights = WeightFile::open(file);
  CHECK(weights->format() == "frcnn checkpoint");
  CHECK(weights->order() == WeightOrder::torch);
  CHECK(weights->metadata().at("classes") == "cat\ndog");
  REQUIRE(weights->entries().size() == 2);
  CHECK(weights->read(*weights->find("backbone.conv1.weight")).to_vector<float>() ==
        checkpoint.parameters.at("backbone.conv1.weight").to_vector<float>());
  const std::vector<char> whole = bytes_of(file);
  for (uint64_t i = 0; i < 24; ++i)
    CHECK(refused(dir.path() / "cut.h5",
                  {whole.begin(), whole.begin() + long(place(3000 + i, whole.size()))}));
  for (uint64_t i = 0; i < 60; ++i) {
    std::vector<char> bytes = whole;
    const size_t at = place(4000 + i, bytes.size());
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << i % 8));
    // A flip in unused space changes nothing; one that is not refused must give the same numbers.
    if (refused(dir.path() / "flipped.h5", bytes)) continue;
    const auto same = WeightFile::open(dir.path() / "flipped.h5");
    INFO("byte " << at);
    for (const WeightEntry& entry : same->entries())
      if (const WeightEntry* original = weights->find(entry.name))
        CHECK(same->read(entry).to_vector<float>() == weights->read(*original).to_vector<float>());
  }
}

}  // namespace
}  // namespace frcnn
