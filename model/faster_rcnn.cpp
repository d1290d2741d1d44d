#include "model/faster_rcnn.h"

#include <algorithm>
#include <cmath>

#include "engine/dispatch.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/losses.h"
#include "engine/tape.h"
#include "kernels/boxes/anchors.h"
#include "model/detections.h"

namespace frcnn {
namespace {

void check_input(const ModelInput& input) {
  check(input.images.rank() == 4 && input.images.dim(1) == 3 &&
            input.images.dim(0) == static_cast<int64_t>(input.sizes.size()),
        "[faster_rcnn] expected images (N, 3, H, W) and N sizes, got {} and {}",
        input.images.shape().string(), input.sizes.size());
  for (const InputSize& size : input.sizes)
    check(size.height > 0 && size.width > 0 && size.height <= input.images.dim(2) &&
              size.width <= input.images.dim(3),
          "[faster_rcnn] an image of {} x {} does not fit the batch {}", size.height, size.width,
          input.images.shape().string());
}

kernels::AnchorParams anchor_params(const AnchorConfig& config) {
  kernels::AnchorParams params;
  params.sizes = config.sizes;
  params.ratios = config.ratios;
  if (config.rounding == "torchvision")
    params.rounding = kernels::AnchorRounding::torchvision;
  else if (config.rounding == "none")
    params.rounding = kernels::AnchorRounding::none;
  else
    check(config.rounding == "paper",
          "anchors.rounding: expected \"paper\", \"torchvision\" or \"none\", got \"{}\"",
          config.rounding);
  check(config.centre == "cell" || config.centre == "corner",
        "anchors.centre: expected \"cell\" or \"corner\", got \"{}\"", config.centre);
  params.centre =
      config.centre == "cell" ? kernels::AnchorCentre::cell : kernels::AnchorCentre::corner;
  return params;
}

}  // namespace

FasterRcnn::FasterRcnn(const ModelConfig& config, int64_t classes, uint64_t seed, DType dtype,
                       bool fill)
    : config_(config),
      classes_(classes),
      parameters_(std::make_unique<Parameters>(seed, dtype, fill)),
      backbone_(frcnn::backbone_spec(config.backbone), config.backbone, *parameters_),
      rpn_(config.rpn, backbone_.spec().out_channels(),
           config.rpn.channels > 0 ? config.rpn.channels : backbone_.spec().rpn_channels,
           anchors_per_cell(), *parameters_),
      head_(config.roi, backbone_.spec().out_channels(), classes, *parameters_) {
  check(classes > 0, "[faster_rcnn] a detector needs at least one class");
}

int64_t FasterRcnn::anchors_per_cell() const {
  return static_cast<int64_t>(config_.anchors.sizes.size() * config_.anchors.ratios.size());
}

FasterRcnn::Stride FasterRcnn::stride(int64_t map_h, int64_t map_w, int64_t input_h,
                                      int64_t input_w) const {
  const std::string& rule = config_.anchors.stride_rule;
  if (rule == "nominal") {
    const double nominal = static_cast<double>(backbone_.spec().stride());
    return {nominal, nominal};
  }
  const double y = static_cast<double>(input_h) / static_cast<double>(map_h);
  const double x = static_cast<double>(input_w) / static_cast<double>(map_w);
  if (rule == "map") return {std::floor(y), std::floor(x)};
  check(rule == "exact",
        "anchors.stride_rule: expected \"nominal\", \"map\" or \"exact\", got \"{}\"", rule);
  return {y, x};
}

Tensor FasterRcnn::anchors(int64_t map_h, int64_t map_w, int64_t input_h, int64_t input_w) const {
  const Stride s = stride(map_h, map_w, input_h, input_w);
  const kernels::AnchorParams params = anchor_params(config_.anchors);
  Tensor boxes = Tensor::empty({map_h * map_w * params.per_cell(), 4}, parameters_->dtype());
  with_float(boxes.dtype(), "anchors", [&](auto t) {
    using T = decltype(t);
    kernels::cpu::grid_anchors<T>(params, map_h, map_w, s.y, s.x, boxes.data<T>());
  });
  return boxes;
}

Tensor FasterRcnn::features(const Tensor& images, bool training) const {
  return backbone_.forward(images.to(parameters_->dtype()), training);
}

Proposals FasterRcnn::propose(const RpnOutput& output, const Tensor& anchor_boxes,
                              const std::vector<InputSize>& sizes, bool training) const {
  return make_proposals(output, anchor_boxes, sizes, config_.rpn,
                        training ? config_.rpn.train : config_.rpn.test);
}

Losses FasterRcnn::losses(const ModelInput& input, const std::vector<GroundTruth>& truth,
                          const PassKey& key, std::optional<Samples>* samples) const {
  check_input(input);
  check(truth.size() == input.sizes.size(),
        "[faster_rcnn] expected ground truth of {} images, got {}", input.sizes.size(),
        truth.size());
  const int64_t input_h = input.images.dim(2), input_w = input.images.dim(3);
  const Tensor map = features(input.images, /*training=*/true);
  const RpnOutput rpn_out = rpn_.forward(map);
  const Tensor anchor_boxes = anchors(rpn_out.map_h, rpn_out.map_w, input_h, input_w);

  Samples drawn;
  if (samples && samples->has_value()) {
    drawn = **samples;
  } else {
    const Tape::NoGrad constants;
    const Proposals proposals = propose(rpn_out, anchor_boxes, input.sizes, /*training=*/true);
    drawn.rpn = sample_anchors(anchor_boxes, input.sizes, truth, config_.rpn,
                               {key.seed, kernels::kStreamAnchorSample, key.pass});
    drawn.roi =
        sample_rois(proposals, truth, config_.roi, {key.seed, kernels::kStreamRoiSample, key.pass});
    if (samples) *samples = drawn;
  }

  const kernels::RandomKey dropout_key{key.seed, kernels::kStreamDropout, key.pass};
  const Stride s = stride(rpn_out.map_h, rpn_out.map_w, input_h, input_w);
  const RoiOutput roi_out = head_.forward(map, drawn.roi.rois, s.y, s.x, &dropout_key);

  // Without a sample (an image without objects and without inside anchors) sums are 0, not 0 / 0.
  const double sampled = static_cast<double>(std::max<int64_t>(1, drawn.rpn.sampled));
  const double regions = static_cast<double>(std::max<int64_t>(1, drawn.roi.rois.dim(0)));
  const bool paper = config_.rpn.normaliser == "paper";
  check(paper || config_.rpn.normaliser == "batch",
        "rpn.normaliser: expected \"batch\" or \"paper\", got \"{}\"", config_.rpn.normaliser);
  const double images = static_cast<double>(input.sizes.size());
  // Equation 1 of the paper: N_cls is the mini-batch, N_reg the number of anchor locations.
  const double n_cls = paper ? config_.rpn.batch * images : sampled;
  const double n_reg =
      paper ? static_cast<double>(rpn_out.map_h * rpn_out.map_w) * images : sampled;

  Losses losses;
  losses.rpn_class = config_.rpn.objectness == "softmax"
                         ? softmax_cross_entropy(rpn_out.logits, drawn.rpn.labels, n_cls)
                         : sigmoid_cross_entropy(rpn_out.logits, drawn.rpn.labels, n_cls);
  losses.rpn_box = box_regression_loss(rpn_out.deltas, drawn.rpn.deltas, drawn.rpn.labels,
                                       box_loss_by_name(config_.rpn.box_loss, "rpn.box_loss"),
                                       config_.rpn.sigma, n_reg);
  losses.roi_class = softmax_cross_entropy(roi_out.logits, drawn.roi.labels, regions);
  losses.roi_box = box_regression_loss(roi_out.deltas, drawn.roi.deltas, drawn.roi.labels,
                                       box_loss_by_name(config_.roi.box_loss, "roi.box_loss"),
                                       config_.roi.sigma, regions);
  losses.total = weighted_sum({losses.rpn_class, losses.rpn_box, losses.roi_class, losses.roi_box},
                              {1, config_.rpn.lambda, 1, config_.roi.lambda});
  return losses;
}

std::vector<std::vector<ScoredBox>> FasterRcnn::detect(const ModelInput& input) const {
  check_input(input);
  const Tape::NoGrad inference;
  const int64_t input_h = input.images.dim(2), input_w = input.images.dim(3);
  const Tensor map = features(input.images, /*training=*/false);
  const RpnOutput rpn_out = rpn_.forward(map);
  const Proposals proposals =
      propose(rpn_out, anchors(rpn_out.map_h, rpn_out.map_w, input_h, input_w), input.sizes,
              /*training=*/false);
  const Tensor rois = proposals.rois();
  const Stride s = stride(rpn_out.map_h, rpn_out.map_w, input_h, input_w);
  const RoiOutput out = head_.forward(map, rois, s.y, s.x, nullptr);
  return select_detections(out, rois, input.sizes, config_.roi, config_.test, classes_);
}

}  // namespace frcnn
