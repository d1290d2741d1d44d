#pragma once

#include <cstdint>

namespace frcnn::kernels::cpu {

/// Greedy non-maximum suppression of boxes that are sorted by falling score: box i is kept unless
/// its IoU with a box kept before it exceeds `threshold` (strictly, as in torchvision); stops after
/// `max_keep`. With groups, only boxes of one group (class, image) suppress each other. Writes the
/// positions of the kept boxes, rising, and returns their number. Memory O(count). Deterministic.
template <typename T>
int64_t nms_sorted(int64_t count, double threshold, int64_t max_keep,
                   const T* boxes,         // (count, 4), best first
                   const int32_t* groups,  // (count), or nullptr: all in one
                   int64_t* kept);         // (min(count, max_keep))

}  // namespace frcnn::kernels::cpu
