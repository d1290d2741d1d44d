#pragma once

#include <cstdint>

namespace frcnn::kernels::cpu {

/// Greedy non-maximum suppression of boxes that are sorted by falling score: box i is kept unless
/// its IoU with a box kept before it exceeds `threshold` (strictly, as in torchvision); stops after
/// `max_keep`. With groups, only boxes of one group (class, image) suppress each other. Writes the
/// positions of the kept boxes, rising, and returns their number.
///
/// The IoU is computed in T, each operation rounded by itself, and compared with the threshold as a
/// real number: an overlap of 3/10 in float is a little more than 0.3 and suppresses, as in
/// torchvision. Two empty boxes never suppress each other, even at the same place; NaN coordinates
/// neither suppress nor are suppressed. Memory O(count), time O(count * kept) pairs. Deterministic.
template <typename T>
int64_t nms_sorted(int64_t count, double threshold, int64_t max_keep,
                   const T* boxes,         // (count, 4), best first
                   const int32_t* groups,  // (count), or nullptr: all in one
                   int64_t* kept);         // (min(count, max_keep))

/// The same for boxes in any order: they are taken by falling score, equal scores by rising index,
/// NaN scores last. Writes indices into `boxes`, best first.
template <typename T>
int64_t nms(int64_t count, double threshold, int64_t max_keep,
            const T* boxes,         // (count, 4)
            const T* scores,        // (count)
            const int32_t* groups,  // (count), or nullptr: all in one
            int64_t* kept);         // (min(count, max_keep))

}  // namespace frcnn::kernels::cpu
