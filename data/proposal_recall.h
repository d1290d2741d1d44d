#pragma once

#include <cstdint>
#include <vector>

#include "data/dataset.h"

namespace frcnn {

/// How well the best `proposals` boxes of every picture cover its objects.
struct RecallAt {
  int64_t proposals = 0;
  double recall50 = 0, recall70 = 0;  ///< share of objects with a box of IoU >= 0.5, >= 0.7
  /// Average recall (Hosang et al., 2016): mean of the recalls at IoU 0.5, 0.55 .. 0.95.
  double average = 0;
};

struct ProposalRecall {
  int64_t objects = 0;           ///< difficult ones are not counted
  double boxes_per_picture = 0;  ///< proposals there are, on average
  std::vector<RecallAt> at;      ///< NaN everywhere when there is no object
};

/// Recall of proposals: `boxes[i]` are those of truth.images[i] in pixels of the picture, best
/// first. Every object is compared with all boxes; one box may cover several objects. Throws Error
/// when the numbers of pictures differ.
ProposalRecall evaluate_proposals(const Dataset& truth, const std::vector<std::vector<Box>>& boxes,
                                  const std::vector<int64_t>& counts = {10, 50, 100, 300, 1000});

}  // namespace frcnn
