#pragma once

#include <cstdint>

namespace frcnn::kernels {

/// Rules that turn overlaps into labels (Ren et al., section 3.1.2).
struct MatchParams {
  double positive = 0.7;   ///< IoU >= positive: label 1
  double negative = 0.3;   ///< IoU < negative with every object: label 0; between the two: -1
  bool match_best = true;  ///< boxes with an object's highest IoU are positive too, ties included
};

namespace cpu {

/// For each of `count` boxes the best IoU with any of `objects` ground-truth boxes and which one
/// (the first of equals; -1 without objects), and for each object the best IoU with any box.
/// Objects are taken in tiles: memory is O(count + objects), never their product. Boxes with
/// skip[i] = 1 get IoU -1 and index -1 and don't count for the objects. Empty boxes, and boxes with
/// a NaN, have IoU 0.
///
/// IoU = inter / ((area of the box + area of the object) - inter), every operation rounded to T by
/// itself (no fused multiply-add): equal overlaps are equal numbers, here, in match_labels() and on
/// every device. Deterministic.
template <typename T>
void iou_best(int64_t count, int64_t objects,
              const T* boxes,       // (count, 4)
              const T* truth,       // (objects, 4)
              const uint8_t* skip,  // (count), or nullptr
              T* best_iou,          // (count)
              int32_t* best_index,  // (count)
              T* object_best);      // (objects), or nullptr

/// Labels from iou_best(): 1 where best_iou >= positive, or (match_best) where the IoU with some
/// object equals that object's highest, which must be above 0; 0 where best_iou < negative; else
/// -1. The limits are compared as numbers of type T. Skipped boxes are -1. Positives win over
/// negatives. An object that no box overlaps makes none positive (in torchvision it makes all). A
/// positive keeps its own best object as its target, as the original code and torchvision do.
template <typename T>
void match_labels(const MatchParams& params, int64_t count, int64_t objects,
                  const T* boxes,        // (count, 4)
                  const T* truth,        // (objects, 4)
                  const uint8_t* skip,   // (count), or nullptr
                  const T* best_iou,     // (count)
                  const T* object_best,  // (objects); not read unless match_best
                  int32_t* labels);      // (count)

}  // namespace cpu
}  // namespace frcnn::kernels
