#include "engine/ops/losses.h"

#include "engine/dispatch.h"
#include "engine/tape.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/losses/box_loss.h"
#include "kernels/losses/cross_entropy.h"
#include "kernels/losses/giou.h"
#include "kernels/losses/loss_scale.h"

namespace frcnn {
namespace {

using kernels::Focal;
using kernels::LossScale;

Tensor scalar_like(const Tensor& x, double value) {
  Tensor y = Tensor::empty({1}, x.dtype(), x.device());
  y.fill(value);
  return y;
}

void check_labels(const char* op, int64_t count, const Tensor& labels, int64_t classes) {
  check(labels.dtype() == DType::i32 && labels.numel() == count,
        "[{}] expected {} labels of type i32, got {} {}", op, count, name_of(labels.dtype()),
        labels.shape().string());
  if (labels.device().is_gpu()) return;
  for (const int32_t label : labels.span<int32_t>())
    check(label >= -1 && label < classes, "[{}] expected labels from -1 to {}, got {}", op,
          classes - 1, label);
}

/// The factor of a loss on a GPU: 1 / normaliser, in device memory where the counts are there.
struct DeviceScale {
  double value = 1;
  Tensor device;  // one f64, or undefined: 1

  DeviceScale(const LossNormaliser& normaliser, Device where) {
    if (!normaliser.counts) {
      value = 1 / normaliser.value;
      return;
    }
    device = Tensor::empty({1}, DType::f64, where);
    with_gpu(where, [&](auto on) {
      kernels::gpu::loss_scale<decltype(on)::backend>(
          on.stream, 1.0, normaliser.counts.numel() / normaliser.stride,
          normaliser.counts.data<int32_t>(), device.data<double>(), normaliser.stride);
    });
  }
  LossScale kernel() const { return {value, device ? device.data<double>() : nullptr}; }
  /// The factor of the gradient: times the gradient of the loss itself.
  DeviceScale times(const Tensor& gradient) const {
    DeviceScale product = *this;
    product.device = gradient;
    if (device) {
      product.device = Tensor::empty({1}, DType::f64, gradient.device());
      FRCNN_CALL(gradient.device(), multiply, 1, device.data<double>(), gradient.data<double>(),
                 product.device.data<double>());
    }
    return product;
  }
};

/// A loss on a GPU: forward(on, T{}, scale, loss, workspace), then, on the tape,
/// backward(on, T{}, scale, gradient of the input).
template <typename Forward, typename Backward>
Tensor gpu_loss(const char* name, const Tensor& input, const LossNormaliser& normaliser,
                const Forward& forward, const Backward& backward) {
  const Device device = input.device();
  const DeviceScale scale(normaliser, device);
  Tensor loss = Tensor::empty({1}, DType::f64, device);
  Tensor workspace = Tensor::zeros({kernels::gpu::kLossWorkspace}, DType::u8, device);
  with_gpu(device, [&](auto on) {
    with_float(input.dtype(), name, [&](auto t) {
      forward(on, t, scale.kernel(), loss.data<double>(), workspace.raw());
    });
  });
  if (Tape::recording({&input}))
    Tape::record(name, {input}, {loss}, [=](BackwardContext& ctx) {
      const DeviceScale gradient_scale = scale.times(ctx.grad_output());
      ctx.write_input(0, [&](Tensor& d) {
        with_gpu(device, [&](auto on) {
          with_float(d.dtype(), name, [&](auto t) { backward(on, t, gradient_scale.kernel(), d); });
        });
      });
    });
  return loss;
}

Tensor gpu_softmax_cross_entropy(const Tensor& logits, const Tensor& labels,
                                 const LossNormaliser& normaliser, const Focal& focal) {
  const int64_t rows = logits.dim(0), classes = logits.dim(1);
  Tensor p = Tape::recording({&logits}) ? empty_like(logits) : Tensor();
  return gpu_loss(
      "softmax_cross_entropy", logits, normaliser,
      [&](auto on, auto t, const LossScale& scale, double* loss, void* workspace) {
        using T = decltype(t);
        kernels::gpu::softmax_cross_entropy_forward<decltype(on)::backend, T>(
            on.stream, rows, classes, scale, logits.data<T>(), labels.data<int32_t>(),
            p ? p.data<T>() : nullptr, loss, workspace, nullptr, nullptr, {},
            kernels::SoftmaxVersion::registers, focal);
      },
      [=](auto on, auto t, const LossScale& scale, Tensor& d) {
        using T = decltype(t);
        kernels::gpu::softmax_cross_entropy_backward<decltype(on)::backend, T>(
            on.stream, rows, classes, scale, p.data<T>(), labels.data<int32_t>(), d.data<T>(),
            nullptr, focal);
      });
}

Tensor gpu_sigmoid_cross_entropy(const Tensor& logits, const Tensor& labels,
                                 const LossNormaliser& normaliser, const Focal& focal) {
  const int64_t count = logits.numel();
  return gpu_loss(
      "sigmoid_cross_entropy", logits, normaliser,
      [&](auto on, auto t, const LossScale& scale, double* loss, void* workspace) {
        using T = decltype(t);
        kernels::gpu::sigmoid_cross_entropy_forward<decltype(on)::backend>(
            on.stream, count, scale, logits.data<T>(), labels.data<int32_t>(), loss, workspace, {},
            focal);
      },
      [=](auto on, auto t, const LossScale& scale, Tensor& d) {
        using T = decltype(t);
        kernels::gpu::sigmoid_cross_entropy_backward<decltype(on)::backend>(
            on.stream, count, scale, logits.data<T>(), labels.data<int32_t>(), d.data<T>(), focal);
      });
}

Tensor gpu_giou_loss(const kernels::GiouParams& params, const Tensor& predictions,
                     const Tensor& targets, const Tensor& labels,
                     const LossNormaliser& normaliser) {
  const int64_t rows = predictions.dim(0);
  return gpu_loss(
      "giou_loss", predictions, normaliser,
      [&](auto on, auto t, const LossScale& scale, double* loss, void* workspace) {
        using T = decltype(t);
        kernels::gpu::giou_loss_forward<decltype(on)::backend>(
            on.stream, params, rows, scale, predictions.data<T>(), targets.data<T>(),
            labels.data<int32_t>(), loss, workspace);
      },
      [=](auto on, auto t, const LossScale& scale, Tensor& d) {
        using T = decltype(t);
        kernels::gpu::giou_loss_backward<decltype(on)::backend>(
            on.stream, params, rows, scale, predictions.data<T>(), targets.data<T>(),
            labels.data<int32_t>(), d.data<T>());
      });
}

/// Predictions (R, 4 G), targets (R, 4), labels (R). Returns G.
int64_t check_box_rows(const char* op, const Tensor& predictions, const Tensor& targets,
                       const Tensor& labels) {
  check(predictions.rank() == 2 && predictions.dim(1) % 4 == 0 &&
            targets.shape() == Shape{predictions.dim(0), 4} &&
            targets.dtype() == predictions.dtype(),
        "[{}] expected predictions (R, 4 G) and targets (R, 4) of one type, got {} and {}", op,
        predictions.shape().string(), targets.shape().string());
  const int64_t groups = predictions.dim(1) / 4;
  // With one group every positive class shares it.
  check_labels(op, predictions.dim(0), labels, groups > 1 ? groups : (int64_t{1} << 30));
  return groups;
}

Tensor gpu_box_loss(const kernels::BoxLossParams& params, const Tensor& predictions,
                    const Tensor& targets, const Tensor& labels, const LossNormaliser& normaliser) {
  const int64_t rows = predictions.dim(0);
  return gpu_loss(
      "box_loss", predictions, normaliser,
      [&](auto on, auto t, const LossScale& scale, double* loss, void* workspace) {
        using T = decltype(t);
        kernels::gpu::box_loss_forward<decltype(on)::backend>(
            on.stream, params, rows, scale, predictions.data<T>(), targets.data<T>(),
            labels.data<int32_t>(), loss, workspace);
      },
      [=](auto on, auto t, const LossScale& scale, Tensor& d) {
        using T = decltype(t);
        kernels::gpu::box_loss_backward<decltype(on)::backend>(
            on.stream, params, rows, scale, predictions.data<T>(), targets.data<T>(),
            labels.data<int32_t>(), d.data<T>());
      });
}

double host_value(const char* op, const LossNormaliser& normaliser) {
  check(!normaliser.counts, "[{}] counts on the device need an input there", op);
  return normaliser.value;
}

}  // namespace

Tensor softmax_cross_entropy(const Tensor& logits, const Tensor& labels, const LossNormaliser& by,
                             const Focal& focal) {
  check(logits.rank() == 2, "[softmax_cross_entropy] expected logits (R, C), got {}",
        logits.shape().string());
  const int64_t rows = logits.dim(0), classes = logits.dim(1);
  check_labels("softmax_cross_entropy", rows, labels, classes);
  if (logits.device().is_gpu()) return gpu_softmax_cross_entropy(logits, labels, by, focal);
  const double normaliser = host_value("softmax_cross_entropy", by);
  const bool record = Tape::recording({&logits});
  Tensor p = record ? empty_like(logits) : Tensor();
  double sum = 0;
  with_float(logits.dtype(), "softmax_cross_entropy", [&](auto t) {
    using T = decltype(t);
    sum = kernels::cpu::softmax_cross_entropy_forward<T>(
        rows, classes, logits.data<T>(), labels.data<int32_t>(), record ? p.data<T>() : nullptr,
        nullptr, nullptr, focal);
  });
  Tensor loss = scalar_like(logits, sum / normaliser);
  if (record)
    Tape::record("softmax_cross_entropy", {logits}, {loss},
                 [rows, classes, p, labels, normaliser, focal](BackwardContext& ctx) {
                   Tensor gradient = p;
                   const double scale = ctx.grad_output().item() / normaliser;
                   with_float(p.dtype(), "softmax_cross_entropy", [&](auto t) {
                     using T = decltype(t);
                     kernels::cpu::softmax_cross_entropy_backward<T>(
                         rows, classes, scale, p.data<T>(), labels.data<int32_t>(),
                         gradient.data<T>(), nullptr, focal);
                   });
                   ctx.give_input(0, gradient);
                 });
  return loss;
}

Tensor sigmoid_cross_entropy(const Tensor& logits, const Tensor& labels, const LossNormaliser& by,
                             const Focal& focal) {
  check_labels("sigmoid_cross_entropy", logits.numel(), labels, 2);
  if (logits.device().is_gpu()) return gpu_sigmoid_cross_entropy(logits, labels, by, focal);
  const double normaliser = host_value("sigmoid_cross_entropy", by);
  double sum = 0;
  with_float(logits.dtype(), "sigmoid_cross_entropy", [&](auto t) {
    using T = decltype(t);
    sum = kernels::cpu::sigmoid_cross_entropy_forward(logits.numel(), logits.data<T>(),
                                                      labels.data<int32_t>(), focal);
  });
  Tensor loss = scalar_like(logits, sum / normaliser);
  if (Tape::recording({&logits}))
    Tape::record("sigmoid_cross_entropy", {logits}, {loss},
                 [logits, labels, normaliser, focal](BackwardContext& ctx) {
                   const double scale = ctx.grad_output().item() / normaliser;
                   ctx.write_input(0, [&](Tensor& d) {
                     with_float(d.dtype(), "sigmoid_cross_entropy", [&](auto t) {
                       using T = decltype(t);
                       kernels::cpu::sigmoid_cross_entropy_backward(
                           logits.numel(), scale, logits.data<T>(), labels.data<int32_t>(),
                           d.data<T>(), focal);
                     });
                   });
                 });
  return loss;
}

Tensor one_vs_all_labels(const Tensor& labels, int64_t classes) {
  check_labels("one_vs_all_labels", labels.numel(), labels, classes);
  Tensor out = Tensor::empty({labels.numel(), classes}, DType::i32, labels.device());
  FRCNN_CALL(labels.device(), one_vs_all_labels, labels.numel(), classes, labels.data<int32_t>(),
             out.data<int32_t>());
  return out;
}

BoxLoss box_loss_by_name(const std::string& name, const std::string& key) {
  if (name == "smooth_l1") return BoxLoss::smooth_l1;
  if (name == "l1") return BoxLoss::l1;
  check(name == "mse", "{}: expected \"smooth_l1\", \"l1\" or \"mse\", got \"{}\"", key, name);
  return BoxLoss::mse;
}

Tensor box_regression_loss(const Tensor& predictions, const Tensor& targets, const Tensor& labels,
                           BoxLoss loss, double sigma, const LossNormaliser& by) {
  const int64_t rows = predictions.dim(0);
  const int64_t groups = check_box_rows("box_loss", predictions, targets, labels);
  const kernels::BoxLossParams params{loss, sigma, groups};
  if (predictions.device().is_gpu()) return gpu_box_loss(params, predictions, targets, labels, by);
  const double normaliser = host_value("box_loss", by);
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

Tensor giou_loss(const Tensor& predictions, const Tensor& targets, const Tensor& labels,
                 const kernels::BoxCodecParams& codec, const LossNormaliser& by) {
  const int64_t rows = predictions.dim(0);
  const kernels::GiouParams params{codec,
                                   check_box_rows("giou_loss", predictions, targets, labels)};
  if (predictions.device().is_gpu()) return gpu_giou_loss(params, predictions, targets, labels, by);
  const double normaliser = host_value("giou_loss", by);
  double sum = 0;
  with_float(predictions.dtype(), "giou_loss", [&](auto t) {
    using T = decltype(t);
    sum = kernels::cpu::giou_loss_forward(params, rows, predictions.data<T>(), targets.data<T>(),
                                          labels.data<int32_t>());
  });
  Tensor result = scalar_like(predictions, sum / normaliser);
  if (Tape::recording({&predictions}))
    Tape::record("giou_loss", {predictions}, {result},
                 [params, rows, predictions, targets, labels, normaliser](BackwardContext& ctx) {
                   const double scale = ctx.grad_output().item() / normaliser;
                   ctx.write_input(0, [&](Tensor& d) {
                     with_float(d.dtype(), "giou_loss", [&](auto t) {
                       using T = decltype(t);
                       kernels::cpu::giou_loss_backward(params, rows, scale, predictions.data<T>(),
                                                        targets.data<T>(), labels.data<int32_t>(),
                                                        d.data<T>());
                     });
                   });
                 });
  return result;
}

}  // namespace frcnn
