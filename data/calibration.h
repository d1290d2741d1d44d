#pragma once

#include <cstdint>
#include <vector>

#include "data/evaluate.h"

namespace frcnn {

/// Detections whose score lies in [low, high); the last bin holds `high` too.
struct CalibrationBin {
  double low = 0, high = 0;
  int64_t count = 0;
  double mean_score = 0, precision = 0;  ///< NaN in an empty bin
};

struct CalibrationResult {
  double iou = 0.5;
  int64_t count = 0;
  std::vector<CalibrationBin> bins;
  /// Mean over the detections of |precision - mean score| of their bin; NaN without detections.
  double expected_error = 0;
  double largest_error = 0;  ///< of any bin that is not empty
};

/// How far scores are the probability to be right (reliability diagram and expected calibration
/// error, Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equations 2 to 5),
/// over the detections that the VOC metric counts, all classes together, in `bins` bins of equal
/// width. Scores below 0 or above 1 enter the first or last bin. Throws Error unless bins > 0.
CalibrationResult calibration(const EvaluationResult& result, int bins = 10);

}  // namespace frcnn
