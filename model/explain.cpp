#include "model/explain.h"

#include <array>
#include <cmath>

#include "kernels/boxes/nms.h"
#include "kernels/boxes/topk.h"
#include "model/detection_candidates.h"
#include "model/proposal_ranking.h"

namespace frcnn {
namespace {

namespace cpu = kernels::cpu;

std::array<float, 4> numbers(const Box& b) {
  return {b.x1, b.y1, b.x2, b.y2};
}

Box box_at(const float* b) {
  return {b[0], b[1], b[2], b[3]};
}

/// Whether suppression drops `box` because of `better`: asked of the kernel itself.
bool suppresses(double threshold, const Box& better, const Box& box) {
  std::array<float, 8> pair{};
  const auto a = numbers(better), b = numbers(box);
  std::copy(a.begin(), a.end(), pair.begin());
  std::copy(b.begin(), b.end(), pair.begin() + 4);
  std::array<int64_t, 2> kept{};
  return cpu::nms_sorted<float>(2, threshold, 2, pair.data(), nullptr, kept.data()) == 1;
}

float probability_of(float logit) {
  return static_cast<float>(1 / (1 + std::exp(-static_cast<double>(logit))));
}

void trace_proposals(const InferenceRecord& record, const InputSize& size,
                     const ModelConfig& config, InferenceTrace& trace) {
  const ProposalConfig& limits = config.rpn.test;
  const RankedProposals<float> ranked =
      rank_proposals<float>(record.rpn, record.anchors, 0, size, config.rpn, limits);
  const auto count = static_cast<int64_t>(ranked.scores.size());
  for (int64_t i = 0; i < count; ++i) {
    trace.anchors.push_back(box_at(record.anchors.data<float>() + 4 * i));
    ProposalTrace proposal;
    proposal.box = box_at(ranked.boxes.data() + 4 * i);
    proposal.score = probability_of(ranked.scores[static_cast<size_t>(i)]);
    trace.proposals.push_back(proposal);
  }
  const bool before = config.rpn.size_filter == "before";
  std::vector<int64_t> all(static_cast<size_t>(count));
  all.resize(static_cast<size_t>(cpu::top_k<float>(
      count, count, ranked.scores.data(), before ? ranked.large.data() : nullptr, all.data())));
  for (size_t rank = 0; rank < all.size(); ++rank)
    trace.proposals[static_cast<size_t>(all[rank])].rank = static_cast<int64_t>(rank);
  for (size_t i = 0; i < trace.proposals.size(); ++i) {
    ProposalTrace& p = trace.proposals[i];
    const bool cut = p.rank >= limits.pre_nms;
    p.end = !ranked.large[i] && (before || !cut) ? ProposalEnd::too_small : ProposalEnd::pre_nms;
  }
  std::vector<float> sorted;
  for (const int64_t anchor : ranked.order) {
    trace.proposals[static_cast<size_t>(anchor)].end = ProposalEnd::suppressed;
    sorted.insert(sorted.end(), ranked.boxes.begin() + 4 * anchor,
                  ranked.boxes.begin() + 4 * anchor + 4);
  }
  const auto candidates = static_cast<int64_t>(ranked.order.size());
  std::vector<int64_t> kept(ranked.order.size());
  const int64_t n = cpu::nms_sorted<float>(candidates, limits.nms_iou, candidates, sorted.data(),
                                           nullptr, kept.data());
  for (int64_t i = 0; i < n; ++i) {
    const int64_t anchor = ranked.order[static_cast<size_t>(kept[static_cast<size_t>(i)])];
    ProposalTrace& p = trace.proposals[static_cast<size_t>(anchor)];
    trace.survivors.push_back(anchor);
    p.survivor = i;
    p.end = i < limits.post_nms ? ProposalEnd::kept : ProposalEnd::post_nms;
    if (p.end == ProposalEnd::kept) p.roi = i;
  }
}

/// The record's RoIs, which must be the survivors of the trace.
void take_rois(const InferenceRecord& record, InferenceTrace& trace) {
  const int64_t rois = record.rois.dim(0);
  const int32_t* sources = record.proposals.sources.data<int32_t>();
  bool same = rois <= static_cast<int64_t>(trace.survivors.size());
  for (int64_t r = 0; same && r < rois; ++r) {
    const float* row = record.rois.data<float>() + 5 * r;
    const int64_t anchor = trace.survivors[static_cast<size_t>(r)];
    same =
        sources[r] == anchor && box_at(row + 1) == trace.proposals[static_cast<size_t>(anchor)].box;
    trace.rois.push_back(box_at(row + 1));
    trace.roi_anchors.push_back(anchor);
  }
  for (const ProposalTrace& p : trace.proposals) same = same && p.roi < rois;
  check(same, "[explain] the traced proposals are not those that were recorded");
}

void trace_detections(const InferenceRecord& record, const InputSize& size,
                      const ModelConfig& config, InferenceTrace& trace) {
  const auto rois = static_cast<int64_t>(trace.rois.size());
  const auto made = [&](const TestConfig& test) {
    return detection_candidates<float>(trace.probabilities.data(), record.roi.deltas.data<float>(),
                                       record.rois.data<float>(), 0, rois, size, config.roi, test,
                                       trace.classes);
  };
  trace.probabilities = class_probabilities<float>(record.roi, config.roi, trace.classes);
  trace.boxes.resize(static_cast<size_t>(rois * trace.classes));
  TestConfig all = config.test;
  all.score = -1;
  all.min_size = 0;
  const DetectionCandidates<float> every = made(all);
  for (size_t i = 0; i < every.scores.size(); ++i) {
    DetectionTrace& box = trace.boxes[static_cast<size_t>(every.sources[i])];
    box.box = box_at(every.boxes.data() + 4 * i);
    box.score = every.scores[i];
    box.end = static_cast<double>(box.score) > config.test.score ? DetectionEnd::too_small
                                                                 : DetectionEnd::score;
  }
  const DetectionCandidates<float> passed = made(config.test);
  for (const int64_t row : passed.sources)
    trace.boxes[static_cast<size_t>(row)].end = DetectionEnd::suppressed;
  for (const int64_t at :
       kept_candidates(passed, config.test.nms_iou, static_cast<int64_t>(passed.scores.size()))) {
    const int64_t row = passed.sources[static_cast<size_t>(at)];
    DetectionTrace& box = trace.boxes[static_cast<size_t>(row)];
    box.survivor = static_cast<int64_t>(trace.final_survivors.size());
    box.end = DetectionEnd::max_detections;
    if (box.survivor < config.test.max_detections) {
      box.end = DetectionEnd::detected;
      box.detection = box.survivor;
      trace.sources.push_back(row);
    }
    trace.final_survivors.push_back(row);
  }
  bool same = trace.sources.size() == record.detections.size();
  for (size_t i = 0; same && i < trace.sources.size(); ++i) {
    const DetectionTrace& box = trace.boxes[static_cast<size_t>(trace.sources[i])];
    const ScoredBox& found = record.detections[i];
    same = box.box == found.box && box.score == found.score &&
           found.label == trace.sources[i] % trace.classes;
  }
  check(same, "[explain] the traced detections are not those that were recorded");
  trace.detections = record.detections;
}

}  // namespace

Suppression InferenceTrace::proposal_suppressor(int64_t anchor) const {
  const ProposalTrace& p = proposals.at(static_cast<size_t>(anchor));
  if (p.end != ProposalEnd::suppressed) return {};
  for (const int64_t better : survivors) {
    const ProposalTrace& other = proposals[static_cast<size_t>(better)];
    if (other.rank > p.rank) break;
    if (suppresses(rpn_nms_iou, other.box, p.box)) return {better, iou(other.box, p.box)};
  }
  return {};
}

Suppression InferenceTrace::detection_suppressor(int64_t row) const {
  const DetectionTrace& box = boxes.at(static_cast<size_t>(row));
  if (box.end != DetectionEnd::suppressed) return {};
  for (const int64_t better : final_survivors) {
    const DetectionTrace& other = boxes[static_cast<size_t>(better)];
    if (better % classes == row % classes && suppresses(nms_iou, other.box, box.box))
      return {better, iou(other.box, box.box)};
  }
  return {};
}

InferenceTrace trace_inference(const InferenceRecord& record, const InputSize& size,
                               const ModelConfig& config, int64_t classes) {
  check(record.rpn.logits && record.proposals.sources && record.proposals.counts.size() == 1,
        "[explain] expected the record of one image with proposals of an RPN");
  check(record.rois.dtype() == DType::f32, "[explain] expected float32, got {}",
        name_of(record.rois.dtype()));
  InferenceTrace trace;
  trace.classes = classes;
  trace.rpn_nms_iou = config.rpn.test.nms_iou;
  trace.nms_iou = config.test.nms_iou;
  trace_proposals(record, size, config, trace);
  take_rois(record, trace);
  trace_detections(record, size, config, trace);
  return trace;
}

}  // namespace frcnn
