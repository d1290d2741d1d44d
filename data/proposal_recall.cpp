#include "data/proposal_recall.h"

#include <algorithm>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

/// Share of `best` (greatest IoU of each object) that reaches a limit.
double share(const std::vector<float>& best, double limit) {
  const auto hits = std::count_if(best.begin(), best.end(),
                                  [limit](float iou) { return static_cast<double>(iou) >= limit; });
  return static_cast<double>(hits) / static_cast<double>(best.size());
}

}  // namespace

ProposalRecall evaluate_proposals(const Dataset& truth, const std::vector<std::vector<Box>>& boxes,
                                  const std::vector<int64_t>& counts) {
  check(boxes.size() == truth.images.size(),
        "[proposal recall] expected proposals of {} pictures, got {}", truth.images.size(),
        boxes.size());
  ProposalRecall out;
  // best[c]: of each object, the greatest IoU among the first counts[c] boxes.
  std::vector<std::vector<float>> best(counts.size());
  int64_t total = 0;
  for (size_t i = 0; i < boxes.size(); ++i) {
    total += static_cast<int64_t>(boxes[i].size());
    for (const Object& object : truth.images[i].objects) {
      if (object.difficult || object.crowd) continue;
      ++out.objects;
      for (size_t c = 0; c < counts.size(); ++c) {
        const size_t n = std::min(boxes[i].size(), static_cast<size_t>(counts[c]));
        float most = 0;
        for (size_t b = 0; b < n; ++b) most = std::max(most, iou(boxes[i][b], object.box));
        best[c].push_back(most);
      }
    }
  }
  if (!boxes.empty())
    out.boxes_per_picture = static_cast<double>(total) / static_cast<double>(boxes.size());
  for (size_t c = 0; c < counts.size(); ++c) {
    RecallAt at{counts[c], share(best[c], 0.5), share(best[c], 0.7), 0};
    for (int step = 0; step < 10; ++step) at.average += share(best[c], 0.5 + 0.05 * step) / 10;
    out.at.push_back(at);
  }
  return out;
}

ProposalRecall evaluate_recall(const Dataset& truth, const std::vector<Detection>& detections,
                               const std::vector<int64_t>& counts) {
  check_detections(truth, detections);
  std::vector<const Detection*> ranked;
  for (const Detection& d : detections) ranked.push_back(&d);
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const Detection* a, const Detection* b) { return a->score > b->score; });
  std::vector<std::vector<Box>> boxes(truth.images.size());
  for (const Detection* d : ranked) boxes[static_cast<size_t>(d->image)].push_back(d->box);
  return evaluate_proposals(truth, boxes, counts);
}

}  // namespace frcnn
