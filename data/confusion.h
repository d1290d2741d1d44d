#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/evaluate.h"

namespace frcnn {

struct ConfusionOptions {
  double score = 0.5;  ///< least score of a detection that counts
  double iou = 0.5;    ///< least IoU of a detection and the object it belongs to
};

/// counts[true class][detected class]. The last row is the background: detections of no object; the
/// last column holds the objects without a detection. (K + 1, K + 1), corner 0.
struct ConfusionMatrix {
  ConfusionOptions options;
  std::vector<std::string> class_names;
  std::vector<std::vector<int64_t>> counts;
};

/// Pairs detections and objects of a picture whatever their classes, one to one, by falling IoU; of
/// equal IoUs a pair of one class goes first, then the greater score. Detections left over that
/// reach the IoU with a difficult object or lie by that share in a crowd are not counted. Throws
/// Error as evaluate_voc() does.
ConfusionMatrix confusion_matrix(const Dataset& truth, const std::vector<Detection>& detections,
                                 const ConfusionOptions& options = {});

}  // namespace frcnn
