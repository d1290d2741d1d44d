#include "model/why_sentences.h"

#include <cmath>

namespace frcnn {
namespace {

std::string class_of(int label, const WhyContext& c) {
  return label < 0 ? "background" : c.class_names.at(static_cast<size_t>(label));
}

/// Ranks are counted from 1 for readers.
std::string place(int64_t rank) {
  return fmt::format("rank {}", rank + 1);
}

std::string pixels_of(const Box& box, const WhyContext& c) {
  return fmt::format("{:.0f} x {:.0f} pixels of the picture", box.width() / c.size.scale_x,
                     box.height() / c.size.scale_y);
}

std::string shape_advice(const Box& box) {
  return fmt::format("anchors.sizes near {:.0f} and anchors.ratios near {:.2f} would fit it",
                     std::sqrt(box.area()), box.height() / box.width());
}

std::string anchors_sentence(const MissedObject& m, const Box& box, const WhyContext& c) {
  const RpnConfig& rpn = c.config.rpn;
  std::string reason;
  if (m.anchors.best_iou <= 0)
    reason = rpn.only_inside && m.anchors.best_iou_of_all > 0
                 ? fmt::format(
                       "only anchors across the border overlap it (IoU {:.2f}), which "
                       "rpn.only_inside = true leaves out of training",
                       m.anchors.best_iou_of_all)
                 : std::string("no anchor overlaps it");
  else if (rpn.match_best)
    reason =
        fmt::format("its best anchors (IoU {:.2f}) belong to other objects", m.anchors.best_iou);
  else
    reason = fmt::format(
        "its best anchor has IoU {:.2f}, below rpn.positive_iou = {:g}, and rpn.match_best = false",
        m.anchors.best_iou, rpn.positive_iou);
  return fmt::format("no anchor is trained to be it: {}; {}", reason, shape_advice(box));
}

std::string rpn_boxes_sentence(const MissedObject& m, const Box& box, const WhyContext& c) {
  return fmt::format(
      "no anchor's decoded box reaches IoU {:g} (best {:.2f}, its anchor {:.2f}): the RPN's box "
      "regression has not learned such objects; {}",
      c.limit, m.proposal_iou, m.anchor_iou,
      m.anchors.best_iou < c.config.rpn.positive_iou ? shape_advice(box)
                                                     : std::string("train longer"));
}

std::string rpn_nms_sentence(const MissedObject& m, const Box& box, const WhyContext& c) {
  const ProposalTrace& by = c.trace.proposals.at(static_cast<size_t>(m.proposal_suppressor.by));
  return fmt::format(
      "rpn.test.nms_iou = {:g}: a proposal of objectness {:.3f} that overlaps its best one with "
      "IoU "
      "{:.2f}, and the object with {:.2f}, suppressed it",
      c.config.rpn.test.nms_iou, by.score, m.proposal_suppressor.iou, iou(by.box, box));
}

std::string score_sentence(const MissedObject& m, int label, const WhyContext& c) {
  return fmt::format("test.score = {:g} cut it: p({}) = {:.3f}; {} has {:.3f}", c.config.test.score,
                     class_of(label, c), m.probability,
                     m.winner == label ? "background" : class_of(m.winner, c),
                     m.winner == label ? m.background : m.winner_probability);
}

std::string nms_sentence(const MissedObject& m, int label, const WhyContext& c) {
  const DetectionTrace& by = c.trace.boxes.at(static_cast<size_t>(m.suppressor.by));
  std::string whose = "no object's";
  for (size_t i = 0; i < c.truth.objects.boxes.size(); ++i)
    if (c.truth.objects.labels[i] == label &&
        static_cast<double>(iou(by.box, c.truth.objects.boxes[i])) >= c.limit)
      whose = static_cast<int64_t>(i) == m.object ? "its own" : "another object's";
  return fmt::format(
      "test.nms_iou = {:g}: a {} of score {:.3f} ({}) that overlaps it with IoU {:.2f} suppressed "
      "it (score {:.3f})",
      c.config.test.nms_iou, class_of(label, c), by.score, whose, m.suppressor.iou, m.probability);
}

}  // namespace

std::string sentence_of(const MissedObject& m, const WhyContext& c) {
  const auto at = static_cast<size_t>(m.object);
  const Box& box = c.truth.objects.boxes.at(at);
  const int label = c.truth.objects.labels.at(at);
  const ProposalConfig& limits = c.config.rpn.test;
  const ProposalTrace* proposal =
      m.anchor < 0 ? nullptr : &c.trace.proposals.at(static_cast<size_t>(m.anchor));
  const int64_t row = m.roi * c.trace.classes + label;
  switch (m.stage) {
    case LossStage::anchors:
      return anchors_sentence(m, box, c);
    case LossStage::rpn_boxes:
      return rpn_boxes_sentence(m, box, c);
    case LossStage::rpn_min_size:
      return fmt::format("rpn.test.min_size = {:g} cut it: its proposal is {}", limits.min_size,
                         pixels_of(proposal->box, c));
    case LossStage::pre_nms:
      return fmt::format("rpn.test.pre_nms = {} cut it at {} (objectness {:.4f})", limits.pre_nms,
                         place(m.rank), m.objectness);
    case LossStage::rpn_nms:
      return rpn_nms_sentence(m, box, c);
    case LossStage::post_nms:
      return fmt::format("rpn.test.post_nms = {} cut it at {} of those left (objectness {:.4f})",
                         limits.post_nms, place(proposal->survivor), m.objectness);
    case LossStage::head_boxes:
      return fmt::format(
          "the head's box moved away: IoU {:.2f} as RoI, {:.2f} as {} (p = {:.3f}); its regression "
          "has not learned such objects: train longer, or lower the IoU that counts as right",
          m.roi_iou, m.final_iou, class_of(label, c), m.probability);
    case LossStage::score:
      return score_sentence(m, label, c);
    case LossStage::min_size:
      return fmt::format("test.min_size = {:g} cut it: its box is {}", c.config.test.min_size,
                         pixels_of(c.trace.boxes.at(static_cast<size_t>(row)).box, c));
    case LossStage::nms:
      return nms_sentence(m, label, c);
    case LossStage::max_detections:
      return fmt::format("test.max_detections = {} cut it at {} (score {:.3f})",
                         c.config.test.max_detections,
                         place(c.trace.boxes.at(static_cast<size_t>(row)).survivor), m.probability);
    case LossStage::matching:
      break;
  }
  return fmt::format(
      "each {} found on it (best score {:.3f}, IoU {:.2f}) overlaps another object more and counts "
      "for that one; no setting changes this",
      class_of(label, c), m.probability, m.final_iou);
}

std::string sentence_of(const FalseDetection& w, const WhyContext& c) {
  const ScoredBox& found = c.trace.detections.at(static_cast<size_t>(w.detection));
  const std::string name = class_of(found.label, c);
  const auto object = [&](int64_t i) {
    return class_of(c.truth.objects.labels.at(static_cast<size_t>(i)), c);
  };
  switch (w.kind) {
    case FalseKind::duplicate:
      return fmt::format(
          "a second {} on an object that a better detection has found (IoU {:.2f}); a lower "
          "test.nms_iou than {:g} would suppress more of these",
          name, w.nearest_of_class_iou, c.config.test.nms_iou);
    case FalseKind::localisation:
      return fmt::format("its box misses the {}: IoU {:.2f}, {:g} is needed (its RoI {:.2f})", name,
                         w.nearest_of_class_iou, c.limit, w.roi_iou);
    case FalseKind::confusion:
      return fmt::format("the object is a {} (IoU {:.2f}), which got p = {:.3f}", object(w.nearest),
                         w.nearest_iou,
                         c.trace.probability(
                             w.roi, c.truth.objects.labels.at(static_cast<size_t>(w.nearest)) + 1));
    case FalseKind::both:
      return fmt::format("the nearest object is a {} with IoU {:.2f}: neither class nor place fit",
                         object(w.nearest), w.nearest_iou);
    case FalseKind::background:
      break;
  }
  return fmt::format(
      "no object is there (largest IoU {:.2f}); its proposal had objectness {:.3f}, background p = "
      "{:.3f}",
      w.nearest_iou, w.objectness, w.background);
}

}  // namespace frcnn
