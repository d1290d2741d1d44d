#include "apps/why_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/terminal.h"
#include "data/show.h"

namespace frcnn::apps {
namespace {

using Json = nlohmann::ordered_json;

std::string class_of(int label, const std::vector<std::string>& classes) {
  return label < 0 ? "background" : classes.at(static_cast<size_t>(label));
}

std::string place_of(const Box& input_box, const Sample& sample) {
  const Box b = to_picture(input_box, sample);
  return fmt::format("({:.0f} {:.0f} {:.0f} {:.0f})", b.x1, b.y1, b.x2, b.y2);
}

const char* name_of_end(ProposalEnd end) {
  switch (end) {
    case ProposalEnd::too_small:
      return "too small";
    case ProposalEnd::pre_nms:
      return "cut before suppression";
    case ProposalEnd::suppressed:
      return "suppressed";
    case ProposalEnd::post_nms:
      return "cut after suppression";
    case ProposalEnd::kept:
      break;
  }
  return "kept";
}

const char* name_of_end(DetectionEnd end) {
  switch (end) {
    case DetectionEnd::score:
      return "below the threshold";
    case DetectionEnd::too_small:
      return "too small";
    case DetectionEnd::suppressed:
      return "suppressed";
    case DetectionEnd::max_detections:
      return "cut";
    case DetectionEnd::detected:
      break;
  }
  return "detected";
}

const char* label_text(int label) {
  return label > 0 ? "positive" : label == 0 ? "negative" : "ignored";
}

std::string missed_text(const MissedObject& m, const ExplainedPicture& p,
                        const std::vector<std::string>& classes) {
  const auto at = static_cast<size_t>(m.object);
  const int label = p.truth.objects.labels[at];
  std::string text = fmt::format(
      "  missed {} at {}: lost at {}: {}\n"
      "    anchors   best IoU {:.2f}; {} trained to be it\n",
      class_of(label, classes), place_of(p.truth.objects.boxes[at], p.picture.sample),
      name_of(m.stage), m.sentence, m.anchors.best_iou, m.anchors.positives);
  if (m.anchor >= 0)
    text += fmt::format(
        "    proposal  of anchor {} (IoU {:.2f}, {} in training): objectness {:.3f}, {}, IoU "
        "{:.2f}, {}\n",
        m.anchor, m.anchor_iou, label_text(m.anchor_label), m.objectness,
        m.rank < 0 ? std::string("not ranked") : fmt::format("rank {}", m.rank + 1), m.proposal_iou,
        name_of_end(m.proposal_end));
  if (m.proposal_suppressor.by >= 0)
    text += fmt::format("              by that of anchor {} (objectness {:.3f}) with IoU {:.2f}\n",
                        m.proposal_suppressor.by,
                        p.trace.proposals[static_cast<size_t>(m.proposal_suppressor.by)].score,
                        m.proposal_suppressor.iou);
  if (m.roi >= 0)
    text += fmt::format(
        "    RoI       {} with IoU {:.2f}: {} {:.3f}, background {:.3f}, most probable {} {:.3f}\n"
        "    box       IoU {:.2f}, {}\n",
        m.roi, m.roi_iou, class_of(label, classes), m.probability, m.background,
        class_of(m.winner, classes), m.winner_probability, m.final_iou,
        name_of_end(m.detection_end));
  return text;
}

std::string wrong_text(const FalseDetection& w, const ExplainedPicture& p,
                       const std::vector<std::string>& classes) {
  const ScoredBox& found = p.trace.detections[static_cast<size_t>(w.detection)];
  std::string text =
      fmt::format("  false {} {:.3f} at {}: {}: {}\n", class_of(found.label, classes), found.score,
                  place_of(found.box, p.picture.sample), name_of(w.kind), w.sentence);
  if (w.nearest >= 0)
    text += fmt::format(
        "    nearest   {} at {}, IoU {:.2f}\n",
        class_of(p.truth.objects.labels[static_cast<size_t>(w.nearest)], classes),
        place_of(p.truth.objects.boxes[static_cast<size_t>(w.nearest)], p.picture.sample),
        w.nearest_iou);
  text += fmt::format("    RoI       {} of anchor {}, objectness {:.3f}; background {:.3f}", w.roi,
                      w.anchor, w.objectness, w.background);
  if (w.second >= 0)
    text +=
        fmt::format(", next class {} {:.3f}", class_of(w.second, classes), w.second_probability);
  return text + "\n";
}

Json box_json(const Box& input_box, const Sample& sample) {
  const Box b = to_picture(input_box, sample);
  return Json::array({b.x1, b.y1, b.x2, b.y2});
}

Json missed_json(const MissedObject& m, const ExplainedPicture& p,
                 const std::vector<std::string>& classes) {
  const auto at = static_cast<size_t>(m.object);
  Json out = {{"class", class_of(p.truth.objects.labels[at], classes)},
              {"box", box_json(p.truth.objects.boxes[at], p.picture.sample)},
              {"stage", name_of(m.stage)},
              {"sentence", m.sentence},
              {"anchors", {{"best_iou", m.anchors.best_iou}, {"positives", m.anchors.positives}}}};
  if (m.anchor >= 0) {
    out["proposal"] = {{"anchor", m.anchor},
                       {"anchor_iou", m.anchor_iou},
                       {"label", label_text(m.anchor_label)},
                       {"objectness", m.objectness},
                       {"rank", m.rank},
                       {"iou", m.proposal_iou},
                       {"end", name_of_end(m.proposal_end)}};
    if (m.proposal_suppressor.by >= 0)
      out["proposal"]["suppressor"] = {{"anchor", m.proposal_suppressor.by},
                                       {"iou", m.proposal_suppressor.iou}};
  }
  if (m.roi >= 0) {
    out["roi"] = {{"number", m.roi},
                  {"iou", m.roi_iou},
                  {"probability", m.probability},
                  {"background", m.background},
                  {"most_probable", class_of(m.winner, classes)},
                  {"its_probability", m.winner_probability},
                  {"final_iou", m.final_iou},
                  {"end", name_of_end(m.detection_end)}};
    if (m.suppressor.by >= 0)
      out["roi"]["suppressor"] = {{"roi", m.suppressor.by / p.trace.classes},
                                  {"iou", m.suppressor.iou}};
  }
  return out;
}

Json wrong_json(const FalseDetection& w, const ExplainedPicture& p,
                const std::vector<std::string>& classes) {
  const ScoredBox& found = p.trace.detections[static_cast<size_t>(w.detection)];
  Json out = {{"class", class_of(found.label, classes)},
              {"score", found.score},
              {"box", box_json(found.box, p.picture.sample)},
              {"kind", name_of(w.kind)},
              {"sentence", w.sentence},
              {"roi", w.roi},
              {"anchor", w.anchor},
              {"objectness", w.objectness},
              {"background", w.background},
              {"second", class_of(w.second, classes)},
              {"second_probability", w.second_probability}};
  if (w.nearest >= 0)
    out["nearest"] = {
        {"class", class_of(p.truth.objects.labels[static_cast<size_t>(w.nearest)], classes)},
        {"iou", w.nearest_iou},
        {"box", box_json(p.truth.objects.boxes[static_cast<size_t>(w.nearest)], p.picture.sample)}};
  return out;
}

}  // namespace

void WhySummary::add(const ExplainedPicture& p) {
  const PictureExplanation& e = p.explanation;
  ++pictures;
  for (size_t i = 0; i < e.found_by.size(); ++i) {
    if (p.truth.difficult[i]) continue;
    ++objects;
    found += e.found_by[i] >= 0;
  }
  right += e.right;
  not_judged += e.not_judged;
  for (const MissedObject& m : e.missed) ++lost[static_cast<size_t>(m.stage)];
  for (const FalseDetection& w : e.wrong) ++wrong[static_cast<size_t>(w.kind)];
}

int64_t WhySummary::missed() const {
  return std::accumulate(lost.begin(), lost.end(), int64_t{0});
}

int64_t WhySummary::false_detections() const {
  return std::accumulate(wrong.begin(), wrong.end(), int64_t{0});
}

std::string why_text(const ExplainedPicture& p, const std::vector<std::string>& classes) {
  const PictureExplanation& e = p.explanation;
  std::string text = fmt::format("{}: {} right, {} missed, {} false\n", p.picture.id, e.right,
                                 e.missed.size(), e.wrong.size());
  for (const MissedObject& m : e.missed) text += missed_text(m, p, classes);
  for (const FalseDetection& w : e.wrong) text += wrong_text(w, p, classes);
  return text;
}

std::string summary_text(const WhySummary& s) {
  const auto share = [](int64_t part, int64_t all) {
    return all > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(all) : 0;
  };
  std::string text = fmt::format("{} pictures, {} objects: {} found, {} missed\n", s.pictures,
                                 s.objects, s.found, s.missed());
  for (size_t i = 0; i < s.lost.size(); ++i)
    if (s.lost[i] > 0)
      text += fmt::format("  lost at {} {:>6}  {:>5.1f} %\n",
                          padded(name_of(static_cast<LossStage>(i)), 14), s.lost[i],
                          share(s.lost[i], s.objects));
  text += fmt::format("detections: {} right, {} false{}\n", s.right, s.false_detections(),
                      s.not_judged > 0 ? fmt::format(", {} not judged", s.not_judged) : "");
  for (size_t i = 0; i < s.wrong.size(); ++i)
    if (s.wrong[i] > 0)
      text +=
          fmt::format("  {} {:>6}  {:>5.1f} %\n", padded(name_of(static_cast<FalseKind>(i)), 22),
                      s.wrong[i], share(s.wrong[i], s.right + s.false_detections()));
  return text;
}

std::string picture_json(const ExplainedPicture& p, const std::vector<std::string>& classes) {
  Json out = {{"image", p.picture.id},
              {"right", p.explanation.right},
              {"missed", Json::array()},
              {"false", Json::array()}};
  for (const MissedObject& m : p.explanation.missed)
    out["missed"].push_back(missed_json(m, p, classes));
  for (const FalseDetection& w : p.explanation.wrong)
    out["false"].push_back(wrong_json(w, p, classes));
  return out.dump();
}

std::string why_json(const std::vector<std::string>& pictures, const WhySummary& s) {
  Json lost = Json::object(), wrong = Json::object();
  for (size_t i = 0; i < s.lost.size(); ++i) lost[name_of(static_cast<LossStage>(i))] = s.lost[i];
  for (size_t i = 0; i < s.wrong.size(); ++i)
    wrong[name_of(static_cast<FalseKind>(i))] = s.wrong[i];
  const Json summary = {{"pictures", s.pictures}, {"objects", s.objects},      {"found", s.found},
                        {"missed", s.missed()},   {"lost_at", lost},           {"right", s.right},
                        {"false", wrong},         {"not_judged", s.not_judged}};
  std::string text = "{\"pictures\": [";
  for (size_t i = 0; i < pictures.size(); ++i) text += (i > 0 ? ",\n" : "\n") + pictures[i];
  return text + "\n],\n\"summary\": " + summary.dump() + "}\n";
}

Image why_picture(const ExplainedPicture& p, const std::vector<std::string>& classes) {
  const GroundTruth& objects = p.truth.objects;
  const PictureExplanation& e = p.explanation;
  BoxGroup found{"found objects", {{60, 200, 80}, 1}, {}, {}};
  BoxGroup difficult{"difficult objects", {{150, 150, 165}, 1, 1, 5}, {}, {}};
  BoxGroup missed{"missed objects, with the step that lost them", {{235, 60, 50}, 3}, {}, {}};
  BoxGroup nearest{
      "the proposal or box of each that came farthest", {{80, 160, 255}, 1, 1, 5}, {}, {}};
  BoxGroup rivals{"what suppressed it", {{240, 80, 230}, 1, 1, 2}, {}, {}};
  BoxGroup wrong{"false detections", {{250, 150, 30}, 2}, {}, {}};
  for (size_t i = 0; i < objects.boxes.size(); ++i)
    if (p.truth.difficult[i])
      difficult.boxes.push_back(objects.boxes[i]);
    else if (e.found_by[i] >= 0)
      found.boxes.push_back(objects.boxes[i]);
  for (const MissedObject& m : e.missed) {
    const auto at = static_cast<size_t>(m.object);
    missed.boxes.push_back(objects.boxes[at]);
    missed.texts.push_back(
        fmt::format("{}: {}", class_of(objects.labels[at], classes), name_of(m.stage)));
    if (m.roi >= 0)
      nearest.boxes.push_back(
          p.trace.boxes[static_cast<size_t>(m.roi * p.trace.classes + objects.labels[at])].box);
    else if (m.anchor >= 0)
      nearest.boxes.push_back(p.trace.proposals[static_cast<size_t>(m.anchor)].box);
    if (m.suppressor.by >= 0)
      rivals.boxes.push_back(p.trace.boxes[static_cast<size_t>(m.suppressor.by)].box);
    else if (m.roi < 0 && m.proposal_suppressor.by >= 0)
      rivals.boxes.push_back(p.trace.proposals[static_cast<size_t>(m.proposal_suppressor.by)].box);
  }
  for (const FalseDetection& w : e.wrong) {
    const ScoredBox& d = p.trace.detections[static_cast<size_t>(w.detection)];
    wrong.boxes.push_back(d.box);
    wrong.texts.push_back(
        fmt::format("{} {:.2f} {}", class_of(d.label, classes), d.score, name_of(w.kind)));
  }
  std::vector<BoxGroup> groups = {difficult, found, nearest, rivals, wrong, missed};
  std::erase_if(groups, [](const BoxGroup& g) { return g.boxes.empty(); });
  return groups_picture(p.picture.seen, groups,
                        fmt::format("{}: {} right, {} missed, {} false", p.picture.id, e.right,
                                    e.missed.size(), e.wrong.size()));
}

}  // namespace frcnn::apps
