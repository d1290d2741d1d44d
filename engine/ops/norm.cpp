#include "engine/ops/norm.h"

#include <cmath>

#include "engine/byte_buffer.h"
#include "engine/dispatch.h"
#include "engine/tape.h"

namespace frcnn {
namespace {

/// FRCNN_CALL with one more argument on a GPU.
#define FRCNN_CALL_WITH(device, extra, function, ...)                                           \
  with_device((device), [&](auto frcnn_on) {                                                    \
    if constexpr (decltype(frcnn_on)::gpu)                                                      \
      kernels::gpu::function<decltype(frcnn_on)::backend>(frcnn_on.stream, __VA_ARGS__, extra); \
    else                                                                                        \
      kernels::cpu::function(__VA_ARGS__);                                                      \
  })

/// Memory for the sums of a batch norm; none on the CPU.
Tensor norm_workspace(const Tensor& x) {
  const size_t bytes = x.device().is_gpu() ? kernels::gpu::batch_norm_workspace(x.map_layout()) : 0;
  return byte_buffer(bytes, x.device());
}

template <typename T>
T* data_or_null(Tensor* tensor) {
  return tensor ? tensor->data<T>() : nullptr;
}

/// Runs body(dgamma or nullptr, dbeta or nullptr) with the buffers of the wanted gradients.
template <typename Body>
void with_scale_gradients(BackwardContext& ctx, const Body& body) {
  const auto with_beta = [&](Tensor* dgamma) {
    if (!ctx.needs_input(2)) return body(dgamma, nullptr);
    ctx.write_input(2, [&](Tensor& dbeta) { body(dgamma, &dbeta); });
  };
  if (!ctx.needs_input(1)) return with_beta(nullptr);
  ctx.write_input(1, [&](Tensor& dgamma) { with_beta(&dgamma); });
}

Tensor batch_norm_train(const Tensor& x, BatchNormTensors bn,
                        const kernels::BatchNormParams& params) {
  const kernels::MapLayout map = x.map_layout();
  Tensor y = empty_like(x);
  Tensor mean = Tensor::empty({map.c}, x.dtype(), x.device()),
         rstd = Tensor::empty({map.c}, x.dtype(), x.device());
  Tensor workspace = norm_workspace(x);
  with_float(x.dtype(), "batch_norm", [&](auto t) {
    using T = decltype(t);
    FRCNN_CALL_WITH(x.device(), workspace.raw(), batch_norm_train_forward, map, params, x.data<T>(),
                    bn.gamma.data<T>(), bn.beta.data<T>(), y.data<T>(), mean.data<T>(),
                    rstd.data<T>(), bn.running_mean.data<T>(), bn.running_var.data<T>());
  });
  bn.running_mean.bump_version();
  bn.running_var.bump_version();
  if (!Tape::recording({&x, &bn.gamma, &bn.beta})) return y;
  const Tensor kept = params.relu ? y : Tensor(), gamma = bn.gamma;
  Tape::record("batch_norm", {x, bn.gamma, bn.beta}, {y},
               [map, params, x, kept, gamma, mean, rstd](BackwardContext& ctx) {
                 Tensor& dy = ctx.grad_output();
                 Tensor scratch = norm_workspace(x);
                 with_scale_gradients(ctx, [&](Tensor* dgamma, Tensor* dbeta) {
                   with_float(x.dtype(), "batch_norm", [&](auto t) {
                     using T = decltype(t);
                     FRCNN_CALL_WITH(x.device(), scratch.raw(), batch_norm_train_backward, map,
                                     params, x.data<T>(), kept ? kept.data<T>() : nullptr,
                                     gamma.data<T>(), mean.data<T>(), rstd.data<T>(), dy.data<T>(),
                                     dy.data<T>(), data_or_null<T>(dgamma), data_or_null<T>(dbeta));
                   });
                 });
                 ctx.give_input(0, dy);
               });
  return y;
}

}  // namespace

Tensor batch_norm(const Tensor& x, const BatchNormTensors& bn,
                  const kernels::BatchNormParams& params, bool training) {
  const kernels::MapLayout map = x.map_layout();
  for (const Tensor* tensor : {&bn.gamma, &bn.beta, &bn.running_mean, &bn.running_var})
    check(tensor->shape() == Shape{map.c} && tensor->dtype() == x.dtype(),
          "[batch_norm] expected four arrays of {} channels, got {}", map.c,
          tensor->shape().string());
  if (training) return batch_norm_train(x, bn, params);
  Tensor y = empty_like(x);
  with_float(x.dtype(), "batch_norm", [&](auto t) {
    using T = decltype(t);
    FRCNN_CALL(x.device(), batch_norm_frozen_forward, map, params, x.data<T>(), bn.gamma.data<T>(),
               bn.beta.data<T>(), bn.running_mean.data<T>(), bn.running_var.data<T>(), y.data<T>());
  });
  if (!Tape::recording({&x, &bn.gamma, &bn.beta})) return y;
  const Tensor kept = params.relu ? y : Tensor();
  Tape::record(
      "batch_norm", {x, bn.gamma, bn.beta}, {y}, [map, params, x, kept, bn](BackwardContext& ctx) {
        Tensor& dy = ctx.grad_output();
        Tensor scratch = norm_workspace(x);
        with_scale_gradients(ctx, [&](Tensor* dgamma, Tensor* dbeta) {
          with_float(x.dtype(), "batch_norm", [&](auto t) {
            using T = decltype(t);
            FRCNN_CALL_WITH(x.device(), scratch.raw(), batch_norm_frozen_backward, map, params,
                            x.data<T>(), kept ? kept.data<T>() : nullptr, bn.gamma.data<T>(),
                            bn.running_mean.data<T>(), bn.running_var.data<T>(), dy.data<T>(),
                            dy.data<T>(), data_or_null<T>(dgamma), data_or_null<T>(dbeta));
          });
        });
        ctx.give_input(0, dy);
      });
  return y;
}

void inference_form(const NormLayer& norm, std::vector<float>& factor,
                    std::vector<float>& summand) {
  const BatchNormTensors& tensors = norm.tensors;
  const auto gamma = tensors.gamma.span<float>(), beta = tensors.beta.span<float>(),
             mean = tensors.running_mean.span<float>(), var = tensors.running_var.span<float>();
  factor.resize(gamma.size());
  summand.resize(gamma.size());
  for (size_t c = 0; c < gamma.size(); ++c) {
    const double k = gamma[c] / std::sqrt(double{var[c]} + norm.params.epsilon);
    factor[c] = static_cast<float>(k);
    summand[c] = static_cast<float>(beta[c] - mean[c] * k);
  }
}

Tensor lrn(const Tensor& x, const kernels::LrnParams& params) {
  const kernels::MapLayout map = x.map_layout();
  Tensor y = empty_like(x);
  with_float(x.dtype(), "lrn", [&](auto t) {
    using T = decltype(t);
    FRCNN_CALL(x.device(), lrn_forward, map, params, x.data<T>(), y.data<T>());
  });
  if (Tape::recording({&x}))
    Tape::record("lrn", {x}, {y}, [map, params, x](BackwardContext& ctx) {
      Tensor& dy = ctx.grad_output();
      with_float(x.dtype(), "lrn", [&](auto t) {
        using T = decltype(t);
        FRCNN_CALL(x.device(), lrn_backward, map, params, x.data<T>(), dy.data<T>(), dy.data<T>());
      });
      ctx.give_input(0, dy);
    });
  return y;
}

}  // namespace frcnn
