#pragma once

#include <string>

#include "engine/tensor.h"
#include "kernels/losses/box_loss.h"

namespace frcnn {

// Losses as differentiable scalars. Labels and targets are constants.

/// normaliser^-1 * sum over rows with label >= 0 of -log softmax(logits)[label]. logits (R, C),
/// labels (R) i32, -1 ignored.
Tensor softmax_cross_entropy(const Tensor& logits, const Tensor& labels, double normaliser);
/// normaliser^-1 * sum over elements with label >= 0 of the binary cross-entropy of sigmoid(logit).
/// logits (R, 1) or (R), labels (R) i32 in {0, 1}, -1 ignored.
Tensor sigmoid_cross_entropy(const Tensor& logits, const Tensor& labels, double normaliser);

using BoxLoss = kernels::BoxPenalty;
/// By the name a config uses; Error for others. `key` names the option in the message.
BoxLoss box_loss_by_name(const std::string& name, const std::string& key);

/// normaliser^-1 * sum over rows with label > 0 and their four columns of loss(prediction -
/// target). predictions (R, 4 G) with G groups of four columns: with G > 1 row r uses group
/// labels[r], with G = 1 the only one. targets (R, 4), labels (R) i32. sigma: smooth-L1 turns
/// linear at 1 / sigma^2.
Tensor box_regression_loss(const Tensor& predictions, const Tensor& targets, const Tensor& labels,
                           BoxLoss loss, double sigma, double normaliser);

}  // namespace frcnn
