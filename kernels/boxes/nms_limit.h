#pragma once

#include <cmath>
#include <limits>

namespace frcnn::kernels {

/// A threshold of overlaps as numbers of type T, so that comparisons in T decide as comparisons of
/// real numbers would.
template <typename T>
struct NmsLimit {
  T exact;   ///< the largest T <= threshold: iou > exact is iou > threshold for every iou of type T
  T coarse;  ///< inter >= coarse * union holds wherever inter / union > exact: a product decides
             ///< first which pairs need the division
  bool always_divide;

  explicit NmsLimit(double threshold) : exact(static_cast<T>(threshold)) {
    if (static_cast<double>(exact) > threshold)
      exact = std::nextafter(exact, -std::numeric_limits<T>::infinity());
    coarse = exact * (1 - 16 * std::numeric_limits<T>::epsilon());
    always_divide = !(exact > 0);  // empty unions then matter
  }
};

}  // namespace frcnn::kernels
