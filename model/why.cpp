#include "model/why.h"

#include <algorithm>
#include <cmath>

#include "model/why_sentences.h"

namespace frcnn {
namespace {

/// Matches detections, best first, with the objects of their classes.
void judge(const InferenceTrace& trace, const JudgedTruth& truth, PictureExplanation& out,
           std::vector<int64_t>& wrong) {
  const GroundTruth& objects = truth.objects;
  out.found_by.assign(objects.boxes.size(), -1);
  for (size_t d = 0; d < trace.detections.size(); ++d) {
    const ScoredBox& found = trace.detections[d];
    int64_t best = -1;
    float best_iou = 0;
    for (size_t i = 0; i < objects.boxes.size(); ++i) {
      if (objects.labels[i] != found.label) continue;
      const float overlap = iou(found.box, objects.boxes[i]);
      if (overlap > best_iou) best = static_cast<int64_t>(i), best_iou = overlap;
    }
    const bool hits = best >= 0 && static_cast<double>(best_iou) >= out.limit;
    const bool counts = !hits || !truth.difficult[static_cast<size_t>(best)];
    if (hits && out.found_by[static_cast<size_t>(best)] < 0)
      out.found_by[static_cast<size_t>(best)] = static_cast<int64_t>(d);
    else if (counts)
      wrong.push_back(static_cast<int64_t>(d));
    if (!counts) ++out.not_judged;
    if (hits && counts && out.found_by[static_cast<size_t>(best)] == static_cast<int64_t>(d))
      ++out.right;
  }
}

/// Whether at least `limit` of the detection lies in a crowd region of its class.
bool in_crowd(const ScoredBox& found, const GroundTruth& crowds, double limit) {
  for (size_t i = 0; i < crowds.boxes.size(); ++i) {
    const Box& c = crowds.boxes[i];
    const float w = std::min(c.x2, found.box.x2) - std::max(c.x1, found.box.x1);
    const float h = std::min(c.y2, found.box.y2) - std::max(c.y1, found.box.y1);
    if (crowds.labels[i] == found.label && w > 0 && h > 0 &&
        static_cast<double>(w * h) >= limit * static_cast<double>(found.box.area()))
      return true;
  }
  return false;
}

/// How far a proposal came; the order of the two filters is rpn.size_filter's.
int progress(ProposalEnd end, bool size_first) {
  switch (end) {
    case ProposalEnd::too_small:
      return size_first ? 0 : 1;
    case ProposalEnd::pre_nms:
      return size_first ? 1 : 0;
    default:
      return static_cast<int>(end);
  }
}

LossStage stage_of(ProposalEnd end) {
  switch (end) {
    case ProposalEnd::too_small:
      return LossStage::rpn_min_size;
    case ProposalEnd::pre_nms:
      return LossStage::pre_nms;
    case ProposalEnd::suppressed:
      return LossStage::rpn_nms;
    case ProposalEnd::post_nms:
      return LossStage::post_nms;
    case ProposalEnd::kept:
      break;
  }
  return LossStage::head_boxes;
}

LossStage stage_of(DetectionEnd end) {
  switch (end) {
    case DetectionEnd::score:
      return LossStage::score;
    case DetectionEnd::too_small:
      return LossStage::min_size;
    case DetectionEnd::suppressed:
      return LossStage::nms;
    case DetectionEnd::max_detections:
      return LossStage::max_detections;
    case DetectionEnd::detected:
      break;
  }
  return LossStage::matching;
}

/// One missed object: what the trace says about it.
class Search {
 public:
  Search(const InferenceTrace& trace, const Box& box, int label, double limit)
      : trace_(trace), box_(box), label_(label), limit_(limit) {}

  void fill(MissedObject& out, const AnchorMatches& matches, bool size_first) const {
    const int64_t row = farthest_box();
    const int64_t roi = row >= 0 ? row / trace_.classes : best_roi();
    const int64_t anchor =
        roi >= 0 ? trace_.roi_anchors[static_cast<size_t>(roi)] : farthest_proposal(size_first);
    describe_anchor(out, anchor, matches);
    describe_roi(out, roi);
    if (row >= 0) {
      out.stage = stage_of(out.detection_end);
    } else if (roi >= 0) {
      out.stage = LossStage::head_boxes;
    } else if (reaches(out.proposal_iou)) {
      out.stage = stage_of(out.proposal_end);
    } else {
      out.stage = out.anchors.positives > 0 ? LossStage::rpn_boxes : LossStage::anchors;
    }
  }

 private:
  bool reaches(float overlap) const { return static_cast<double>(overlap) >= limit_; }

  /// The row of `boxes` of its class that reaches it and came farthest; the best score of these.
  int64_t farthest_box() const {
    int64_t best = -1;
    for (auto row = static_cast<int64_t>(label_); row < static_cast<int64_t>(trace_.boxes.size());
         row += trace_.classes) {
      const DetectionTrace& b = trace_.boxes[static_cast<size_t>(row)];
      if (!reaches(iou(b.box, box_))) continue;
      const DetectionTrace* other = best < 0 ? nullptr : &trace_.boxes[static_cast<size_t>(best)];
      if (!other || b.end > other->end || (b.end == other->end && b.score > other->score))
        best = row;
    }
    return best;
  }

  /// The RoI of the largest overlap, if it reaches.
  int64_t best_roi() const {
    int64_t best = -1;
    float best_iou = 0;
    for (size_t r = 0; r < trace_.rois.size(); ++r) {
      const float overlap = iou(trace_.rois[r], box_);
      if (reaches(overlap) && overlap > best_iou)
        best = static_cast<int64_t>(r), best_iou = overlap;
    }
    return best;
  }

  /// The anchor whose proposal reaches it and came farthest, of several the one with the highest
  /// objectness; where none reaches it, that of the best overlap.
  int64_t farthest_proposal(bool size_first) const {
    int64_t best = -1;
    float best_value = -1;
    int best_progress = -1;
    for (size_t i = 0; i < trace_.proposals.size(); ++i) {
      const ProposalTrace& p = trace_.proposals[i];
      const float overlap = iou(p.box, box_);
      const int came = reaches(overlap) ? progress(p.end, size_first) : -1;
      const float value = came < 0 ? overlap : p.score;
      if (came > best_progress || (came == best_progress && value > best_value))
        best = static_cast<int64_t>(i), best_value = value, best_progress = came;
    }
    return best;
  }

  void describe_anchor(MissedObject& out, int64_t anchor, const AnchorMatches& matches) const {
    if (anchor < 0) return;
    const auto at = static_cast<size_t>(anchor);
    const ProposalTrace& p = trace_.proposals[at];
    out.anchor = anchor;
    out.anchor_iou = iou(trace_.anchors[at], box_);
    out.anchor_label = matches.labels[at];
    out.objectness = p.score;
    out.rank = p.rank;
    out.proposal_iou = iou(p.box, box_);
    out.proposal_end = p.end;
    out.proposal_suppressor = trace_.proposal_suppressor(anchor);
  }

  void describe_roi(MissedObject& out, int64_t roi) const {
    if (roi < 0) return;
    const int64_t row = roi * trace_.classes + label_;
    const DetectionTrace& b = trace_.boxes[static_cast<size_t>(row)];
    out.roi = roi;
    out.roi_iou = iou(trace_.rois[static_cast<size_t>(roi)], box_);
    out.probability = b.score;
    out.background = trace_.probability(roi, 0);
    for (int64_t k = 0; k <= trace_.classes; ++k)
      if (trace_.probability(roi, k) > out.winner_probability)
        out.winner = static_cast<int>(k) - 1, out.winner_probability = trace_.probability(roi, k);
    out.final_iou = iou(b.box, box_);
    out.detection_end = b.end;
    out.suppressor = trace_.detection_suppressor(row);
  }

  const InferenceTrace& trace_;
  Box box_;
  int label_;
  double limit_;
};

FalseDetection describe_wrong(const InferenceTrace& trace, const JudgedTruth& truth,
                              int64_t detection, double limit) {
  constexpr double kNear = 0.1;  // TIDE (Bolya et al., ECCV 2020), section 2.2
  FalseDetection out;
  out.detection = detection;
  const ScoredBox& found = trace.detections[static_cast<size_t>(detection)];
  const GroundTruth& objects = truth.objects;
  for (size_t i = 0; i < objects.boxes.size(); ++i) {
    const float overlap = iou(found.box, objects.boxes[i]);
    if (overlap > out.nearest_iou) out.nearest = static_cast<int64_t>(i), out.nearest_iou = overlap;
    if (objects.labels[i] == found.label && overlap > out.nearest_of_class_iou)
      out.nearest_of_class = static_cast<int64_t>(i), out.nearest_of_class_iou = overlap;
  }
  const double of_class = out.nearest_of_class_iou, of_any = out.nearest_iou;
  if (of_class >= limit)
    out.kind = FalseKind::duplicate;
  else if (of_any >= limit)
    out.kind = FalseKind::confusion;
  else if (of_class >= kNear)
    out.kind = FalseKind::localisation;
  else if (of_any >= kNear)
    out.kind = FalseKind::both;
  const int64_t row = trace.sources[static_cast<size_t>(detection)];
  out.roi = row / trace.classes;
  out.anchor = trace.roi_anchors[static_cast<size_t>(out.roi)];
  out.objectness = trace.proposals[static_cast<size_t>(out.anchor)].score;
  if (out.nearest >= 0)
    out.roi_iou = iou(trace.rois[static_cast<size_t>(out.roi)],
                      objects.boxes[static_cast<size_t>(out.nearest)]);
  out.background = trace.probability(out.roi, 0);
  for (int64_t k = 0; k <= trace.classes; ++k)
    if (k != found.label + 1 && trace.probability(out.roi, k) > out.second_probability)
      out.second = static_cast<int>(k) - 1, out.second_probability = trace.probability(out.roi, k);
  return out;
}

}  // namespace

const char* name_of(LossStage stage) {
  constexpr const char* kNames[kLossStages] = {
      "anchors",    "rpn_boxes", "rpn_min_size", "pre_nms", "rpn_nms",        "post_nms",
      "head_boxes", "score",     "min_size",     "nms",     "max_detections", "matching"};
  return kNames[static_cast<size_t>(stage)];
}

const char* name_of(FalseKind kind) {
  constexpr const char* kNames[kFalseKinds] = {"duplicate", "localisation", "confusion", "both",
                                               "background"};
  return kNames[static_cast<size_t>(kind)];
}

PictureExplanation explain_picture(const InferenceTrace& trace, const JudgedTruth& truth,
                                   const AnchorMatches& matches, const ModelConfig& config,
                                   const InputSize& size,
                                   const std::vector<std::string>& class_names, double limit) {
  const GroundTruth& objects = truth.objects;
  check(truth.difficult.size() == objects.boxes.size() &&
            matches.objects.size() == objects.boxes.size() &&
            matches.labels.size() == trace.anchors.size(),
        "[explain] expected marks and matches of {} objects and labels of {} anchors, got {}, {} "
        "and {}",
        objects.boxes.size(), trace.anchors.size(), truth.difficult.size(), matches.objects.size(),
        matches.labels.size());
  PictureExplanation out;
  out.limit = limit;
  std::vector<int64_t> wrong;
  judge(trace, truth, out, wrong);
  const WhyContext context{trace, truth, config, size, class_names, limit};
  for (size_t i = 0; i < objects.boxes.size(); ++i) {
    if (out.found_by[i] >= 0 || truth.difficult[i]) continue;
    MissedObject missed;
    missed.object = static_cast<int64_t>(i);
    missed.anchors = matches.objects[i];
    Search(trace, objects.boxes[i], objects.labels[i], limit)
        .fill(missed, matches, config.rpn.size_filter == "before");
    missed.sentence = sentence_of(missed, context);
    out.missed.push_back(std::move(missed));
  }
  for (const int64_t detection : wrong) {
    if (in_crowd(trace.detections[static_cast<size_t>(detection)], truth.crowds, limit)) {
      ++out.not_judged;
      continue;
    }
    FalseDetection entry = describe_wrong(trace, truth, detection, limit);
    entry.sentence = sentence_of(entry, context);
    out.wrong.push_back(std::move(entry));
  }
  return out;
}

}  // namespace frcnn
