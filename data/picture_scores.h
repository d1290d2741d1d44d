#pragma once

#include <cstdint>
#include <vector>

#include "data/evaluate.h"

namespace frcnn {

/// How well one picture's detections fit its objects.
struct PictureScore {
  int64_t image = 0;
  int64_t right = 0, wrong = 0, missed = 0;  ///< detections, detections, objects
  double f1 = 0;                             ///< 2 right / (2 right + wrong + missed)
  std::vector<int64_t> right_detections;     ///< positions in the list given
  std::vector<int64_t> found_objects;        ///< positions in the picture's objects
};

/// The pictures with an object or a detection that counts, the best first (F1; of equal ones that
/// with more objects found, then with fewer mistakes, then the earlier one). Detections that score
/// at least `score` count and are matched as evaluate_voc() does. Throws Error as it does.
std::vector<PictureScore> picture_scores(const Dataset& truth,
                                         const std::vector<Detection>& detections,
                                         double score = 0.5, double least_iou = 0.5);

}  // namespace frcnn
