#pragma once

#include "engine/ops/losses.h"
#include "model/config.h"

namespace frcnn {

// The four losses of one picture by the settings of [rpn] and [roi], each divided by `normaliser`.
// Equations: kernels/losses/cross_entropy.h, focal.h, box_loss.h, giou.h. Words that do not exist
// in a setting throw Error.

/// L_cls of the RPN: cross-entropy or focal loss of softmax (logits (R, 2)) or sigmoid (R, 1).
/// labels (R) i32: 1 object, 0 background, -1 not sampled.
Tensor rpn_class_loss(const RpnConfig& rpn, const Tensor& logits, const Tensor& labels,
                      const LossNormaliser& normaliser);
/// L_reg of the RPN over rows with label 1: deltas and targets (R, 4).
Tensor rpn_box_loss(const RpnConfig& rpn, const Tensor& deltas, const Tensor& targets,
                    const Tensor& labels, const LossNormaliser& normaliser);
/// Classification by the detection head, logits (R, K + 1), labels (R) i32, 0 background, -1 left
/// out. "sigmoid": the sum of K binary cross-entropies, background is "none of them" and column 0
/// of the logits takes no part.
Tensor roi_class_loss(const RoiConfig& roi, const Tensor& logits, const Tensor& labels,
                      const LossNormaliser& normaliser);
/// Box regression over rows with label above 0: deltas (R, 4 (K + 1)) or (R, 4), targets (R, 4).
Tensor roi_box_loss(const RoiConfig& roi, const Tensor& deltas, const Tensor& targets,
                    const Tensor& labels, const LossNormaliser& normaliser);

/// The codec of roi.box_mean and roi.box_std.
kernels::BoxCodecParams roi_codec(const RoiConfig& roi);

}  // namespace frcnn
