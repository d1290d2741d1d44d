#pragma once

#include <cstdint>
#include <vector>

#include "model/faster_rcnn.h"

namespace frcnn {

/// Where the proposal of an anchor ended.
enum class ProposalEnd : uint8_t {
  too_small,   ///< a side below rpn.test.min_size
  pre_nms,     ///< not among the rpn.test.pre_nms best
  suppressed,  ///< by a better one that overlaps it by more than rpn.test.nms_iou
  post_nms,    ///< survived, but not among the rpn.test.post_nms best
  kept,        ///< became a RoI
};

/// The way of one anchor through the proposal layer.
struct ProposalTrace {
  Box box;          ///< decoded and clipped, pixels of the input
  float score = 0;  ///< objectness as a probability
  ProposalEnd end = ProposalEnd::pre_nms;
  int64_t rank = -1;      ///< place by objectness, 0 the best; -1: too small to be ranked
  int64_t survivor = -1;  ///< place among those that suppression leaves, 0 the best; -1: not one
  int64_t roi = -1;       ///< kept: its row of the RoIs
};

/// Where the box of one class of a RoI ended.
enum class DetectionEnd : uint8_t {
  score,           ///< probability not above test.score
  too_small,       ///< a side below test.min_size
  suppressed,      ///< by a better one of its class that overlaps it by more than test.nms_iou
  max_detections,  ///< survived, but not among the test.max_detections best
  detected,
};

/// What the head made of one RoI for one class.
struct DetectionTrace {
  Box box;          ///< decoded and clipped, pixels of the input
  float score = 0;  ///< probability of the class
  DetectionEnd end = DetectionEnd::score;
  int64_t survivor = -1;   ///< place among those that suppression leaves, 0 the best; -1: not one
  int64_t detection = -1;  ///< detected: its place in `detections`
};

/// Which kept box suppressed another.
struct Suppression {
  int64_t by = -1;  ///< anchor, or row of `boxes`; -1: nobody
  float iou = 0;
};

/// The whole way from anchors to detections of one image.
struct InferenceTrace {
  int64_t classes = 0;
  std::vector<Box> anchors;
  std::vector<ProposalTrace> proposals;  ///< one per anchor
  std::vector<int64_t> survivors;        ///< anchors that the RPN's suppression leaves, best first
  std::vector<Box> rois;
  std::vector<int64_t> roi_anchors;      ///< the anchor that each RoI comes from
  std::vector<float> probabilities;      ///< (R, K + 1), background first
  std::vector<DetectionTrace> boxes;     ///< (R, K): row roi * K + label
  std::vector<int64_t> final_survivors;  ///< rows of `boxes` that the last suppression leaves
  std::vector<ScoredBox> detections;     ///< those of detect(), best first
  std::vector<int64_t> sources;          ///< the row of `boxes` that each detection is
  double rpn_nms_iou = 0, nms_iou = 0;

  float probability(int64_t roi, int64_t column) const {
    return probabilities[static_cast<size_t>(roi * (classes + 1) + column)];
  }
  /// Who suppressed an anchor's proposal, a row of `boxes`: the first that did.
  Suppression proposal_suppressor(int64_t anchor) const;
  Suppression detection_suppressor(int64_t row) const;
};

/// Repeats the steps between the parts of the network with the same kernels, without the limits at
/// which they stop, so that it is known where each box would have come. `config` is the model's.
/// Throws Error unless the RoIs and the detections are exactly the record's, or where the record
/// has no proposals of an RPN, is not of one image, or not float32.
InferenceTrace trace_inference(const InferenceRecord& record, const InputSize& size,
                               const ModelConfig& config, int64_t classes);

}  // namespace frcnn
