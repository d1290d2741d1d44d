#pragma once

#include <algorithm>
#include <cstdint>

namespace frcnn::kernels {

/// One number in device memory that says where training first met NaN or an infinity: the step, the
/// check within the step and the row or element, packed so that the earliest is the smallest.
/// Checks lower it by an atomic minimum, which gives the same result in every order; the host reads
/// it where it waits anyway. All bits set: everything was finite.
struct FiniteFlag {
  static constexpr uint64_t kAllFinite = ~uint64_t{0};
  static constexpr int64_t kMostStep = (int64_t{1} << 24) - 1, kMostIndex = (int64_t{1} << 32) - 1;

  uint64_t first = kAllFinite;

  constexpr bool all_finite() const { return first == kAllFinite; }
  constexpr int64_t step() const { return static_cast<int64_t>(first >> 40); }
  constexpr int check() const { return static_cast<int>(first >> 32 & 0xFF); }
  constexpr int64_t index() const { return static_cast<int64_t>(first & 0xFFFFFFFF); }

  /// Steps beyond 2^24 and indices beyond 2^32 are held as the last that fit.
  static constexpr uint64_t pack(int64_t step, int check, int64_t index) {
    return static_cast<uint64_t>(std::min(step, kMostStep)) << 40 |
           static_cast<uint64_t>(check & 0xFF) << 32 |
           static_cast<uint64_t>(std::min(index, kMostIndex));
  }
};

/// What an operation needs to note a number that is not finite. Checks of one step are numbered in
/// the order of their launches: an operation that must not go on after a failure looks whether the
/// flag is smaller than anything that it could note itself, so that its own blocks do not disagree.
struct FiniteCheck {
  FiniteFlag* flag = nullptr;     ///< device memory; nullptr: nothing is noted
  const int64_t* step = nullptr;  ///< device memory, so that a captured graph may be replayed, or
  int64_t step_value = 0;         ///< the step itself where that is nullptr
  int number = 0;                 ///< of the check within the step, 0 to 255
};

}  // namespace frcnn::kernels
