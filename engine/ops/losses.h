#pragma once

#include <string>
#include <utility>

#include "engine/tensor.h"
#include "kernels/losses/box_loss.h"
#include "kernels/losses/focal.h"
#include "kernels/losses/giou.h"

namespace frcnn {

// Losses as differentiable scalars: of the input's type on the CPU; of type f64 on a GPU, where
// nothing waits for their values and labels are not validated (a label beyond the classes makes the
// loss NaN). Labels and targets are constants.

/// What a sum is divided by: a number, or on a GPU the sum of counts (i32) that are known to the
/// device alone, at least 1.
struct LossNormaliser {
  double value = 1;
  Tensor counts;       ///< undefined: value
  int64_t stride = 1;  ///< every stride-th count is added, from the first on

  LossNormaliser(double value_) : value(value_) {}     // NOLINT: a number is one
  LossNormaliser(Tensor counts_, int64_t stride_ = 1)  // NOLINT
      : counts(std::move(counts_)), stride(stride_) {}
};

/// normaliser^-1 * sum over rows with label >= 0 of -log softmax(logits)[label]. logits (R, C),
/// labels (R) i32, -1 ignored. With `focal` its focal form (kernels/losses/focal.h).
Tensor softmax_cross_entropy(const Tensor& logits, const Tensor& labels,
                             const LossNormaliser& normaliser, const kernels::Focal& focal = {});
/// normaliser^-1 * sum over elements with label >= 0 of the binary cross-entropy of sigmoid(logit).
/// logits of any shape, as many labels i32 in {0, 1}, -1 ignored. With `focal` its focal form.
Tensor sigmoid_cross_entropy(const Tensor& logits, const Tensor& labels,
                             const LossNormaliser& normaliser, const kernels::Focal& focal = {});
/// Labels (R, classes) of one binary problem per class, from labels (R) i32 of which 0 is
/// background: kernels::cpu::one_vs_all_labels(). Nothing is recorded.
Tensor one_vs_all_labels(const Tensor& labels, int64_t classes);

using BoxLoss = kernels::BoxPenalty;
/// By the name a config uses; Error for others. `key` names the option in the message.
BoxLoss box_loss_by_name(const std::string& name, const std::string& key);

/// normaliser^-1 * sum over rows with label > 0 and their four columns of loss(prediction -
/// target). predictions (R, 4 G) with G groups of four columns: with G > 1 row r uses group
/// labels[r], with G = 1 the only one. targets (R, 4), labels (R) i32. sigma: smooth-L1 turns
/// linear at 1 / sigma^2.
Tensor box_regression_loss(const Tensor& predictions, const Tensor& targets, const Tensor& labels,
                           BoxLoss loss, double sigma, const LossNormaliser& normaliser);

/// normaliser^-1 * sum over rows with label > 0 of 1 - GIoU of the boxes that predictions and
/// targets decode to (kernels/losses/giou.h), whatever the anchors. Arguments as of
/// box_regression_loss(), deltas of `codec`.
Tensor giou_loss(const Tensor& predictions, const Tensor& targets, const Tensor& labels,
                 const kernels::BoxCodecParams& codec, const LossNormaliser& normaliser);

}  // namespace frcnn
