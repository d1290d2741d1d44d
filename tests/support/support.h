#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tests/support/catch.h"

namespace frcnn::test {

/// Compares element by element: |actual - expected| <= absolute + relative * |expected|. Empty when
/// all agree; otherwise a sentence that names the worst index and both values. NaN on either side
/// (unless on both with `nan_equal`), infinities of different sign and different sizes disagree.
std::string difference(std::span<const float> actual, std::span<const float> expected,
                       double relative, double absolute, bool nan_equal = false);
std::string difference(std::span<const double> actual, std::span<const double> expected,
                       double relative, double absolute, bool nan_equal = false);
std::string difference(std::span<const int64_t> actual, std::span<const int64_t> expected);
std::string difference(std::span<const int32_t> actual, std::span<const int32_t> expected);

/// sqrt(sum (a - e)^2) / sqrt(sum e^2); NaN where any value is NaN.
double relative_l2(std::span<const float> actual, std::span<const float> expected);

/// An output buffer with guard bands before and behind it, poisoned with NaN (or a large negative
/// number for integers): guards_intact() tells whether anything was written outside.
template <typename T>
class GuardedBuffer {
 public:
  explicit GuardedBuffer(size_t size);
  T* data() { return storage_.data() + kGuard; }
  size_t size() const { return storage_.size() - 2 * kGuard; }
  std::span<T> span() { return {data(), size()}; }
  bool guards_intact() const;

 private:
  static constexpr size_t kGuard = 64;
  std::vector<T> storage_;
};

/// `count` numbers uniform in [low, high) from (seed, kStreamTest): the same on every machine.
template <typename T>
std::vector<T> random_vector(size_t count, double low, double high, uint64_t seed);

/// One dataset of a golden file (tests/golden/<file>.h5) as a flat array with its shape.
template <typename T>
struct Golden {
  std::vector<int64_t> shape;
  std::vector<T> values;
};
Golden<float> golden_f32(const std::string& file, const std::string& dataset);
Golden<double> golden_f64(const std::string& file, const std::string& dataset);
Golden<int64_t> golden_i64(const std::string& file, const std::string& dataset);
/// A scalar attribute of a dataset or group of a golden file, as double.
double golden_attribute(const std::string& file, const std::string& object,
                        const std::string& attribute);
/// Names of the members of a group ("/" for the root), sorted.
std::vector<std::string> golden_members(const std::string& file, const std::string& group);

/// Folder of the repository (source tree).
std::filesystem::path source_dir();
/// Folder of the real test data, or nullopt when this machine has none. Looked for in the
/// environment variable FRCNN_TEST_DATA, then in ../shared/data beside the repository. Where the
/// environment variable CI is "true", absence is a test failure.
std::optional<std::filesystem::path> real_data();
/// A fresh empty folder below the system's temporary folder, removed when the object goes.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace frcnn::test

/// Ends the running test as "skipped" (ctest shows it so) when the real test data is absent.
#define FRCNN_REQUIRE_REAL_DATA(variable)                     \
  const auto variable##_or_none = ::frcnn::test::real_data(); \
  if (!variable##_or_none) {                                  \
    WARN("[skipped] real test data not found");               \
    return;                                                   \
  }                                                           \
  const std::filesystem::path variable = *variable##_or_none

/// Fails with the sentence of difference() when arrays disagree.
#define FRCNN_CHECK_SAME(...) CHECK(::frcnn::test::difference(__VA_ARGS__) == "")
