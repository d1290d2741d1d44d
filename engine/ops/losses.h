#pragma once

#include <string>
#include <utility>

#include "engine/tensor.h"
#include "kernels/losses/box_loss.h"

namespace frcnn {

// Losses as differentiable scalars: of the input's type on the CPU; of type f64 on a GPU, where
// nothing waits for their values and labels are not validated (a label beyond the classes makes the
// loss NaN). Labels and targets are constants.

/// What a sum is divided by: a number, or on a GPU the sum of counts (i32) that are known to the
/// device alone, at least 1.
struct LossNormaliser {
  double value = 1;
  Tensor counts;  ///< undefined: value

  LossNormaliser(double value_) : value(value_) {}                // NOLINT: a number is one
  LossNormaliser(Tensor counts_) : counts(std::move(counts_)) {}  // NOLINT
};

/// normaliser^-1 * sum over rows with label >= 0 of -log softmax(logits)[label]. logits (R, C),
/// labels (R) i32, -1 ignored.
Tensor softmax_cross_entropy(const Tensor& logits, const Tensor& labels,
                             const LossNormaliser& normaliser);
/// normaliser^-1 * sum over elements with label >= 0 of the binary cross-entropy of sigmoid(logit).
/// logits (R, 1) or (R), labels (R) i32 in {0, 1}, -1 ignored.
Tensor sigmoid_cross_entropy(const Tensor& logits, const Tensor& labels,
                             const LossNormaliser& normaliser);

using BoxLoss = kernels::BoxPenalty;
/// By the name a config uses; Error for others. `key` names the option in the message.
BoxLoss box_loss_by_name(const std::string& name, const std::string& key);

/// normaliser^-1 * sum over rows with label > 0 and their four columns of loss(prediction -
/// target). predictions (R, 4 G) with G groups of four columns: with G > 1 row r uses group
/// labels[r], with G = 1 the only one. targets (R, 4), labels (R) i32. sigma: smooth-L1 turns
/// linear at 1 / sigma^2.
Tensor box_regression_loss(const Tensor& predictions, const Tensor& targets, const Tensor& labels,
                           BoxLoss loss, double sigma, const LossNormaliser& normaliser);

}  // namespace frcnn
