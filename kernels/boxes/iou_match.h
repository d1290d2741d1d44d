#pragma once

#include <cstdint>

#include "kernels/launch/gpu.h"

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

/// A batch of images on a GPU. Numbers of boxes and objects stay in device memory; rows beyond them
/// are not read.
struct MatchBatch {
  int64_t images = 1;
  int64_t count = 0;                       ///< rows of boxes per image
  int64_t objects = 0;                     ///< rows of objects per image
  bool shared_boxes = false;               ///< all images have the same boxes: boxes is (count, 4)
  const int32_t* counts = nullptr;         ///< (images) boxes of each image, or nullptr: all rows
  const int32_t* object_counts = nullptr;  ///< (images) objects of each, or nullptr: all rows
};

/// Labels of regions by their best overlap (Girshick, Fast R-CNN, section 2.3).
struct RegionLabelParams {
  double foreground = 0.5, background_high = 0.5, background_low = 0.1;
};

/// The same on a GPU, the same bits. Boxes beyond counts[n] are treated as skipped: IoU -1, index
/// -1, label -1. Highest overlaps of objects are found by maxima of whole numbers (an IoU is never
/// negative, so its bits rise as it does), whose result no order changes.
enum class MatchVersion : uint8_t { naive, tiled };
inline constexpr gpu::KernelVersion kMatchVersions[] = {
    {"naive", "one thread per box reads all objects; a second pass finds the best of each object"},
    {"tiled", "objects in shared memory, read once per block; their best found in the same pass"},
};

namespace gpu {

template <Backend backend, typename T>
void iou_best(Stream stream, const MatchBatch& batch,
              const T* boxes,       // (images, count, 4), or shared (count, 4)
              const T* truth,       // (images, objects, 4)
              const uint8_t* skip,  // (images, count), or nullptr
              T* best_iou,          // (images, count)
              int32_t* best_index,  // (images, count) within the image's objects
              T* object_best,       // (images, objects), 0 in unused rows; or nullptr
              MatchVersion version = MatchVersion::tiled);

template <Backend backend, typename T>
void match_labels(Stream stream, const MatchParams& params, const MatchBatch& batch,
                  const T* boxes,        // (images, count, 4), or shared (count, 4)
                  const T* truth,        // (images, objects, 4)
                  const uint8_t* skip,   // (images, count), or nullptr
                  const T* best_iou,     // (images, count)
                  const T* object_best,  // (images, objects); not read unless match_best
                  int32_t* labels,       // (images, count)
                  MatchVersion version = MatchVersion::tiled);

/// 1 where best_iou >= foreground and the image has objects, 0 where it is in [background_low,
/// background_high), else -1. Compared as double.
template <Backend backend, typename T>
void region_labels(Stream stream, const RegionLabelParams& params, const MatchBatch& batch,
                   const T* best_iou,  // (images, count)
                   int32_t* labels);   // (images, count)

}  // namespace gpu
}  // namespace frcnn::kernels
