#pragma once

#include <cstdint>

namespace frcnn::kernels {

/// Several lists (images, images x classes, levels of a pyramid) in one array. On a GPU all of it
/// stays in device memory: a batch is one sequence of launches, every list has room for `capacity`
/// entries, and how many are used is known to the device alone. Entries beyond are not read.
struct Segments {
  int64_t count = 1;                 ///< lists
  int64_t capacity = 0;              ///< most entries of one list
  const int32_t* sizes = nullptr;    ///< (count) used entries of each, or nullptr: all
  const int64_t* offsets = nullptr;  ///< (count + 1), rising: list s is [offsets[s],
                                     ///< offsets[s + 1]); or nullptr: it begins at s * capacity

  /// First entry of list s in the whole array.
  constexpr int64_t first(int64_t s) const {
    return offsets != nullptr ? offsets[s] : s * capacity;
  }
  /// Used entries of list s.
  constexpr int64_t size(int64_t s) const {
    int64_t n = offsets != nullptr ? offsets[s + 1] - offsets[s] : capacity;
    if (sizes != nullptr && sizes[s] < n) n = sizes[s];
    if (n > capacity) n = capacity;
    return n < 0 ? 0 : n;
  }
};

/// Limits of one image of a batch, in pixels of the network's input. In device memory on a GPU: the
/// images of a batch differ, and a captured graph is replayed with others.
template <typename T>
struct ImageLimits {
  T height = 0, width = 0;  ///< of the image without padding
  T min_h = 0, min_w = 0;   ///< smallest sides of a box
};

}  // namespace frcnn::kernels
