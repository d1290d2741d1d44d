#include "model/gpu_pipeline.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "engine/byte_buffer.h"
#include "engine/dispatch.h"
#include "kernels/boxes/anchors.h"
#include "kernels/boxes/codec.h"
#include "kernels/boxes/iou_match.h"
#include "kernels/boxes/nms.h"
#include "kernels/boxes/rows.h"
#include "kernels/boxes/sample.h"
#include "kernels/boxes/topk.h"
#include "kernels/losses/cross_entropy.h"
#include "model/proposals.h"

namespace frcnn {
namespace {

namespace gpu = kernels::gpu;
using kernels::ImageLimits;
using kernels::Segments;

/// Calls body(on, T{}) with the kernels of the device.
template <typename Body>
void with_kernels(const Tensor& x, const char* op, const Body& body) {
  with_gpu(x.device(), [&](auto on) { with_float(x.dtype(), op, [&](auto t) { body(on, t); }); });
}

Tensor integers(const Shape& shape, Device device) {
  return Tensor::empty(shape, DType::i32, device);
}
int32_t* ints(Tensor& tensor) {
  return tensor.data<int32_t>();
}
const int32_t* ints(const Tensor& tensor) {
  return tensor.data<int32_t>();
}
template <typename T>
const ImageLimits<T>* limits_of(const Tensor& limits) {
  static_assert(sizeof(ImageLimits<T>) == 4 * sizeof(T));
  return reinterpret_cast<const ImageLimits<T>*>(limits.data<T>());
}
kernels::BoxCodecParams codec_of(const RoiConfig& config) {
  kernels::BoxCodecParams codec;
  std::copy_n(config.box_mean.begin(), 4, codec.mean.begin());
  std::copy_n(config.box_std.begin(), 4, codec.std.begin());
  return codec;
}

}  // namespace

Tensor image_limits(const std::vector<InputSize>& sizes, double min_size, DType dtype,
                    Device device) {
  Tensor limits;
  with_float(dtype, "image_limits", [&](auto t) {
    using T = decltype(t);
    std::vector<T> values;
    for (const InputSize& s : sizes)
      for (const double v : {static_cast<double>(s.height), static_cast<double>(s.width),
                             min_size * s.scale_y, min_size * s.scale_x})
        values.push_back(static_cast<T>(v));
    limits = Tensor::from({static_cast<int64_t>(sizes.size()), 4}, values, device);
  });
  return limits;
}

GpuTruth truth_tensors(const std::vector<GroundTruth>& truth, int64_t capacity, DType dtype,
                       Device device) {
  const auto images = static_cast<int64_t>(truth.size());
  std::vector<int32_t> classes(static_cast<size_t>(images * capacity), 0), counts;
  GpuTruth out;
  with_float(dtype, "truth", [&](auto t) {
    using T = decltype(t);
    std::vector<T> boxes(4 * classes.size(), T(0));
    for (size_t n = 0; n < truth.size(); ++n) {
      const GroundTruth& objects = truth[n];
      check(objects.boxes.size() == objects.labels.size() &&
                static_cast<int64_t>(objects.boxes.size()) <= capacity,
            "[targets] expected at most {} boxes with labels, got {} and {}", capacity,
            objects.boxes.size(), objects.labels.size());
      for (size_t i = 0; i < objects.boxes.size(); ++i) {
        const Box& b = objects.boxes[i];
        check(b.x2 > b.x1 && b.y2 > b.y1,
              "[targets] a ground-truth box needs a positive area, got ({}, {}, {}, {})", b.x1,
              b.y1, b.x2, b.y2);
        const size_t row = n * static_cast<size_t>(capacity) + i;
        classes[row] = objects.labels[i];
        const float corners[] = {b.x1, b.y1, b.x2, b.y2};
        for (size_t k = 0; k < 4; ++k) boxes[4 * row + k] = static_cast<T>(corners[k]);
      }
      counts.push_back(static_cast<int32_t>(objects.boxes.size()));
    }
    out.boxes = Tensor::from({images, capacity, 4}, boxes, device);
  });
  out.classes = Tensor::from({images, capacity}, classes, device);
  out.counts = Tensor::from({images}, counts, device);
  return out;
}

GpuProposals given_gpu_proposals(const std::vector<std::vector<Box>>& regions, int64_t capacity,
                                 DType dtype, Device device) {
  const Proposals given = given_proposals(regions, dtype, capacity);
  const std::vector<int32_t> counts(given.counts.begin(), given.counts.end());
  return {given.boxes.to(device),
          Tensor::from({static_cast<int64_t>(counts.size())}, counts, device)};
}

int64_t region_capacity(const std::vector<std::vector<Box>>& regions) {
  size_t most = 64;
  for (const auto& boxes : regions) most = std::max(most, boxes.size());
  return static_cast<int64_t>(std::bit_ceil(most));
}

GpuProposals gpu_proposals(const RpnOutput& output, const Tensor& anchors, const Tensor& limits,
                           const RpnConfig& rpn, const ProposalConfig& proposal,
                           bool with_sources) {
  const Device device = anchors.device();
  const DType dtype = anchors.dtype();
  const int64_t images = limits.dim(0), count = anchors.dim(0);
  const int64_t candidates = std::min<int64_t>(proposal.pre_nms, count);
  const int64_t capacity = std::min<int64_t>(proposal.post_nms, candidates);
  const bool before = rpn.size_filter == "before";  // small boxes leave before the best are taken

  Tensor scores = Tensor::empty({images, count}, dtype, device);
  Tensor boxes = Tensor::empty({images, count, 4}, dtype, device);
  Tensor large = Tensor::empty({images, count}, DType::u8, device);
  Tensor order = integers({images, candidates}, device), order_counts = integers({images}, device);
  Tensor sorted = Tensor::empty({images, candidates, 4}, dtype, device);
  Tensor valid = Tensor::empty({images, candidates}, DType::u8, device);
  Tensor kept = integers({images, capacity}, device);
  GpuProposals out{Tensor::empty({images, capacity, 4}, dtype, device), integers({images}, device),
                   with_sources ? integers({images, capacity}, device) : Tensor()};
  with_kernels(anchors, "proposals", [&](auto on, auto t) {
    using T = decltype(t);
    constexpr auto kBackend = decltype(on)::backend;
    gpu::objectness<kBackend>(on.stream, images * count, static_cast<int>(output.logits.dim(1)),
                              output.logits.data<T>(), scores.data<T>());
    gpu::decode_proposals<kBackend>(on.stream, {}, images, count, anchors.data<T>(),
                                    output.deltas.data<T>(), limits_of<T>(limits), boxes.data<T>(),
                                    large.data<uint8_t>());

    const Segments all{images, count};
    Tensor work = byte_buffer(
        gpu::top_k_workspace<kBackend, T>(all, candidates, kernels::TopKVersion::grid), device);
    gpu::top_k_segments<kBackend>(on.stream, all, candidates, scores.data<T>(),
                                  before ? large.data<uint8_t>() : nullptr, ints(order),
                                  ints(order_counts), work.raw());
    gpu::gather_rows<kBackend>(on.stream, images * candidates, 4, T(0), ints(order),
                               boxes.data<T>(), sorted.data<T>());
    gpu::gather_rows<kBackend>(on.stream, images * candidates, 1, uint8_t{0}, ints(order),
                               large.data<uint8_t>(), valid.data<uint8_t>());

    const Segments best{images, candidates, ints(order_counts)};
    Tensor nms_work =
        byte_buffer(gpu::nms_workspace<kBackend>(best, kernels::NmsVersion::windows), device);
    gpu::nms_sorted<kBackend>(on.stream, best, proposal.nms_iou, capacity, sorted.data<T>(),
                              nullptr, before ? nullptr : valid.data<uint8_t>(), ints(kept),
                              ints(out.counts), nms_work.raw());
    gpu::gather_rows<kBackend>(on.stream, images * capacity, 4, T(0), ints(kept), sorted.data<T>(),
                               out.boxes.data<T>());
    if (with_sources)  // `order` holds places in the whole batch: rows of the RPN's outputs
      gpu::gather_rows<kBackend>(on.stream, images * capacity, 1, int32_t{-1}, ints(kept),
                                 ints(order), ints(out.sources));
  });
  return out;
}

GpuRpnTargets gpu_sample_anchors(const Tensor& anchors, const Tensor& limits, const GpuTruth& truth,
                                 const RpnConfig& config, const StepKey& key) {
  const Device device = anchors.device();
  const DType dtype = anchors.dtype();
  const int64_t images = limits.dim(0), count = anchors.dim(0), objects = truth.boxes.dim(1);
  Tensor skip = config.only_inside ? Tensor::empty({images, count}, DType::u8, device) : Tensor();
  Tensor best = Tensor::empty({images, count}, dtype, device);
  Tensor index = integers({images, count}, device);
  Tensor object_best = Tensor::empty({images, objects}, dtype, device);
  GpuRpnTargets out{integers({images * count}, device),
                    Tensor::empty({images * count, 4}, dtype, device),
                    integers({images, 2}, device)};
  with_kernels(anchors, "sample_anchors", [&](auto on, auto t) {
    using T = decltype(t);
    constexpr auto kBackend = decltype(on)::backend;
    if (skip)
      gpu::boxes_inside<kBackend>(on.stream, images, count, limits_of<T>(limits), anchors.data<T>(),
                                  skip.data<uint8_t>(), uint8_t{0});
    const uint8_t* left_out = skip ? skip.data<uint8_t>() : nullptr;
    const kernels::MatchBatch batch{images, count, objects, true, nullptr, ints(truth.counts)};
    gpu::iou_best<kBackend>(on.stream, batch, anchors.data<T>(), truth.boxes.data<T>(), left_out,
                            best.data<T>(), ints(index), object_best.data<T>());
    gpu::match_labels<kBackend>(on.stream,
                                {config.positive_iou, config.negative_iou, config.match_best},
                                batch, anchors.data<T>(), truth.boxes.data<T>(), left_out,
                                best.data<T>(), object_best.data<T>(), ints(out.labels));
    const Segments segments{images, count};
    Tensor work = byte_buffer(
        gpu::sample_workspace<kBackend>(segments, kernels::SampleVersion::radix), device);
    const auto most = static_cast<int64_t>(config.batch * config.positive_fraction);
    gpu::sample_labels<kBackend>(on.stream, {config.batch, most}, key.key, segments,
                                 ints(out.labels), ints(out.sampled), nullptr, work.raw(),
                                 key.device_step());
    gpu::encode_matched<kBackend>(on.stream, {}, images, count, objects, true, anchors.data<T>(),
                                  truth.boxes.data<T>(), ints(out.labels), ints(index),
                                  out.deltas.data<T>());
  });
  return out;
}

GpuRoiTargets gpu_sample_rois(const GpuProposals& proposals, const GpuTruth& truth,
                              const RoiConfig& config, const StepKey& key) {
  const Device device = proposals.boxes.device();
  const DType dtype = proposals.boxes.dtype();
  const int64_t images = proposals.boxes.dim(0), capacity = proposals.boxes.dim(1);
  const int64_t objects = truth.boxes.dim(1), batch = config.batch;
  const int64_t count = capacity + (config.append_ground_truth ? objects : 0);

  Tensor boxes = Tensor::empty({images, count, 4}, dtype, device);
  Tensor counts = integers({images}, device);
  Tensor best = Tensor::empty({images, count}, dtype, device);
  Tensor index = integers({images, count}, device), labels = integers({images, count}, device);
  Tensor classes = integers({images, count}, device);
  Tensor deltas = Tensor::empty({images, count, 4}, dtype, device);
  Tensor chosen = integers({images, batch}, device);
  Tensor chosen_boxes = Tensor::empty({images, batch, 4}, dtype, device);
  GpuRoiTargets out{
      Tensor::empty({images * batch, 5}, dtype, device), integers({images * batch}, device),
      Tensor::empty({images * batch, 4}, dtype, device), integers({images, 2}, device),
      proposals.sources ? integers({images * batch}, device) : Tensor()};
  with_kernels(boxes, "sample_rois", [&](auto on, auto t) {
    using T = decltype(t);
    constexpr auto kBackend = decltype(on)::backend;
    if (config.append_ground_truth)
      gpu::append_rows<kBackend>(on.stream, images, 4, capacity, proposals.boxes.data<T>(),
                                 ints(proposals.counts), objects, truth.boxes.data<T>(),
                                 ints(truth.counts), boxes.data<T>(), ints(counts));
    else {
      boxes = proposals.boxes;
      counts = proposals.counts;
    }
    Tensor sources = proposals.sources;
    if (sources && config.append_ground_truth) {  // objects come behind, from no anchor
      sources = integers({images, count}, device);
      Tensor none = integers({images, objects}, device), same_counts = integers({images}, device);
      gpu::fill_bytes<kBackend>(on.stream, none.raw(), 0xFF, none.stored_bytes());
      gpu::append_rows<kBackend>(on.stream, images, 1, capacity, ints(proposals.sources),
                                 ints(proposals.counts), objects, ints(none), ints(truth.counts),
                                 ints(sources), ints(same_counts));
    }
    const kernels::MatchBatch match{images, count,        objects,
                                    false,  ints(counts), ints(truth.counts)};
    gpu::iou_best<kBackend, T>(on.stream, match, boxes.data<T>(), truth.boxes.data<T>(), nullptr,
                               best.data<T>(), ints(index), nullptr);
    gpu::region_labels<kBackend>(
        on.stream, {config.foreground_iou, config.background_high, config.background_low}, match,
        best.data<T>(), ints(labels));
    const Segments segments{images, count, ints(counts)};
    Tensor work = byte_buffer(
        gpu::sample_workspace<kBackend>(segments, kernels::SampleVersion::radix), device);
    const auto most = static_cast<int64_t>(std::llround(config.batch * config.foreground_fraction));
    gpu::sample_labels<kBackend>(on.stream, {batch, most}, key.key, segments, ints(labels),
                                 ints(out.sampled), ints(chosen), work.raw(), key.device_step());
    gpu::encode_matched<kBackend>(on.stream, codec_of(config), images, count, objects, false,
                                  boxes.data<T>(), truth.boxes.data<T>(), ints(labels), ints(index),
                                  deltas.data<T>(), ints(truth.classes), ints(classes));
    const int64_t rows = images * batch;
    gpu::gather_rows<kBackend>(on.stream, rows, 4, T(0), ints(chosen), boxes.data<T>(),
                               chosen_boxes.data<T>());
    gpu::gather_rows<kBackend>(on.stream, rows, 1, int32_t{-1}, ints(chosen), ints(classes),
                               ints(out.labels));
    gpu::gather_rows<kBackend>(on.stream, rows, 4, T(0), ints(chosen), deltas.data<T>(),
                               out.deltas.data<T>());
    gpu::make_rois<kBackend>(on.stream, images, batch, chosen_boxes.data<T>(), nullptr,
                             ints(chosen), out.rois.data<T>());
    if (out.sources)
      gpu::gather_rows<kBackend>(on.stream, rows, 1, int32_t{-1}, ints(chosen), ints(sources),
                                 ints(out.sources));
  });
  return out;
}

Tensor gpu_rois(const GpuProposals& proposals) {
  const int64_t images = proposals.boxes.dim(0), capacity = proposals.boxes.dim(1);
  Tensor rois =
      Tensor::empty({images * capacity, 5}, proposals.boxes.dtype(), proposals.boxes.device());
  with_kernels(rois, "rois", [&](auto on, auto t) {
    using T = decltype(t);
    gpu::make_rois<decltype(on)::backend>(on.stream, images, capacity, proposals.boxes.data<T>(),
                                          ints(proposals.counts), nullptr, rois.data<T>());
  });
  return rois;
}

GpuDetections gpu_detections(const RoiOutput& output, const Tensor& rois, int64_t images,
                             const Tensor& limits, const RoiConfig& roi, const TestConfig& test,
                             int64_t classes) {
  const Device device = rois.device();
  const DType dtype = rois.dtype();
  const int64_t rows = rois.dim(0), per_image = rows / images * classes;
  const int64_t candidates = std::min(per_image, kMostCandidates);
  const int64_t most = std::min<int64_t>(test.max_detections, candidates);
  const int64_t groups = roi.class_agnostic ? 1 : classes + 1;

  Tensor probabilities = Tensor::empty({rows, classes + 1}, dtype, device);
  Tensor boxes = Tensor::empty({rows * classes, 4}, dtype, device);
  Tensor scores = Tensor::empty({rows * classes}, dtype, device);
  Tensor passed = Tensor::empty({rows * classes}, DType::u8, device);
  Tensor order = integers({images, candidates}, device), order_counts = integers({images}, device);
  Tensor labels = integers({images, candidates}, device), kept = integers({images, most}, device);
  Tensor sorted = Tensor::empty({images, candidates, 4}, dtype, device);
  Tensor sorted_scores = Tensor::empty({images, candidates}, dtype, device);
  GpuDetections out{Tensor::empty({images, most, 4}, dtype, device),
                    Tensor::empty({images, most}, dtype, device), integers({images, most}, device),
                    integers({images}, device)};
  with_kernels(rois, "detections", [&](auto on, auto t) {
    using T = decltype(t);
    constexpr auto kBackend = decltype(on)::backend;
    if (roi.class_loss == "sigmoid")
      gpu::sigmoid<kBackend>(on.stream, rows * (classes + 1), output.logits.data<T>(),
                             probabilities.data<T>());
    else
      gpu::softmax<kBackend>(on.stream, rows, classes + 1, output.logits.data<T>(),
                             probabilities.data<T>());
    gpu::decode_detections<kBackend>(on.stream, codec_of(roi), rows, classes, groups, test.score,
                                     rois.data<T>(), output.deltas.data<T>(),
                                     probabilities.data<T>(), limits_of<T>(limits), boxes.data<T>(),
                                     scores.data<T>(), passed.data<uint8_t>());
    const Segments all{images, per_image};
    Tensor work = byte_buffer(
        gpu::top_k_workspace<kBackend, T>(all, candidates, kernels::TopKVersion::grid), device);
    gpu::top_k_segments<kBackend>(on.stream, all, candidates, scores.data<T>(),
                                  passed.data<uint8_t>(), ints(order), ints(order_counts),
                                  work.raw());
    gpu::gather_rows<kBackend>(on.stream, images * candidates, 4, T(0), ints(order),
                               boxes.data<T>(), sorted.data<T>());
    gpu::gather_rows<kBackend>(on.stream, images * candidates, 1, T(0), ints(order),
                               scores.data<T>(), sorted_scores.data<T>());
    gpu::remainders<kBackend>(on.stream, images * candidates, classes, ints(order), ints(labels));
    const Segments best{images, candidates, ints(order_counts)};
    Tensor nms_work =
        byte_buffer(gpu::nms_workspace<kBackend>(best, kernels::NmsVersion::windows), device);
    gpu::nms_sorted<kBackend>(on.stream, best, test.nms_iou, most, sorted.data<T>(), ints(labels),
                              nullptr, ints(kept), ints(out.counts), nms_work.raw());
    const int64_t total = images * most;
    gpu::gather_rows<kBackend>(on.stream, total, 4, T(0), ints(kept), sorted.data<T>(),
                               out.boxes.data<T>());
    gpu::gather_rows<kBackend>(on.stream, total, 1, T(0), ints(kept), sorted_scores.data<T>(),
                               out.scores.data<T>());
    gpu::gather_rows<kBackend>(on.stream, total, 1, int32_t{-1}, ints(kept), ints(labels),
                               ints(out.labels));
  });
  return out;
}

std::vector<std::vector<ScoredBox>> download(const GpuDetections& detections) {
  const int64_t images = detections.boxes.dim(0), most = detections.boxes.dim(1);
  std::vector<std::vector<ScoredBox>> result(static_cast<size_t>(images));
  const auto counts = detections.counts.to_vector<int32_t>();
  const auto labels = detections.labels.to_vector<int32_t>();
  with_float(detections.boxes.dtype(), "detections", [&](auto t) {
    using T = decltype(t);
    const auto boxes = detections.boxes.to_vector<T>();
    const auto scores = detections.scores.to_vector<T>();
    for (size_t n = 0; n < result.size(); ++n)
      for (int32_t i = 0; i < counts[n]; ++i) {
        const size_t row = n * static_cast<size_t>(most) + static_cast<size_t>(i);
        const T* b = boxes.data() + 4 * row;
        result[n].push_back({{static_cast<float>(b[0]), static_cast<float>(b[1]),
                              static_cast<float>(b[2]), static_cast<float>(b[3])},
                             labels[row],
                             static_cast<float>(scores[row])});
      }
  });
  return result;
}

}  // namespace frcnn
