#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/types.h"

namespace frcnn {

/// How the anchors of a picture fit one object.
struct ObjectAnchors {
  int64_t best_anchor =
      -1;              ///< of those that training uses (rpn.only_inside); -1: none overlaps it
  float best_iou = 0;  ///< its IoU
  float best_iou_of_all = 0;  ///< with the anchors that cross the border, too
  int64_t positives = 0;      ///< anchors that are trained to be this object
};

/// Labels that training gives the anchors of one picture before it samples them.
struct AnchorMatches {
  std::vector<int32_t> labels;  ///< (anchors) 1 object, 0 background, -1 neither
  std::vector<uint8_t> used;    ///< (anchors) 0: crosses the border and rpn.only_inside is set
  std::vector<ObjectAnchors> objects;
  int64_t positives = 0, negatives = 0, ignored = 0, outside = 0;  ///< `ignored`: used, label -1
};

/// Matches anchors (count, 4) on the CPU with the objects of a picture as training does: the labels
/// are those of sample_anchors() with room for all of them.
AnchorMatches match_anchors(const Tensor& anchors, const InputSize& size, const GroundTruth& truth,
                            const RpnConfig& config);

}  // namespace frcnn
