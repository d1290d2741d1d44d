#pragma once

#include <cstdint>
#include <vector>

#include "data/dataset.h"
#include "data/evaluate.h"

namespace frcnn {

/// How well the best `proposals` boxes of every picture cover its objects.
struct RecallAt {
  int64_t proposals = 0;
  double recall50 = 0, recall70 = 0;  ///< share of objects with a box of IoU >= 0.5, >= 0.7
  /// Average recall (Hosang et al., 2016): mean of the recalls at IoU 0.5, 0.55 .. 0.95.
  double average = 0;
};

struct ProposalRecall {
  int64_t objects = 0;           ///< difficult ones and crowds are not counted
  double boxes_per_picture = 0;  ///< proposals there are, on average
  std::vector<RecallAt> at;      ///< NaN everywhere when there is no object
};

/// Recall of proposals: `boxes[i]` are those of truth.images[i] in pixels of the picture, best
/// first. Every object is compared with all boxes; one box may cover several objects. Throws Error
/// when the numbers of pictures differ.
ProposalRecall evaluate_proposals(const Dataset& truth, const std::vector<std::vector<Box>>& boxes,
                                  const std::vector<int64_t>& counts = {10, 50, 100, 300, 1000});

/// AR@N of detections: the same with the boxes of every picture, whatever their class, by falling
/// score. Throws Error as evaluate_voc() does.
ProposalRecall evaluate_recall(const Dataset& truth, const std::vector<Detection>& detections,
                               const std::vector<int64_t>& counts = {1, 10, 100});

}  // namespace frcnn
