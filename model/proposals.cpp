#include "model/proposals.h"

#include <algorithm>

#include "engine/dispatch.h"
#include "kernels/boxes/codec.h"
#include "kernels/boxes/nms.h"
#include "kernels/boxes/topk.h"
#include "model/proposal_ranking.h"

namespace frcnn {
namespace {

/// Objectness as one logit per anchor: the object's minus the background's, whose sigmoid is the
/// softmax.
template <typename T>
std::vector<T> objectness(const Tensor& logits, int64_t first, int64_t count) {
  const int64_t columns = logits.dim(1);
  const T* x = logits.data<T>() + first * columns;
  std::vector<T> scores(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    scores[static_cast<size_t>(i)] = columns == 2 ? x[2 * i + 1] - x[2 * i] : x[i];
  return scores;
}

/// Copies the boxes named by `indices`, four numbers each.
template <typename T>
std::vector<T> gather(const T* boxes, const std::vector<int64_t>& indices) {
  std::vector<T> out;
  out.reserve(indices.size() * 4);
  for (const int64_t i : indices) out.insert(out.end(), boxes + 4 * i, boxes + 4 * i + 4);
  return out;
}

/// Proposals of one image into row `image` of `out`.
template <typename T>
void propose_image(const RpnOutput& output, const Tensor& anchors, int64_t image,
                   const InputSize& size, const RpnConfig& rpn, const ProposalConfig& limits,
                   Proposals& out) {
  namespace cpu = kernels::cpu;
  const int64_t first = image * anchors.dim(0);
  const auto [scores, boxes, large, order] =
      rank_proposals<T>(output, anchors, image, size, rpn, limits);
  const std::vector<T> sorted = gather(boxes.data(), order);
  const auto candidates = static_cast<int64_t>(order.size());
  std::vector<int64_t> kept(static_cast<size_t>(std::min<int64_t>(limits.post_nms, candidates)));
  const int64_t n = cpu::nms_sorted<T>(candidates, limits.nms_iou, limits.post_nms, sorted.data(),
                                       nullptr, kept.data());
  T* out_boxes = out.boxes.data<T>() + image * limits.post_nms * 4;
  T* out_scores = out.scores.data<T>() + image * limits.post_nms;
  int32_t* out_sources = out.sources.data<int32_t>() + image * limits.post_nms;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t at = kept[static_cast<size_t>(i)], anchor = order[static_cast<size_t>(at)];
    std::copy_n(sorted.data() + 4 * at, 4, out_boxes + 4 * i);
    out_scores[i] = scores[static_cast<size_t>(anchor)];
    out_sources[i] = static_cast<int32_t>(first + anchor);
  }
  out.counts[static_cast<size_t>(image)] = n;
}

}  // namespace

template <typename T>
RankedProposals<T> rank_proposals(const RpnOutput& output, const Tensor& anchors, int64_t image,
                                  const InputSize& size, const RpnConfig& rpn,
                                  const ProposalConfig& limits) {
  namespace cpu = kernels::cpu;
  const int64_t count = anchors.dim(0), first = image * count;
  RankedProposals<T> ranked;
  ranked.scores = objectness<T>(output.logits, first, count);
  ranked.boxes.resize(static_cast<size_t>(count) * 4);
  cpu::decode_boxes<T>({}, count, anchors.data<T>(), output.deltas.data<T>() + 4 * first, 4,
                       ranked.boxes.data());
  cpu::clip_boxes<T>(count, static_cast<double>(size.height), static_cast<double>(size.width),
                     ranked.boxes.data());
  std::vector<uint8_t>& large = ranked.large;
  large.resize(static_cast<size_t>(count));
  cpu::boxes_large_enough<T>(count, limits.min_size * size.scale_y, limits.min_size * size.scale_x,
                             ranked.boxes.data(), large.data());

  // Original code: small boxes leave before the best are taken; torchvision: after.
  const bool before = rpn.size_filter == "before";
  std::vector<int64_t>& order = ranked.order;
  order.resize(static_cast<size_t>(std::min<int64_t>(limits.pre_nms, count)));
  order.resize(static_cast<size_t>(cpu::top_k<T>(count, limits.pre_nms, ranked.scores.data(),
                                                 before ? large.data() : nullptr, order.data())));
  if (!before) std::erase_if(order, [&](int64_t i) { return !large[static_cast<size_t>(i)]; });
  return ranked;
}
template RankedProposals<float> rank_proposals(const RpnOutput&, const Tensor&, int64_t,
                                               const InputSize&, const RpnConfig&,
                                               const ProposalConfig&);
template RankedProposals<double> rank_proposals(const RpnOutput&, const Tensor&, int64_t,
                                                const InputSize&, const RpnConfig&,
                                                const ProposalConfig&);

Tensor Proposals::rois() const {
  int64_t total = 0;
  for (const int64_t n : counts) total += n;
  Tensor out = Tensor::empty({total, 5}, boxes.dtype(), boxes.device());
  with_float(boxes.dtype(), "proposals", [&](auto t) {
    using T = decltype(t);
    T* row = out.data<T>();
    const int64_t capacity = boxes.dim(1);
    for (size_t image = 0; image < counts.size(); ++image)
      for (int64_t i = 0; i < counts[image]; ++i, row += 5) {
        row[0] = static_cast<T>(image);
        std::copy_n(boxes.data<T>() + (static_cast<int64_t>(image) * capacity + i) * 4, 4, row + 1);
      }
  });
  return out;
}

Proposals make_proposals(const RpnOutput& output, const Tensor& anchors,
                         const std::vector<InputSize>& sizes, const RpnConfig& rpn,
                         const ProposalConfig& limits) {
  const auto images = static_cast<int64_t>(sizes.size());
  check(output.logits.dim(0) == images * anchors.dim(0) && output.logits.dim(0) <= INT32_MAX,
        "[proposals] expected {} images of {} anchors, below 2^31 together, got {} rows", images,
        anchors.dim(0), output.logits.dim(0));
  const DType dtype = output.logits.dtype();
  Proposals out{Tensor::zeros({images, limits.post_nms, 4}, dtype),
                Tensor::zeros({images, limits.post_nms}, dtype),
                std::vector<int64_t>(sizes.size(), 0),
                Tensor::empty({images, limits.post_nms}, DType::i32)};
  std::ranges::fill(out.sources.span<int32_t>(), -1);
  with_float(dtype, "proposals", [&](auto t) {
    for (int64_t image = 0; image < images; ++image)
      propose_image<decltype(t)>(output, anchors, image, sizes[static_cast<size_t>(image)], rpn,
                                 limits, out);
  });
  return out;
}

Proposals given_proposals(const std::vector<std::vector<Box>>& regions, DType dtype,
                          int64_t capacity) {
  int64_t longest = 1;
  for (const auto& boxes : regions) longest = std::max(longest, static_cast<int64_t>(boxes.size()));
  if (capacity == 0) capacity = longest;
  check(longest <= capacity, "[proposals] {} given regions of an image, room for {}", longest,
        capacity);
  const auto images = static_cast<int64_t>(regions.size());
  Proposals out{
      Tensor::zeros({images, capacity, 4}, dtype), Tensor::zeros({images, capacity}, dtype), {}};
  with_float(dtype, "proposals", [&](auto t) {
    using T = decltype(t);
    T* first = out.boxes.data<T>();
    for (const auto& boxes : regions) {
      T* row = first;
      for (const Box& b : boxes)
        for (const float v : {b.x1, b.y1, b.x2, b.y2}) *row++ = static_cast<T>(v);
      out.counts.push_back(static_cast<int64_t>(boxes.size()));
      first += 4 * capacity;
    }
  });
  return out;
}

}  // namespace frcnn
