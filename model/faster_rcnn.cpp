#include "model/faster_rcnn.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <mutex>
#include <numeric>

#include "engine/dispatch.h"
#include "engine/ops/boxes.h"
#include "engine/ops/elementwise.h"
#include "engine/recorded_step.h"
#include "engine/tape.h"
#include "engine/uploader.h"
#include "kernels/boxes/anchors.h"
#include "model/batch_parts.h"
#include "model/detections.h"
#include "model/loss_terms.h"
#include "model/rpn_tiles.h"

namespace frcnn {
namespace {

void check_input(const ModelInput& input) {
  check(input.images.rank() == 4 && input.images.dim(1) == 3 &&
            input.images.dim(0) == static_cast<int64_t>(input.sizes.size()),
        "[faster_rcnn] expected images (N, 3, H, W) and N sizes, got {} and {}",
        input.images.shape().string(), input.sizes.size());
  const auto fits = [](int64_t side, int64_t padded, int64_t batch) {
    return side > 0 && side <= batch && (padded == 0 || (side <= padded && padded <= batch));
  };
  for (const InputSize& size : input.sizes)
    check(fits(size.height, size.padded_height, input.images.dim(2)) &&
              fits(size.width, size.padded_width, input.images.dim(3)),
          "[faster_rcnn] an image of {} x {} (padded {} x {}) does not fit the batch {}",
          size.height, size.width, size.padded_height, size.padded_width,
          input.images.shape().string());
}

/// How many labels are `least` or more. Without one (an image without objects and without inside
/// anchors) sums are 0, not 0 / 0.
double labels_from(int32_t least, const Tensor& labels) {
  const int64_t n =
      std::ranges::count_if(labels.span<int32_t>(), [&](int32_t l) { return l >= least; });
  return static_cast<double>(std::max<int64_t>(1, n));
}

/// Whether the losses are divided by the sampled positives alone.
bool positives_only(const std::string& normaliser, const char* key) {
  check(normaliser == "batch" || normaliser == "paper" || normaliser == "positives",
        "{}: expected \"batch\", \"paper\" (RPN) or \"positives\", got \"{}\"", key, normaliser);
  return normaliser == "positives";
}

/// The detector's part of given samples for images [first, first + count) of a batch.
Samples samples_of_run(const Samples& all, const std::vector<int64_t>& rows, size_t first,
                       size_t count) {
  const auto at = [&](size_t i) { return rows.begin() + static_cast<std::ptrdiff_t>(i); };
  const int64_t begin = std::accumulate(rows.begin(), at(first), int64_t{0});
  const int64_t own = std::accumulate(at(first), at(first + count), int64_t{0});
  Samples run;
  run.roi.rois = all.roi.rois.rows(begin, own).clone();
  run.roi.labels = all.roi.labels.rows(begin, own);
  run.roi.deltas = all.roi.deltas.rows(begin, own);
  with_float(run.roi.rois.dtype(), "faster_rcnn", [&](auto t) {
    using T = decltype(t);
    for (int64_t r = 0; r < own; ++r) run.roi.rois.data<T>()[5 * r] -= static_cast<T>(first);
  });
  return run;
}

}  // namespace

/// Anchors depend on sizes only. The last ones made are kept, on the model's device.
struct FasterRcnn::AnchorCache {
  using Key = std::array<int64_t, 4>;  // map height and width, input height and width
  static constexpr size_t kMost = 32;
  std::mutex mutex;
  std::vector<std::pair<Key, Tensor>> entries;
};

/// One recorded inference for each shape of input, with the places that it reads and writes.
struct FasterRcnn::Recorded {
  struct Inference {
    Tensor images, proposal_limits, detection_limits;
    GpuDetections found;
  };
  explicit Recorded(Device device) : steps(device), uploader(device) {}
  std::mutex mutex;
  RecordedSteps steps;
  Uploader uploader;
  std::map<std::string, Inference> inferences;
};

FasterRcnn::FasterRcnn(const ModelConfig& config, int64_t classes, uint64_t seed, DType dtype,
                       bool fill, Device device)
    : config_(config),
      classes_(classes),
      parameters_(std::make_unique<Parameters>(seed, dtype, fill, device)),
      backbone_(frcnn::backbone_spec(config.backbone), config.backbone, *parameters_),
      rpn_(config.rpn, backbone_.spec().out_channels(),
           config.rpn.channels > 0 ? config.rpn.channels : backbone_.spec().rpn_channels,
           anchors_per_cell(), *parameters_),
      head_(config.roi, backbone_.spec().out_channels(), classes, *parameters_),
      anchor_cache_(std::make_shared<AnchorCache>()) {
  check(classes > 0, "[faster_rcnn] a detector needs at least one class");
  if (device.is_gpu()) recorded_ = std::make_shared<Recorded>(device);
}

int64_t FasterRcnn::anchors_per_cell() const {
  return anchor_params(config_.anchors, {1, 1, 1}).per_cell();
}

FasterRcnn::Stride FasterRcnn::stride(int64_t map_h, int64_t map_w, int64_t input_h,
                                      int64_t input_w) const {
  const std::string& rule = config_.anchors.stride_rule;
  if (rule == "nominal") {
    const auto [y, x] = backbone_.spec().strides();
    // Rounding and layers without padding lose up to a cell on each side of the map.
    if (std::abs(map_h * y - input_h) >= 2 * y || std::abs(map_w * x - input_w) >= 2 * x)
      throw UsageError(fmt::format(
          "anchors.stride_rule = \"nominal\": {} cells of stride {} x {} do not span an input of "
          "{} x "
          "{}, expected about {} x {} cells; choose \"map\" or \"exact\"",
          fmt::format("{} x {}", map_h, map_w), y, x, input_h, input_w, input_h / y, input_w / x));
    return {static_cast<double>(y), static_cast<double>(x)};
  }
  const double y = static_cast<double>(input_h) / static_cast<double>(map_h);
  const double x = static_cast<double>(input_w) / static_cast<double>(map_w);
  if (rule == "map") return {std::floor(y), std::floor(x)};
  check(rule == "exact",
        "anchors.stride_rule: expected \"nominal\", \"map\" or \"exact\", got \"{}\"", rule);
  return {y, x};
}

FasterRcnn::Stride FasterRcnn::roi_stride(int64_t map_h, int64_t map_w, int64_t input_h,
                                          int64_t input_w) const {
  if (config_.anchors.stride_rule != "map") return stride(map_h, map_w, input_h, input_w);
  const auto [y, x] = backbone_.spec().strides();
  return {static_cast<double>(y), static_cast<double>(x)};
}

Tensor FasterRcnn::anchors(int64_t map_h, int64_t map_w, int64_t input_h, int64_t input_w) const {
  const AnchorCache::Key key = {map_h, map_w, input_h, input_w};
  const std::lock_guard lock(anchor_cache_->mutex);
  auto& entries = anchor_cache_->entries;
  for (const auto& [known, anchors] : entries)
    if (known == key) return anchors;
  const Stride s = stride(map_h, map_w, input_h, input_w);
  const kernels::AnchorParams params =
      anchor_params(config_.anchors, {static_cast<double>(input_h), s.y, s.x});
  Tensor boxes = Tensor::empty({map_h * map_w * params.per_cell(), 4}, parameters_->dtype());
  with_float(boxes.dtype(), "anchors", [&](auto t) {
    using T = decltype(t);
    kernels::cpu::grid_anchors<T>(params, map_h, map_w, s.y, s.x, boxes.data<T>());
  });
  if (entries.size() == AnchorCache::kMost) entries.erase(entries.begin());
  entries.emplace_back(key, boxes.to(device()));
  return entries.back().second;
}

Tensor FasterRcnn::features(const Tensor& images, bool training) const {
  return backbone_.forward(images.to(parameters_->dtype()).to(device()), training);
}

Proposals FasterRcnn::propose(const RpnOutput& output, const Tensor& anchor_boxes,
                              const std::vector<InputSize>& sizes, bool training) const {
  return make_proposals(output, anchor_boxes, sizes, config_.rpn,
                        training ? config_.rpn.train : config_.rpn.test);
}

/// What the layers in front of the sampling give.
struct FasterRcnn::Passed {
  Tensor map, anchors;
  RpnOutput rpn;
  Stride roi_stride;
};

/// Samples on the model's device, rows in order of their images, and for each image what its losses
/// are divided by.
struct FasterRcnn::Drawn {
  Tensor rpn_labels, rpn_deltas, rois, roi_labels, roi_deltas;
  int64_t images = 1;
  std::vector<int64_t> roi_rows;                 // rows of `rois` by image
  std::vector<LossNormaliser> sampled, regions;  // by image
  Tensor sources, limits;              ///< with gradients of proposals: where the rois come from
  std::vector<int64_t> rpn_rows = {};  ///< rows of `rpn_labels` by image; none: the same number
};

void FasterRcnn::check_parts(const LossParts& parts) const {
  check(parts.rpn || parts.detector, "[faster_rcnn] expected losses of the RPN or of the detector");
  if (!parts.proposal_gradients) return;
  check(parts.detector, "[faster_rcnn] gradients of proposals need the detector's losses");
  if (config_.roi.layer == "roi_pool")
    throw UsageError(
        "roi.layer = \"roi_pool\": quantised max pooling has no gradient in the coordinates of "
        "proposals, which non-approximate joint training needs; choose \"precise_roi\", "
        "\"roi_align\" or \"roi_align_legacy\"");
}

FasterRcnn::Passed FasterRcnn::forward(const Tensor& images, const LossParts& parts,
                                       bool proposals) const {
  const int64_t input_h = images.dim(2), input_w = images.dim(3);
  Passed passed;
  passed.map = features(images, /*training=*/!backbone_fixed_ && !parts.evaluation);
  const bool tiles = on_tiles(parts);  // they wait for the samples
  if ((parts.rpn && !tiles) || proposals) {
    std::optional<Tape::NoGrad> constants;
    if (!parts.rpn && !parts.proposal_gradients) constants.emplace();
    passed.rpn = rpn_.forward(passed.map);
  } else {  // the RPN's odd window keeps the map's size
    passed.rpn.map_h = passed.map.dim(2);
    passed.rpn.map_w = passed.map.dim(3);
  }
  passed.anchors = anchors(passed.rpn.map_h, passed.rpn.map_w, input_h, input_w);
  passed.roi_stride = roi_stride(passed.rpn.map_h, passed.rpn.map_w, input_h, input_w);
  return passed;
}

void FasterRcnn::pass_tiles(const RpnTiles& tiles, Passed& passed, Drawn& drawn) const {
  const Tensor cells = tiles.cells.to(device()), places = tiles.places.to(device());
  passed.rpn = rpn_.forward_tiles(passed.map, cells, places);
  drawn.rpn_labels = tiles.labels.to(device());
  drawn.rpn_deltas = tiles.deltas.to(device());
  drawn.rpn_rows = tiles.rows;
}

Losses FasterRcnn::combine(const Passed& passed, const Drawn& drawn, const PassKey& key,
                           const LossParts& parts) const {
  // A loss that is left out is a constant of the type that the others have.
  const DType dtype = device().is_gpu() ? DType::f64 : parameters_->dtype();
  const Tensor none = Tensor::zeros({1}, dtype, device());
  Losses losses{none, none, none, none, none};
  std::vector<Tensor> terms;
  std::vector<double> factors;
  const auto add = [&](const Tensor& loss, double factor) {
    terms.push_back(loss);
    factors.push_back(factor);
  };
  const auto images = static_cast<size_t>(drawn.images);
  if (parts.rpn) {
    const bool paper = config_.rpn.normaliser == "paper";
    const std::vector<int64_t> rows =
        drawn.rpn_rows.empty()
            ? std::vector<int64_t>(images, drawn.rpn_labels.dim(0) / drawn.images)
            : drawn.rpn_rows;
    const auto logits = split_rows(passed.rpn.logits, rows),
               deltas = split_rows(passed.rpn.deltas, rows),
               labels = split_rows(drawn.rpn_labels, rows),
               targets = split_rows(drawn.rpn_deltas, rows);
    // Equation 1 of the paper: N_cls is the mini-batch, N_reg the number of anchor locations.
    const auto cells = static_cast<double>(passed.rpn.map_h * passed.rpn.map_w);
    const auto n_cls = [&](size_t n) {
      return paper ? LossNormaliser(config_.rpn.batch) : drawn.sampled[n];
    };
    losses.rpn_class = mean_over_images(images, [&](size_t n) {
      return rpn_class_loss(config_.rpn, logits[n], labels[n], n_cls(n));
    });
    losses.rpn_box = mean_over_images(images, [&](size_t n) {
      return rpn_box_loss(config_.rpn, deltas[n], targets[n], labels[n],
                          paper ? LossNormaliser(cells) : drawn.sampled[n]);
    });
    add(losses.rpn_class, 1);
    add(losses.rpn_box, config_.rpn.lambda);
  }
  if (parts.detector) {
    const StepKey dropout_key{{key.seed, kernels::kStreamDropout, key.pass}, key.pass_on_device};
    // Labels are those of the sampled boxes and stay constants; so does which boxes were kept and
    // sampled.
    const Tensor rois =
        parts.proposal_gradients
            ? proposal_decode(scaled_gradient(passed.rpn.deltas, parts.proposal_factor),
                              passed.anchors, drawn.limits, drawn.sources, drawn.rois)
            : drawn.rois;
    const RoiOutput roi = head_.forward(passed.map, rois, passed.roi_stride.y, passed.roi_stride.x,
                                        parts.evaluation ? nullptr : &dropout_key);
    // A box target is its object as seen from the RoI: one that moves takes the target with it.
    // GIoU is no function of the difference alone; its targets stay.
    const bool moving = parts.proposal_gradients && config_.roi.box_loss != "giou";
    const Tensor all_deltas =
        moving ? with_moving_targets(roi.deltas, drawn.roi_deltas, rois, roi_codec(config_.roi))
               : roi.deltas;
    const auto logits = split_rows(roi.logits, drawn.roi_rows),
               deltas = split_rows(all_deltas, drawn.roi_rows),
               labels = split_rows(drawn.roi_labels, drawn.roi_rows),
               targets = split_rows(drawn.roi_deltas, drawn.roi_rows);
    losses.roi_class = mean_over_images(images, [&](size_t n) {
      return roi_class_loss(config_.roi, logits[n], labels[n], drawn.regions[n]);
    });
    losses.roi_box = mean_over_images(images, [&](size_t n) {
      return roi_box_loss(config_.roi, deltas[n], targets[n], labels[n], drawn.regions[n]);
    });
    add(losses.roi_class, 1);
    add(losses.roi_box, config_.roi.lambda);
  }
  losses.total = weighted_sum(terms, factors);
  return losses;
}

Losses FasterRcnn::losses(const ModelInput& input, const std::vector<GroundTruth>& truth,
                          const PassKey& key, std::optional<Samples>* samples,
                          const LossParts& parts) const {
  check_input(input);
  check_parts(parts);
  check(truth.size() == input.sizes.size(),
        "[faster_rcnn] expected ground truth of {} images, got {}", input.sizes.size(),
        truth.size());
  const std::vector<BatchPart> runs = batch_parts(input);
  if (runs.size() == 1) return losses_of_run(runs[0].input, truth, key, samples, parts);
  const bool given = samples && samples->has_value();
  check(!samples || (given && !parts.rpn),
        "[faster_rcnn] of images of different sizes only the detector's samples can be given");
  std::vector<int64_t> rows;
  if (given) rows = rois_per_image((*samples)->roi.rois, truth.size());
  std::vector<Losses> terms;
  std::vector<double> shares;
  for (const BatchPart& run : runs) {
    const size_t count = run.input.sizes.size();
    const auto begin = truth.begin() + static_cast<std::ptrdiff_t>(run.first);
    PassKey own = key;
    own.pass = pass_of_part(key.pass, run.first);
    std::optional<Samples> chosen;
    if (given) chosen = samples_of_run(**samples, rows, run.first, count);
    terms.push_back(losses_of_run(run.input, {begin, begin + static_cast<std::ptrdiff_t>(count)},
                                  own, given ? &chosen : nullptr, parts));
    shares.push_back(static_cast<double>(count) / static_cast<double>(truth.size()));
  }
  Losses mean;
  for (Tensor Losses::*loss : {&Losses::rpn_class, &Losses::rpn_box, &Losses::roi_class,
                               &Losses::roi_box, &Losses::total}) {
    std::vector<Tensor> values;
    for (const Losses& run : terms) values.push_back(run.*loss);
    mean.*loss = weighted_sum(values, shares);
  }
  return mean;
}

Losses FasterRcnn::losses_of_run(const ModelInput& input, const std::vector<GroundTruth>& truth,
                                 const PassKey& key, std::optional<Samples>* samples,
                                 const LossParts& parts) const {
  const bool given = samples && samples->has_value();
  if (device().is_gpu() && !given) {
    check(!samples, "[faster_rcnn] on a GPU the samples stay on the device");
    size_t capacity = 1;
    for (const GroundTruth& objects : truth) capacity = std::max(capacity, objects.boxes.size());
    const DType dtype = parameters_->dtype();
    std::optional<GpuProposals> regions;
    if (!input.regions.empty())
      regions = given_gpu_proposals(input.regions, region_capacity(input.regions), dtype, device());
    return gpu_losses(input.images,
                      image_limits(input.sizes, config_.rpn.train.min_size, dtype, device()),
                      truth_tensors(truth, static_cast<int64_t>(capacity), dtype, device()), key,
                      parts, regions ? &*regions : nullptr);
  }
  const bool from_rpn = input.regions.empty();
  check(from_rpn || !parts.proposal_gradients,
        "[faster_rcnn] given proposals have no gradients: they don't come from the RPN");
  Passed passed = forward(input.images, parts,
                          parts.detector && from_rpn && (!given || parts.proposal_gradients));
  Samples drawn;
  if (given) {
    drawn = **samples;
    check((!parts.rpn || drawn.rpn.labels) && (!parts.detector || drawn.roi.rois),
          "[faster_rcnn] the given samples lack what a loss needs");
    check(
        !parts.proposal_gradients || drawn.roi.sources,
        "[faster_rcnn] the given samples do not tell the anchors of their regions, which gradients "
        "of proposals need");
  } else {
    const Tape::NoGrad constants;
    if (parts.rpn)
      drawn.rpn = sample_anchors(passed.anchors, input.sizes, truth, config_.rpn,
                                 {key.seed, kernels::kStreamAnchorSample, key.pass});
    if (parts.detector)
      drawn.roi =
          sample_rois(from_rpn ? propose(passed.rpn, passed.anchors, input.sizes, /*training=*/true)
                               : given_proposals(input.regions, parameters_->dtype()),
                      truth, config_.roi, {key.seed, kernels::kStreamRoiSample, key.pass});
    if (samples) *samples = drawn;
  }
  const auto here = [&](const Tensor& x) { return x ? x.to(device()) : x; };
  Drawn all{here(drawn.rpn.labels),
            here(drawn.rpn.deltas),
            here(drawn.roi.rois),
            here(drawn.roi.labels),
            here(drawn.roi.deltas),
            static_cast<int64_t>(truth.size()),
            {},
            {},
            {},
            here(drawn.roi.sources),
            parts.proposal_gradients ? image_limits(input.sizes, config_.rpn.train.min_size,
                                                    parameters_->dtype(), device())
                                     : Tensor()};
  if (parts.detector) {
    all.roi_rows = rois_per_image(drawn.roi.rois, truth.size());
    int64_t first = 0;
    for (const int64_t rows : all.roi_rows) {
      const int32_t least = positives_only(config_.roi.normaliser, "roi.normaliser") ? 1 : 0;
      all.regions.emplace_back(labels_from(least, drawn.roi.labels.rows(first, rows)));
      first += rows;
    }
  }
  for (int64_t n = 0; parts.rpn && n < all.images; ++n) {
    const int64_t rows = drawn.rpn.labels.dim(0) / all.images;
    const int32_t least = positives_only(config_.rpn.normaliser, "rpn.normaliser") ? 1 : 0;
    all.sampled.emplace_back(labels_from(least, drawn.rpn.labels.rows(n * rows, rows)));
  }
  if (on_tiles(parts))
    pass_tiles(rpn_tiles(drawn.rpn.labels, drawn.rpn.deltas, all.images, anchors_per_cell()),
               passed, all);
  return combine(passed, all, key, parts);
}

Losses FasterRcnn::gpu_losses(const Tensor& images, const Tensor& limits, const GpuTruth& truth,
                              const PassKey& key, const LossParts& parts,
                              const GpuProposals* regions) const {
  check_parts(parts);
  check(!regions || !parts.proposal_gradients,
        "[faster_rcnn] given proposals have no gradients: they don't come from the RPN");
  Passed passed = forward(images, parts, parts.detector && !regions);
  GpuRpnTargets rpn;
  GpuRoiTargets roi;
  {
    const Tape::NoGrad constants;
    if (parts.rpn)
      rpn = gpu_sample_anchors(
          passed.anchors, limits, truth, config_.rpn,
          {{key.seed, kernels::kStreamAnchorSample, key.pass}, key.pass_on_device});
    if (parts.detector)
      roi = gpu_sample_rois(regions ? *regions
                                    : gpu_proposals(passed.rpn, passed.anchors, limits, config_.rpn,
                                                    config_.rpn.train, parts.proposal_gradients),
                            truth, config_.roi,
                            {{key.seed, kernels::kStreamRoiSample, key.pass}, key.pass_on_device});
  }
  Drawn all{rpn.labels, rpn.deltas, roi.rois, roi.labels,  roi.deltas, limits.dim(0),
            {},         {},         {},       roi.sources, limits};
  for (int64_t n = 0; n < all.images; ++n) {
    all.roi_rows.push_back(config_.roi.batch);
    // Two counts, of which the first is that of the positives.
    if (parts.rpn)
      all.sampled.emplace_back(rpn.sampled.rows(n, 1),
                               positives_only(config_.rpn.normaliser, "rpn.normaliser") ? 2 : 1);
    if (parts.detector)
      all.regions.emplace_back(roi.sampled.rows(n, 1),
                               positives_only(config_.roi.normaliser, "roi.normaliser") ? 2 : 1);
  }
  if (on_tiles(parts))
    pass_tiles(gpu_rpn_tiles(rpn, all.images, anchors_per_cell(), config_.rpn.batch), passed, all);
  return combine(passed, all, key, parts);
}

std::vector<std::vector<ScoredBox>> FasterRcnn::detect(const ModelInput& input) const {
  check_input(input);
  const Tape::NoGrad inference;
  std::vector<std::vector<ScoredBox>> found;
  for (const BatchPart& part : device().is_gpu() ? batch_parts(input) : single_images(input)) {
    auto some = device().is_gpu() ? detect_on_gpu(part.input) : detect_image(part.input);
    std::ranges::move(some, std::back_inserter(found));
  }
  return found;
}

std::vector<std::vector<ScoredBox>> FasterRcnn::detect_image(const ModelInput& input,
                                                             InferenceRecord* record) const {
  const int64_t input_h = input.images.dim(2), input_w = input.images.dim(3);
  const Tensor map = features(input.images, /*training=*/false);
  const Device host;
  Proposals proposals;
  if (input.regions.empty()) {
    RpnOutput rpn_out = rpn_.forward(map);
    rpn_out.logits = rpn_out.logits.to(host);
    rpn_out.deltas = rpn_out.deltas.to(host);
    const Tensor boxes = anchors(rpn_out.map_h, rpn_out.map_w, input_h, input_w).to(host);
    proposals = propose(rpn_out, boxes, input.sizes, /*training=*/false);
    if (record) record->rpn = rpn_out, record->anchors = boxes;
  } else {
    proposals = given_proposals(input.regions, parameters_->dtype());
  }
  const Tensor rois = proposals.rois();
  const Stride s = roi_stride(map.dim(2), map.dim(3), input_h, input_w);
  RoiOutput out = head_.forward(map, rois.to(device()), s.y, s.x, nullptr);
  out.logits = out.logits.to(host);
  out.deltas = out.deltas.to(host);
  if (record) record->proposals = proposals, record->rois = rois, record->roi = out;
  return select_detections(out, rois, input.sizes, config_.roi, config_.test, classes_);
}

InferenceRecord FasterRcnn::record(const ModelInput& input) const {
  check_input(input);
  check(input.sizes.size() == 1, "[faster_rcnn] expected one image to record, got {}",
        input.sizes.size());
  const Tape::NoGrad inference;
  InferenceRecord record;
  for (const BatchPart& part : single_images(input))
    record.detections = detect_image(part.input, &record).at(0);
  return record;
}

std::vector<std::vector<ScoredBox>> FasterRcnn::detect_on_gpu(const ModelInput& input) const {
  Recorded& recorded = *recorded_;
  const std::lock_guard lock(recorded.mutex);
  const DType dtype = parameters_->dtype();
  const Tensor images = input.images.to(dtype);
  const Tensor proposal_limits =
      image_limits(input.sizes, config_.rpn.test.min_size, dtype, Device{});
  const Tensor detection_limits = image_limits(input.sizes, config_.test.min_size, dtype, Device{});
  if (!input.regions.empty()) {
    const GpuProposals regions =
        given_gpu_proposals(input.regions, region_capacity(input.regions), dtype, device());
    return download(gpu_detect(images.to(device()), proposal_limits.to(device()),
                               detection_limits.to(device()), &regions));
  }
  const std::string key = images.shape().string();
  const auto [place, fresh] = recorded.inferences.try_emplace(key);
  Recorded::Inference& inference = place->second;
  if (fresh) {
    const auto like = [&](const Tensor& x) {
      return Tensor::empty(x.shape(), x.dtype(), device());
    };
    inference = {like(images), like(proposal_limits), like(detection_limits), {}};
  }
  recorded.uploader.begin(Uploader::rounded(images.stored_bytes()) +
                          2 * Uploader::rounded(proposal_limits.stored_bytes()));
  recorded.uploader.copy(images, inference.images);
  recorded.uploader.copy(proposal_limits, inference.proposal_limits);
  recorded.uploader.copy(detection_limits, inference.detection_limits);
  recorded.uploader.end();
  recorded.steps.run(key, [&] {
    inference.found =
        gpu_detect(inference.images, inference.proposal_limits, inference.detection_limits);
  });
  return download(inference.found);
}

std::vector<std::vector<ScoredBox>> FasterRcnn::regions(const ModelInput& input,
                                                        bool training) const {
  check_input(input);
  const Tape::NoGrad inference;
  std::vector<std::vector<ScoredBox>> out;
  for (const BatchPart& part : single_images(input)) {
    const Tensor& image = part.input.images;
    RpnOutput output = rpn_.forward(features(image, /*training=*/false));
    const Tensor boxes = anchors(output.map_h, output.map_w, image.dim(2), image.dim(3));
    output.logits = output.logits.to(Device{});
    output.deltas = output.deltas.to(Device{});
    const Proposals made = propose(output, boxes.to(Device{}), part.input.sizes, training);
    std::vector<ScoredBox>& list = out.emplace_back();
    with_float(made.boxes.dtype(), "regions", [&](auto t) {
      using T = decltype(t);
      const T* b = made.boxes.data<T>();
      const T* logit = made.scores.data<T>();
      for (int64_t i = 0; i < made.counts[0]; ++i, b += 4)
        list.push_back({{static_cast<float>(b[0]), static_cast<float>(b[1]),
                         static_cast<float>(b[2]), static_cast<float>(b[3])},
                        0,
                        static_cast<float>(1 / (1 + std::exp(-logit[i])))});
    });
  }
  return out;
}

void FasterRcnn::train_only(const TrainedParts& parts) {
  for (const auto& [prefix, trained] :
       {std::pair("backbone.", parts.backbone), std::pair("rpn.", parts.rpn),
        std::pair("head.", parts.detector)})
    if (!trained) parameters_->set_trainable(prefix, false);
  backbone_fixed_ = !parts.backbone;
}

void FasterRcnn::set_test(const TestConfig& test) {
  config_.test = test;
  if (recorded_) recorded_ = std::make_shared<Recorded>(device());  // the old limits are recorded
}

GpuDetections FasterRcnn::gpu_detect(const Tensor& images, const Tensor& proposal_limits,
                                     const Tensor& detection_limits,
                                     const GpuProposals* regions) const {
  const Tape::NoGrad inference;
  const int64_t input_h = images.dim(2), input_w = images.dim(3);
  const Tensor map = features(images, /*training=*/false);
  GpuProposals proposals;
  if (regions) {
    proposals = *regions;
  } else {
    const RpnOutput rpn_out = rpn_.forward(map);
    proposals = gpu_proposals(rpn_out, anchors(rpn_out.map_h, rpn_out.map_w, input_h, input_w),
                              proposal_limits, config_.rpn, config_.rpn.test);
  }
  const Tensor rois = gpu_rois(proposals);
  const Stride s = roi_stride(map.dim(2), map.dim(3), input_h, input_w);
  const RoiOutput out = head_.forward(map, rois, s.y, s.x, nullptr);
  return gpu_detections(out, rois, detection_limits.dim(0), detection_limits, config_.roi,
                        config_.test, classes_);
}

}  // namespace frcnn
