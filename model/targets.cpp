#include "model/targets.h"

#include <algorithm>
#include <cmath>

#include "engine/dispatch.h"
#include "kernels/boxes/anchors.h"
#include "kernels/boxes/codec.h"
#include "kernels/boxes/iou_match.h"
#include "kernels/boxes/sample.h"

namespace frcnn {
namespace {

namespace cpu = kernels::cpu;

/// Boxes of one image as numbers of type T, (objects, 4).
template <typename T>
std::vector<T> truth_boxes(const GroundTruth& truth) {
  check(truth.boxes.size() == truth.labels.size(), "[targets] {} boxes but {} labels",
        truth.boxes.size(), truth.labels.size());
  std::vector<T> out;
  for (const Box& b : truth.boxes) {
    check(b.x2 > b.x1 && b.y2 > b.y1,
          "[targets] a ground-truth box needs a positive area, got ({}, {}, {}, {})", b.x1, b.y1,
          b.x2, b.y2);
    for (const float v : {b.x1, b.y1, b.x2, b.y2}) out.push_back(static_cast<T>(v));
  }
  return out;
}

/// Random numbers of image `image` of a batch.
kernels::RandomKey image_key(kernels::RandomKey key, size_t image) {
  key.stream += kernels::kStreamStride * static_cast<uint32_t>(image);
  return key;
}

template <typename T>
void sample_image_anchors(const Tensor& anchors, const InputSize& size, const GroundTruth& truth,
                          const RpnConfig& config, const kernels::RandomKey& key, int32_t* labels,
                          T* deltas, RpnTargets& totals) {
  const int64_t count = anchors.dim(0);
  const std::vector<T> boxes = truth_boxes<T>(truth);
  const auto objects = static_cast<int64_t>(truth.boxes.size());
  const T* anchor = anchors.data<T>();
  std::vector<uint8_t> skip(static_cast<size_t>(count), 0);
  if (config.only_inside) {
    cpu::boxes_inside<T>(count, static_cast<double>(size.height), static_cast<double>(size.width),
                         anchor, skip.data());
    for (uint8_t& s : skip) s = !s;
  }
  std::vector<T> best(static_cast<size_t>(count)), object_best(boxes.size() / 4);
  std::vector<int32_t> index(static_cast<size_t>(count));
  cpu::iou_best<T>(count, objects, anchor, boxes.data(), skip.data(), best.data(), index.data(),
                   object_best.data());
  cpu::match_labels<T>({config.positive_iou, config.negative_iou, config.match_best}, count,
                       objects, anchor, boxes.data(), skip.data(), best.data(), object_best.data(),
                       labels);
  const auto most = static_cast<int64_t>(config.batch * config.positive_fraction);
  const kernels::SampleCounts counts = cpu::sample_labels({config.batch, most}, key, count, labels);
  totals.positives += counts.positive;
  totals.sampled += counts.positive + counts.negative;
  for (int64_t i = 0; i < count; ++i)
    if (labels[i] > 0)
      cpu::encode_boxes<T>({}, 1, anchor + 4 * i, boxes.data() + 4 * index[static_cast<size_t>(i)],
                           deltas + 4 * i);
}

/// Candidate regions of one image: proposals, then (optionally) the objects themselves.
template <typename T>
std::vector<T> candidates(const Proposals& proposals, int64_t image, const std::vector<T>& truth,
                          bool append_truth) {
  const T* first = proposals.boxes.data<T>() + image * proposals.boxes.dim(1) * 4;
  std::vector<T> boxes(first, first + 4 * proposals.counts[static_cast<size_t>(image)]);
  if (append_truth) boxes.insert(boxes.end(), truth.begin(), truth.end());
  return boxes;
}

template <typename T>
struct SampledRois {
  std::vector<T> rois, deltas;
  std::vector<int32_t> labels, sources;
};

template <typename T>
void sample_image_rois(const Proposals& proposals, int64_t image, const GroundTruth& truth,
                       const RoiConfig& config, const kernels::RandomKey& key,
                       SampledRois<T>& out) {
  const std::vector<T> objects = truth_boxes<T>(truth);
  const std::vector<T> boxes = candidates(proposals, image, objects, config.append_ground_truth);
  const auto count = static_cast<int64_t>(boxes.size() / 4);
  std::vector<T> best(static_cast<size_t>(count));
  std::vector<int32_t> index(best.size()), labels(best.size());
  cpu::iou_best<T>(count, static_cast<int64_t>(truth.boxes.size()), boxes.data(), objects.data(),
                   nullptr, best.data(), index.data(), nullptr);
  for (size_t i = 0; i < best.size(); ++i) {
    const double overlap = static_cast<double>(best[i]);
    const bool foreground = !truth.boxes.empty() && overlap >= config.foreground_iou;
    const bool background = overlap < config.background_high && overlap >= config.background_low;
    labels[i] = foreground ? 1 : background ? 0 : -1;
  }
  const auto most = static_cast<int64_t>(std::llround(config.batch * config.foreground_fraction));
  cpu::sample_labels({config.batch, most}, key, count, labels.data());

  const int64_t proposed = proposals.counts[static_cast<size_t>(image)];
  const int32_t* sources = proposals.sources
                               ? proposals.sources.data<int32_t>() + image * proposals.boxes.dim(1)
                               : nullptr;
  kernels::BoxCodecParams codec;
  std::copy_n(config.box_mean.begin(), 4, codec.mean.begin());
  std::copy_n(config.box_std.begin(), 4, codec.std.begin());
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0) continue;
    const T* box = boxes.data() + 4 * i;
    T delta[4] = {0, 0, 0, 0};
    int32_t label = 0;
    if (labels[i] > 0) {
      label = truth.labels[static_cast<size_t>(index[i])] + 1;
      cpu::encode_boxes<T>(codec, 1, box, objects.data() + 4 * index[i], delta);
    }
    out.rois.push_back(static_cast<T>(image));
    out.rois.insert(out.rois.end(), box, box + 4);
    out.deltas.insert(out.deltas.end(), delta, delta + 4);
    out.labels.push_back(label);
    out.sources.push_back(static_cast<int64_t>(i) < proposed && sources ? sources[i] : -1);
  }
}

}  // namespace

RpnTargets sample_anchors(const Tensor& anchors, const std::vector<InputSize>& sizes,
                          const std::vector<GroundTruth>& truth, const RpnConfig& config,
                          const kernels::RandomKey& key) {
  const int64_t count = anchors.dim(0), images = static_cast<int64_t>(sizes.size());
  RpnTargets out;
  out.labels = Tensor::empty({images * count}, DType::i32);
  out.deltas = Tensor::zeros({images * count, 4}, anchors.dtype());
  with_float(anchors.dtype(), "sample_anchors", [&](auto t) {
    using T = decltype(t);
    for (size_t i = 0; i < sizes.size(); ++i) {
      const auto first = static_cast<int64_t>(i) * count;
      sample_image_anchors<T>(anchors, sizes[i], truth[i], config, image_key(key, i),
                              out.labels.data<int32_t>() + first, out.deltas.data<T>() + 4 * first,
                              out);
    }
  });
  return out;
}

RoiTargets sample_rois(const Proposals& proposals, const std::vector<GroundTruth>& truth,
                       const RoiConfig& config, const kernels::RandomKey& key) {
  RoiTargets out;
  with_float(proposals.boxes.dtype(), "sample_rois", [&](auto t) {
    using T = decltype(t);
    SampledRois<T> sampled;
    for (size_t i = 0; i < truth.size(); ++i)
      sample_image_rois<T>(proposals, static_cast<int64_t>(i), truth[i], config, image_key(key, i),
                           sampled);
    const auto rows = static_cast<int64_t>(sampled.labels.size());
    out.rois = Tensor::from({rows, 5}, sampled.rois);
    out.labels = Tensor::from({rows}, sampled.labels);
    out.deltas = Tensor::from({rows, 4}, sampled.deltas);
    if (proposals.sources) out.sources = Tensor::from({rows}, sampled.sources);
    for (const int32_t label : sampled.labels) out.foreground += label > 0;
  });
  return out;
}

}  // namespace frcnn
