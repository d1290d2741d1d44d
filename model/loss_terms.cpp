#include "model/loss_terms.h"

#include <algorithm>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

/// The focal form where class_loss asks for it; the plain one otherwise.
kernels::Focal focal_of(const std::string& class_loss, double gamma, double alpha) {
  return class_loss == "focal" ? kernels::Focal{gamma, alpha} : kernels::Focal{};
}

}  // namespace

kernels::BoxCodecParams roi_codec(const RoiConfig& roi) {
  kernels::BoxCodecParams codec;
  std::copy_n(roi.box_mean.begin(), 4, codec.mean.begin());
  std::copy_n(roi.box_std.begin(), 4, codec.std.begin());
  return codec;
}

Tensor rpn_class_loss(const RpnConfig& rpn, const Tensor& logits, const Tensor& labels,
                      const LossNormaliser& normaliser) {
  check(rpn.class_loss == "cross_entropy" || rpn.class_loss == "focal",
        "rpn.class_loss: expected \"cross_entropy\" or \"focal\", got \"{}\"", rpn.class_loss);
  const kernels::Focal focal = focal_of(rpn.class_loss, rpn.focal_gamma, rpn.focal_alpha);
  return rpn.objectness == "softmax" ? softmax_cross_entropy(logits, labels, normaliser, focal)
                                     : sigmoid_cross_entropy(logits, labels, normaliser, focal);
}

Tensor rpn_box_loss(const RpnConfig& rpn, const Tensor& deltas, const Tensor& targets,
                    const Tensor& labels, const LossNormaliser& normaliser) {
  if (rpn.box_loss == "giou") return giou_loss(deltas, targets, labels, {}, normaliser);
  return box_regression_loss(deltas, targets, labels,
                             box_loss_by_name(rpn.box_loss, "rpn.box_loss"), rpn.sigma, normaliser);
}

Tensor roi_class_loss(const RoiConfig& roi, const Tensor& logits, const Tensor& labels,
                      const LossNormaliser& normaliser) {
  if (roi.class_loss == "sigmoid")
    return sigmoid_cross_entropy(logits, one_vs_all_labels(labels, logits.dim(1)), normaliser);
  check(roi.class_loss == "cross_entropy" || roi.class_loss == "focal",
        "roi.class_loss: expected \"cross_entropy\", \"sigmoid\" or \"focal\", got \"{}\"",
        roi.class_loss);
  return softmax_cross_entropy(logits, labels, normaliser,
                               focal_of(roi.class_loss, roi.focal_gamma, roi.focal_alpha));
}

Tensor roi_box_loss(const RoiConfig& roi, const Tensor& deltas, const Tensor& targets,
                    const Tensor& labels, const LossNormaliser& normaliser) {
  if (roi.box_loss == "giou") return giou_loss(deltas, targets, labels, roi_codec(roi), normaliser);
  return box_regression_loss(deltas, targets, labels,
                             box_loss_by_name(roi.box_loss, "roi.box_loss"), roi.sigma, normaliser);
}

}  // namespace frcnn
