#pragma once

#include <vector>

#include "kernels/random/philox.h"
#include "model/config.h"
#include "model/proposals.h"
#include "model/types.h"

namespace frcnn {

/// What the RPN should have answered, one row per anchor in the order (N, H, W, A).
struct RpnTargets {
  Tensor labels;          ///< (N*H*W*A) i32: 1 object, 0 background, -1 not sampled
  Tensor deltas;          ///< (N*H*W*A, 4): defined where the label is 1, else 0
  int64_t sampled = 0;    ///< labels that are not -1
  int64_t positives = 0;  ///< labels that are 1
};

/// Regions for the detection head and what it should answer.
struct RoiTargets {
  Tensor rois;    ///< (R, 5): batch index, x1, y1, x2, y2
  Tensor labels;  ///< (R) i32: 0 background, class k as k + 1
  Tensor deltas;  ///< (R, 4): normalised by roi.box_mean and roi.box_std; 0 for background
  int64_t foreground = 0;
  /// (R) i32: the row of the RPN's outputs that each region was made from, -1 for an object that
  /// was added. Undefined where the proposals have no sources.
  Tensor sources = {};
};

/// Labels anchors by IoU (paper, section 3.1.2), leaves out those across the border
/// (rpn.only_inside), and samples rpn.batch of them per image. `key.stream` is kStreamAnchorSample.
RpnTargets sample_anchors(const Tensor& anchors, const std::vector<InputSize>& sizes,
                          const std::vector<GroundTruth>& truth, const RpnConfig& config,
                          const kernels::RandomKey& key);

/// Adds the ground truth to the proposals (roi.append_ground_truth), labels them by IoU and samples
/// roi.batch per image: at most foreground_fraction with IoU >= foreground_iou, the rest with IoU
/// in [background_low, background_high). `key.stream` is kStreamRoiSample.
RoiTargets sample_rois(const Proposals& proposals, const std::vector<GroundTruth>& truth,
                       const RoiConfig& config, const kernels::RandomKey& key);

}  // namespace frcnn
