#include "engine/ops/losses.h"

#include "engine/dispatch.h"
#include "engine/tape.h"
#include "kernels/losses/box_loss.h"
#include "kernels/losses/cross_entropy.h"

namespace frcnn {
namespace {

Tensor scalar_like(const Tensor& x, double value) {
  Tensor y = Tensor::empty({1}, x.dtype(), x.device());
  y.fill(value);
  return y;
}

void check_labels(const char* op, const Tensor& x, const Tensor& labels, int64_t classes) {
  check(labels.dtype() == DType::i32 && labels.numel() == x.dim(0),
        "[{}] expected {} labels of type i32, got {} {}", op, x.dim(0), name_of(labels.dtype()),
        labels.shape().string());
  for (const int32_t label : labels.span<int32_t>())
    check(label >= -1 && label < classes, "[{}] expected labels from -1 to {}, got {}", op,
          classes - 1, label);
}

}  // namespace

Tensor softmax_cross_entropy(const Tensor& logits, const Tensor& labels, double normaliser) {
  check(logits.rank() == 2, "[softmax_cross_entropy] expected logits (R, C), got {}",
        logits.shape().string());
  const int64_t rows = logits.dim(0), classes = logits.dim(1);
  check_labels("softmax_cross_entropy", logits, labels, classes);
  const bool record = Tape::recording({&logits});
  Tensor p = record ? empty_like(logits) : Tensor();
  double sum = 0;
  with_float(logits.dtype(), "softmax_cross_entropy", [&](auto t) {
    using T = decltype(t);
    sum = kernels::cpu::softmax_cross_entropy_forward(
        rows, classes, logits.data<T>(), labels.data<int32_t>(), record ? p.data<T>() : nullptr);
  });
  Tensor loss = scalar_like(logits, sum / normaliser);
  if (record)
    Tape::record("softmax_cross_entropy", {logits}, {loss},
                 [rows, classes, p, labels, normaliser](BackwardContext& ctx) {
                   Tensor gradient = p;
                   const double scale = ctx.grad_output().item() / normaliser;
                   with_float(p.dtype(), "softmax_cross_entropy", [&](auto t) {
                     using T = decltype(t);
                     kernels::cpu::softmax_cross_entropy_backward(rows, classes, scale, p.data<T>(),
                                                                  labels.data<int32_t>(),
                                                                  gradient.data<T>());
                   });
                   ctx.give_input(0, gradient);
                 });
  return loss;
}

Tensor sigmoid_cross_entropy(const Tensor& logits, const Tensor& labels, double normaliser) {
  check(logits.numel() == logits.dim(0), "[sigmoid_cross_entropy] expected logits (R, 1), got {}",
        logits.shape().string());
  check_labels("sigmoid_cross_entropy", logits, labels, 2);
  double sum = 0;
  with_float(logits.dtype(), "sigmoid_cross_entropy", [&](auto t) {
    using T = decltype(t);
    sum = kernels::cpu::sigmoid_cross_entropy_forward(logits.numel(), logits.data<T>(),
                                                      labels.data<int32_t>());
  });
  Tensor loss = scalar_like(logits, sum / normaliser);
  if (Tape::recording({&logits}))
    Tape::record("sigmoid_cross_entropy", {logits}, {loss},
                 [logits, labels, normaliser](BackwardContext& ctx) {
                   const double scale = ctx.grad_output().item() / normaliser;
                   ctx.write_input(0, [&](Tensor& d) {
                     with_float(d.dtype(), "sigmoid_cross_entropy", [&](auto t) {
                       using T = decltype(t);
                       kernels::cpu::sigmoid_cross_entropy_backward(
                           logits.numel(), scale, logits.data<T>(), labels.data<int32_t>(),
                           d.data<T>());
                     });
                   });
                 });
  return loss;
}

BoxLoss box_loss_by_name(const std::string& name, const std::string& key) {
  if (name == "smooth_l1") return BoxLoss::smooth_l1;
  if (name == "l1") return BoxLoss::l1;
  check(name == "mse", "{}: expected \"smooth_l1\", \"l1\" or \"mse\", got \"{}\"", key, name);
  return BoxLoss::mse;
}

Tensor box_regression_loss(const Tensor& predictions, const Tensor& targets, const Tensor& labels,
                           BoxLoss loss, double sigma, double normaliser) {
  check(predictions.rank() == 2 && predictions.dim(1) % 4 == 0 &&
            targets.shape() == Shape{predictions.dim(0), 4} &&
            targets.dtype() == predictions.dtype(),
        "[box_loss] expected predictions (R, 4 G) and targets (R, 4) of one type, got {} and {}",
        predictions.shape().string(), targets.shape().string());
  const int64_t rows = predictions.dim(0), groups = predictions.dim(1) / 4;
  // With one group every positive class shares it.
  check_labels("box_loss", predictions, labels, groups > 1 ? groups : (int64_t{1} << 30));
  const kernels::BoxLossParams params{loss, sigma, groups};
  double sum = 0;
  with_float(predictions.dtype(), "box_loss", [&](auto t) {
    using T = decltype(t);
    sum = kernels::cpu::box_loss_forward(params, rows, predictions.data<T>(), targets.data<T>(),
                                         labels.data<int32_t>());
  });
  Tensor result = scalar_like(predictions, sum / normaliser);
  if (Tape::recording({&predictions}))
    Tape::record("box_loss", {predictions}, {result},
                 [params, rows, predictions, targets, labels, normaliser](BackwardContext& ctx) {
                   const double scale = ctx.grad_output().item() / normaliser;
                   ctx.write_input(0, [&](Tensor& d) {
                     with_float(d.dtype(), "box_loss", [&](auto t) {
                       using T = decltype(t);
                       kernels::cpu::box_loss_backward(params, rows, scale, predictions.data<T>(),
                                                       targets.data<T>(), labels.data<int32_t>(),
                                                       d.data<T>());
                     });
                   });
                 });
  return result;
}

}  // namespace frcnn
