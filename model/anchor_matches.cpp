#include "model/anchor_matches.h"

#include "engine/dispatch.h"
#include "kernels/boxes/anchors.h"
#include "kernels/boxes/iou_match.h"
#include "model/targets.h"

namespace frcnn {
namespace {

namespace cpu = kernels::cpu;

/// For each object the best of the anchors that are not skipped.
template <typename T>
void best_of_objects(const T* anchors, int64_t count, const std::vector<uint8_t>& used,
                     const std::vector<T>& objects, AnchorMatches& out) {
  std::vector<T> boxes;
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < count; ++i) {
    if (!used[static_cast<size_t>(i)]) continue;
    boxes.insert(boxes.end(), anchors + 4 * i, anchors + 4 * i + 4);
    numbers.push_back(i);
  }
  const size_t n = out.objects.size();
  std::vector<T> best(n), best_of_all(n);
  std::vector<int32_t> index(n), index_of_all(n);
  // The IoU is the same number whichever of the two boxes is called the object.
  cpu::iou_best<T>(static_cast<int64_t>(n), static_cast<int64_t>(numbers.size()), objects.data(),
                   boxes.data(), nullptr, best.data(), index.data(), nullptr);
  cpu::iou_best<T>(static_cast<int64_t>(n), count, objects.data(), anchors, nullptr,
                   best_of_all.data(), index_of_all.data(), nullptr);
  for (size_t i = 0; i < n; ++i) {
    ObjectAnchors& object = out.objects[i];
    if (index[i] >= 0 && best[i] > 0) {
      object.best_anchor = numbers[static_cast<size_t>(index[i])];
      object.best_iou = static_cast<float>(best[i]);
    }
    object.best_iou_of_all = index_of_all[i] < 0 ? 0 : static_cast<float>(best_of_all[i]);
  }
}

}  // namespace

AnchorMatches match_anchors(const Tensor& anchors, const InputSize& size, const GroundTruth& truth,
                            const RpnConfig& config) {
  const int64_t count = anchors.dim(0);
  check(count <= INT32_MAX, "[match_anchors] expected fewer than 2^31 anchors, got {}", count);
  AnchorMatches out;
  out.objects.resize(truth.boxes.size());
  RpnConfig all = config;
  all.batch = static_cast<int>(count);
  all.positive_fraction = 1;
  const RpnTargets targets = sample_anchors(anchors, {size}, {truth}, all, {});
  const auto labels = targets.labels.span<int32_t>();
  out.labels.assign(labels.begin(), labels.end());
  with_float(anchors.dtype(), "match_anchors", [&](auto t) {
    using T = decltype(t);
    const T* boxes = anchors.data<T>();
    out.used.assign(static_cast<size_t>(count), 1);
    if (config.only_inside)
      cpu::boxes_inside<T>(count, static_cast<double>(size.height), static_cast<double>(size.width),
                           boxes, out.used.data());
    std::vector<T> objects;
    for (const Box& b : truth.boxes)
      for (const float v : {b.x1, b.y1, b.x2, b.y2}) objects.push_back(static_cast<T>(v));
    best_of_objects<T>(boxes, count, out.used, objects, out);
    std::vector<T> best(static_cast<size_t>(count));
    std::vector<int32_t> index(static_cast<size_t>(count));
    cpu::iou_best<T>(count, static_cast<int64_t>(truth.boxes.size()), boxes, objects.data(),
                     nullptr, best.data(), index.data(), nullptr);
    for (size_t i = 0; i < out.labels.size(); ++i) {
      out.outside += !out.used[i];
      out.positives += out.labels[i] > 0;
      out.negatives += out.labels[i] == 0;
      out.ignored += out.used[i] && out.labels[i] < 0;
      if (out.labels[i] > 0) ++out.objects[static_cast<size_t>(index[i])].positives;
    }
  });
  return out;
}

}  // namespace frcnn
