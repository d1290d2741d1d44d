#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tests/support/support.h"

namespace frcnn::test {

/// An output of flags, filled with 77 and with guard bands of the same.
class GuardedFlags {
 public:
  explicit GuardedFlags(size_t size) : storage_(size + 2 * kGuard, 77) {}
  uint8_t* data() { return storage_.data() + kGuard; }
  size_t size() const { return storage_.size() - 2 * kGuard; }
  uint8_t operator[](size_t i) const { return storage_[kGuard + i]; }
  bool guards_intact() const {
    for (size_t i = 0; i < kGuard; ++i)
      if (storage_[i] != 77 || storage_[storage_.size() - 1 - i] != 77) return false;
    return true;
  }

 private:
  static constexpr size_t kGuard = 64;
  std::vector<uint8_t> storage_;
};

/// `count` boxes with corners in [0, extent) and sides in [low, high).
template <typename T>
std::vector<T> random_boxes(size_t count, double extent, double low, double high, uint64_t seed) {
  std::vector<T> boxes = random_vector<T>(4 * count, 0, 1, seed);
  for (size_t i = 0; i < 4 * count; i += 4)
    for (size_t axis = i; axis < i + 2; ++axis) {
      boxes[axis] *= static_cast<T>(extent);
      boxes[axis + 2] =
          boxes[axis] + static_cast<T>(low) + boxes[axis + 2] * static_cast<T>(high - low);
    }
  return boxes;
}

/// Boxes scattered about `objects` random ones, as proposals are; on whole pixels, so that equal
/// overlaps occur. Sides are at least 1.
template <typename T>
std::vector<T> clustered_boxes(size_t count, size_t objects, double extent, uint64_t seed) {
  const std::vector<T> centres = random_boxes<T>(objects, extent, 20, 100, seed);
  const std::vector<T> shift = random_vector<T>(4 * count, -9, 9, seed + 1);
  std::vector<T> boxes(4 * count);
  for (size_t i = 0; i < boxes.size(); ++i) {
    const auto whole = static_cast<int>(centres[i / 4 % objects * 4 + i % 4] + shift[i]);
    boxes[i] = static_cast<T>(whole);
    if (i % 4 >= 2) boxes[i] = std::max(boxes[i], boxes[i - 2] + 1);
  }
  return boxes;
}

/// Intersection over union as it is defined, in double; 0 without intersection.
template <typename T>
double naive_iou(const T* a, const T* b) {
  const double w =
      std::min<double>(double(a[2]), double(b[2])) - std::max<double>(double(a[0]), double(b[0]));
  const double h =
      std::min<double>(double(a[3]), double(b[3])) - std::max<double>(double(a[1]), double(b[1]));
  if (w <= 0 || h <= 0) return 0;
  const auto area = [](const T* c) { return double(c[2] - c[0]) * double(c[3] - c[1]); };
  return w * h / (area(a) + area(b) - w * h);
}

}  // namespace frcnn::test
