#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/evaluate.h"

namespace frcnn {

struct BootstrapOptions {
  int resamples = 1000;
  uint64_t seed = 1;
  double level = 0.95;  ///< share of the resamples in an interval
};

/// A metric, and the interval in which the middle `level` of the resamples' values lie.
struct Interval {
  std::string name;
  double value = 0, low = 0, high = 0;  ///< NaN where the metric is not defined
};

struct BootstrapResult {
  BootstrapOptions options;
  int64_t pictures = 0;
  Interval map_area, map_11point;  ///< VOC metrics at the IoU limit of `result`
  Interval coco_ap, coco_ap50;     ///< COCO metrics AP and AP50
  std::vector<Interval> classes;   ///< area AP of every class
};

/// Percentile bootstrap over pictures (Efron and Tibshirani, "An Introduction to the Bootstrap",
/// 1993, chapter 13): every resample draws as many pictures as there are, with replacement, and
/// computes the metrics of those; the interval's ends are quantiles (1 - level) / 2 and
/// (1 + level) / 2, interpolated linearly. What detections match does not depend on the draw, so
/// nothing is matched again. Resamples without an object of a class leave that class out. The draw
/// depends on the seed alone. `result` is evaluate_voc()'s of the same detections. Throws Error
/// unless resamples > 1, 0 < level < 1 and there is a picture.
BootstrapResult bootstrap(const Dataset& truth, const std::vector<Detection>& detections,
                          const EvaluationResult& result, const BootstrapOptions& options = {});

}  // namespace frcnn
