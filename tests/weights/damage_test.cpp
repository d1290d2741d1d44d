// Damaged files of weights: every one is refused with an Error, or its numbers are as they were
// where the format has checksums. With FRCNN_SANITIZE this is a small fuzzer that needs no clang;
// tests/fuzz has the large one, whose findings are kept in tests/fuzz/corpus and replayed here.
#include <algorithm>
#include <map>
#include <vector>

#include "tests/weights/weight_files.h"

namespace frcnn {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  if (fs::is_directory(folder))
    for (const auto& entry : fs::recursive_directory_iterator(folder))
      if (entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

/// True when the file was read, false when it was refused. Anything but an Error ends the test.
bool survives(const fs::path& file) {
  try {
    test::read_all(file);
    return true;
  } catch (const Error&) {
    return false;
  }
}

std::map<std::string, std::vector<float>> values_of(const fs::path& path) {
  std::map<std::string, std::vector<float>> values;
  const auto file = WeightFile::open(path);
  for (const WeightEntry& entry : file->entries())
    values[entry.name] = file->read(entry).to_vector<float>();
  return values;
}

const std::vector<std::string> kGood = {
    "all_types.pth", "all_types_legacy.pth",  "checkpoint.pth", "big_endian.pth",
    "stored.npz",    "deflated.npz",          "version1.npy",   "version3.npy",
    "v1.caffemodel", "all_types.safetensors", "new.caffemodel"};

TEST_CASE("files of the corpus of the fuzzers are read or refused", "[damage]") {
  for (const fs::path& file : files_below(test::source_dir() / "tests/fuzz/corpus")) {
    INFO(file.string());
    CHECK_NOTHROW(survives(file));
  }
}

TEST_CASE("a file of weights that is cut short is refused", "[damage]") {
  const test::TempDir folder;
  for (const std::string& name : kGood) {
    const std::string whole = test::file_bytes(test::weights_golden(name));
    const fs::path file = folder.path() / name;
    const size_t step = std::max<size_t>(1, whole.size() / 150);
    for (size_t size = 0; size < whole.size(); size += step) {
      INFO(name << " cut to " << size << " of " << whole.size());
      test::write_bytes(file, whole.substr(0, size));
      // Caffe's format has no end: cut between two layers it is a smaller model.
      const bool read = survives(file);
      if (!name.ends_with(".caffemodel")) CHECK_FALSE(read);
    }
  }
}

TEST_CASE("a file of weights with flipped bits is refused or read without harm", "[damage]") {
  const test::TempDir folder;
  for (const std::string& name : kGood) {
    const bool checksums = name.ends_with(".pth") && name != "all_types_legacy.pth";
    const fs::path original = test::weights_golden(name);
    const auto values = values_of(original);
    std::string bytes = test::file_bytes(original);
    const fs::path file = folder.path() / name;
    const size_t step = std::max<size_t>(1, bytes.size() / 300);
    for (size_t at = 0; at < bytes.size(); at += step) {
      const auto bit = static_cast<char>(1 << (at / step % 8));
      bytes[at] = static_cast<char>(bytes[at] ^ bit);
      test::write_bytes(file, bytes);
      INFO(name << ", bit flipped in byte " << at);
      if (survives(file) && checksums) {
        const auto read = values_of(file);
        REQUIRE(read.size() == values.size());
        for (const auto& [array, numbers] : values)
          FRCNN_CHECK_SAME(read.at(array), numbers, 0, 0, true);
      }
      bytes[at] = static_cast<char>(bytes[at] ^ bit);
    }
  }
}

}  // namespace
}  // namespace frcnn
