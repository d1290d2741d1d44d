#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/roi_head.h"
#include "model/types.h"

namespace frcnn {

// The steps of select_detections(), which an explanation repeats with other limits. For T = float
// and double.

/// Class probabilities (R, K + 1) of the head's logits, by roi.class_loss.
template <typename T>
std::vector<T> class_probabilities(const RoiOutput& output, const RoiConfig& roi, int64_t classes);

/// Boxes of one image that passed the thresholds of score and size.
template <typename T>
struct DetectionCandidates {
  std::vector<T> boxes, scores;  ///< (n, 4) decoded and clipped, (n)
  std::vector<int32_t> labels;   ///< 0 .. K-1
  std::vector<int64_t> sources;  ///< roi * K + label
};

/// Decodes the boxes of every class for the RoIs [first, last) of one image and keeps those with a
/// score above test.score and sides of at least test.min_size original pixels.
template <typename T>
DetectionCandidates<T> detection_candidates(const T* probabilities,  // (R, K + 1)
                                            const T* deltas,         // as RoiOutput::deltas
                                            const T* rois,           // (R, 5)
                                            int64_t first, int64_t last, const InputSize& size,
                                            const RoiConfig& roi, const TestConfig& test,
                                            int64_t classes);

/// Non-maximum suppression per class: positions of at most `most` kept candidates, best first.
template <typename T>
std::vector<int64_t> kept_candidates(const DetectionCandidates<T>& found, double nms_iou,
                                     int64_t most);

}  // namespace frcnn
