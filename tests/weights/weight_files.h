#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "kernels/launch/check.h"
#include "tests/support/catch.h"
#include "tests/support/support.h"
#include "weights/weight_file.h"

namespace frcnn::test {

/// A file that tests/golden/make_weight_files.py made.
inline std::filesystem::path weights_golden(const std::string& name) {
  return source_dir() / "tests/golden/weights" / name;
}

inline std::string file_bytes(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline void write_bytes(const std::filesystem::path& file, const std::string& bytes) {
  std::ofstream stream(file, std::ios::binary);
  stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// Opens a file and reads every array of it, unless they are huge.
inline void read_all(const std::filesystem::path& path) {
  const auto file = WeightFile::open(path);
  for (const WeightEntry& entry : file->entries())
    if (entry.shape.numel() < 1 << 22) file->read(entry);
}

/// What is said of a file that is refused, on opening or on reading; empty when it is not.
inline std::string refusal(const std::filesystem::path& file) {
  try {
    read_all(file);
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find(file.filename().string()) != std::string::npos);
    CHECK(std::string(error.what()).find('\n') == std::string::npos);
    return error.what();
  }
  return "";
}

/// Every array of `file` has the bits of the array of that name in weight_files.h5, as a whole and
/// read row by row from the last to the first; and there are no others.
inline void check_golden(const WeightFile& file, const std::string& group) {
  size_t found = 0;
  for (const WeightEntry& entry : file.entries()) {
    INFO(file.path().string() << ": " << entry.name);
    const auto golden = golden_f32("weight_files", group + "/" + entry.name);
    CHECK(Shape(golden.shape) == entry.shape);
    FRCNN_CHECK_SAME(file.read(entry).to_vector<float>(), golden.values, 0, 0, true);
    if (entry.shape.rank() > 0 && entry.shape.numel() > 0) {
      std::vector<float> rows(golden.values.size());
      const auto row = static_cast<int64_t>(rows.size()) / entry.shape[0];
      for (int64_t i = entry.shape[0]; i-- > 0;) file.read_rows(entry, i, 1, rows.data() + i * row);
      FRCNN_CHECK_SAME(rows, golden.values, 0, 0, true);
    }
    ++found;
  }
  CHECK(found > 0);
}

}  // namespace frcnn::test
