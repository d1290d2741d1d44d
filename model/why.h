#pragma once

#include <string>
#include <vector>

#include "model/anchor_matches.h"
#include "model/explain.h"

namespace frcnn {

/// Where an object was lost, in the order of the way from anchors to detections. The names that
/// stage_name() gives are those of the settings where one decides.
enum class LossStage : uint8_t {
  anchors,         ///< no anchor is trained to be it, and no proposal reaches it
  rpn_boxes,       ///< no anchor's decoded box reaches it, although some were trained to
  rpn_min_size,    ///< proposals reached it and were too small
  pre_nms,         ///< their objectness ranked too low
  rpn_nms,         ///< better proposals suppressed them
  post_nms,        ///< they survived suppression and were cut
  head_boxes,      ///< a RoI reached it, and the head's box does not
  score,           ///< the probability of its class is not above the threshold
  min_size,        ///< its boxes are too small
  nms,             ///< another detection of its class suppressed them
  max_detections,  ///< too many better detections
  matching,        ///< detected, but each detection counts for another object that it overlaps more
};
inline constexpr int kLossStages = static_cast<int>(LossStage::matching) + 1;
const char* name_of(LossStage stage);

/// Why a detection is none. Overlaps are those with objects that count.
enum class FalseKind : uint8_t {
  duplicate,     ///< of an object of its class that a better detection has found
  localisation,  ///< near an object of its class: IoU from 0.1 to the limit
  confusion,     ///< on an object of another class: IoU at least the limit
  both,          ///< near an object of another class
  background,    ///< near nothing
};
inline constexpr int kFalseKinds = static_cast<int>(FalseKind::background) + 1;
const char* name_of(FalseKind kind);

/// Objects of one picture, in pixels of the input.
struct JudgedTruth {
  GroundTruth objects;
  std::vector<uint8_t> difficult;  ///< 1: neither missed nor a false detection's fault
  GroundTruth crowds;              ///< regions within which detections are not judged
};

/// The way of one missed object. What lies behind the stage that lost it is that of the box that
/// came farthest; numbers are -1 where it did not come so far.
struct MissedObject {
  int64_t object = 0;  ///< position in JudgedTruth::objects
  LossStage stage = LossStage::anchors;
  std::string sentence;  ///< what lost it, with the setting that would change it
  ObjectAnchors anchors;
  int64_t anchor = -1;    ///< where the proposal that came farthest comes from
  float anchor_iou = -1;  ///< of the anchor itself
  int anchor_label = -1;  ///< 1, 0 or -1: what the anchor would be in training
  float objectness = -1;
  int64_t rank = -1;        ///< by objectness among all anchors, 0 the best
  float proposal_iou = -1;  ///< of its decoded box
  ProposalEnd proposal_end = ProposalEnd::pre_nms;
  Suppression proposal_suppressor;  ///< an anchor
  int64_t roi = -1;                 ///< the RoI that came farthest
  float roi_iou = -1;
  float probability = -1, background = -1;  ///< of its class and of background
  int winner = -1;                          ///< the most probable class, -1: background
  float winner_probability = -1;
  float final_iou = -1;  ///< of the head's box for its class
  DetectionEnd detection_end = DetectionEnd::score;
  Suppression suppressor;  ///< a row of InferenceTrace::boxes
};

/// One detection that is wrong.
struct FalseDetection {
  int64_t detection = 0;  ///< position in InferenceTrace::detections
  FalseKind kind = FalseKind::background;
  std::string sentence;
  int64_t nearest = -1;  ///< object of the largest overlap, of any class; -1: it overlaps none
  float nearest_iou = 0;
  int64_t nearest_of_class = -1;
  float nearest_of_class_iou = 0;
  int64_t roi = -1, anchor = -1;
  float objectness = -1, roi_iou = 0;  ///< `roi_iou` with the nearest object
  float background = -1;
  int second = -1;  ///< the next most probable class, -1: background
  float second_probability = -1;
};

/// What happened to the objects and detections of one picture.
struct PictureExplanation {
  double limit = 0.5;                ///< IoU from which a detection is right
  std::vector<int64_t> found_by;     ///< for each object its detection, -1: none
  std::vector<MissedObject> missed;  ///< difficult ones are not among them
  std::vector<FalseDetection> wrong;
  int64_t right = 0, not_judged = 0;  ///< detections; the latter on difficult objects and crowds
};

/// Judges the detections as evaluate_voc() (data/evaluate.h) does, and finds for each missed object
/// the first step that none of its boxes passed: boxes are its own where their IoU with it is at
/// least `limit`. `matches` are those of the same anchors with truth.objects.
PictureExplanation explain_picture(const InferenceTrace& trace, const JudgedTruth& truth,
                                   const AnchorMatches& matches, const ModelConfig& config,
                                   const InputSize& size,
                                   const std::vector<std::string>& class_names, double limit = 0.5);

}  // namespace frcnn
