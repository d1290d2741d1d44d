#pragma once

#include <cstdint>
#include <vector>

#include "apps/ops/arrays.h"
#include "kernels/random/philox.h"

namespace frcnn::apps::ops {

/// Random numbers for the cases of operations: a pure function of the seed, on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : key_{seed, kernels::kStreamTest, 0} {}

  /// 0 .. bound - 1
  int64_t below(int64_t bound);
  /// low .. high, both included.
  int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }
  bool chance(double probability) { return uniform(0, 1) < probability; }
  double uniform(double low, double high);
  template <typename T>
  T pick(const std::vector<T>& choices) {
    return choices[static_cast<size_t>(below(static_cast<int64_t>(choices.size())))];
  }
  std::string word(const std::vector<std::string>& choices) { return pick(choices); }

  /// Uniform in [low, high). Arrays beyond a million numbers repeat themselves (benchmarks).
  Array floats(const Extent& extent, double low, double high);
  /// The same in steps of 1/8, so that equal numbers occur, among them 0 and -0.
  Array coarse(const Extent& extent, double low, double high);
  Array integers(const Extent& extent, int64_t low, int64_t high);
  Array flags(const Extent& extent, double probability_of_1);
  /// Sides of 1 .. 16 that are no multiple of a tile, rarely 1 or `rarely_zero` 0.
  int64_t size(int64_t most, bool rarely_zero = false);
  /// (count, 4) boxes about a few centres in a picture of this size: many overlap, some are equal,
  /// some are empty, corners are whole, half or any numbers.
  Array boxes(int64_t count, double height, double width);
  /// (count, 4) boxes of any size within the picture, sides of at least 1: for benchmarks.
  Array scattered_boxes(int64_t count, double height, double width);
  /// (count, 5) RoIs: an image of `images` and a box.
  Array rois(int64_t count, int64_t images, double height, double width);

 private:
  uint32_t bits() { return kernels::random_bits(key_, next_++); }
  kernels::RandomKey key_;
  uint64_t next_ = 0;
};

/// Replaces some of the numbers by NaN, infinities, -0, the smallest and the largest.
void sprinkle_specials(Random& random, Array& array, bool with_nan = true);

}  // namespace frcnn::apps::ops
