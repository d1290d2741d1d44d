#pragma once

#include <vector>

#include "model/config.h"
#include "model/rpn.h"
#include "model/types.h"

namespace frcnn {

/// Proposals of a batch: at most `capacity` per image, best first.
struct Proposals {
  Tensor boxes;                 ///< (N, capacity, 4) pixels of the network's input
  Tensor scores;                ///< (N, capacity) objectness logits (object minus background)
  std::vector<int64_t> counts;  ///< how many of each image's rows are used
  /// (N, capacity) i32: the row of the RPN's outputs that each was made from, image * anchors +
  /// anchor. Undefined: nobody knows, as of proposals from a file.
  Tensor sources = {};
  /// The used boxes of all images as RoIs (R, 5): batch index, x1, y1, x2, y2.
  Tensor rois() const;
};

/// The proposal layer (paper, section 3.3): per image decodes the deltas of every anchor, clips to
/// the image, drops boxes with a side below min_size (in pixels of the original picture), keeps the
/// pre_nms best by objectness, suppresses non-maxima and keeps the post_nms best. Proposals carry
/// no gradient themselves; with their sources, proposal_decode() (engine/ops/boxes.h) makes boxes
/// that do.
Proposals make_proposals(const RpnOutput& output, const Tensor& anchors,
                         const std::vector<InputSize>& sizes, const RpnConfig& rpn,
                         const ProposalConfig& limits);

/// Regions that are given instead of made, as proposals: `regions[i]` are those of image i. There
/// is room for `capacity` per image, or for the longest list. Scores are 0.
Proposals given_proposals(const std::vector<std::vector<Box>>& regions, DType dtype,
                          int64_t capacity = 0);

}  // namespace frcnn
