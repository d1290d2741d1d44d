#include "engine/ops/linear.h"

#include "engine/ops/elementwise.h"
#include "engine/tape.h"
#include "kernels/linear/linear.h"

namespace frcnn {
namespace {

using kernels::LinearParams;
using Plan = kernels::cpu::LinearPlan;

Tensor scratch_for(size_t bytes) {
  return Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8);
}

void forward(const LinearParams& p, bool training, const Tensor& x, const Tensor& w,
             const Tensor& b, Tensor& y, PackedWeights* cache) {
  if (x.dtype() == DType::f64) {
    kernels::cpu::linear_forward_reference(p, x.data<double>(), w.data<double>(),
                                           p.bias ? b.data<double>() : nullptr, y.data<double>());
    return;
  }
  const float* bias = p.bias ? b.data<float>() : nullptr;
  // Without a cache, packing for a single use costs more than it gains.
  const auto plan = Plan::get(
      p, training || !cache ? Plan::Pass::forward_training : Plan::Pass::forward_inference);
  Tensor scratch = scratch_for(plan->scratch_bytes());
  const Tensor packed =
      plan->plain_weights()
          ? w
          : cache->get(w, plan->weight_format(), plan->packed_weight_bytes(),
                       [&](void* to) { plan->pack_weights(w.data<float>(), to); });
  plan->forward(x.data<float>(), packed.raw(), bias, y.data<float>(), scratch.raw());
}

void backward_data(const LinearParams& p, const Tensor& dy, const Tensor& w, Tensor& dx) {
  if (dy.dtype() == DType::f64) {
    kernels::cpu::linear_backward_data_reference(p, dy.data<double>(), w.data<double>(),
                                                 dx.data<double>());
    return;
  }
  const auto plan = Plan::get(p, Plan::Pass::backward_data);
  Tensor scratch = scratch_for(plan->scratch_bytes());
  plan->backward_data(dy.data<float>(), w.raw(), dx.data<float>(), scratch.raw());
}

void backward_weights(LinearParams p, const Tensor& x, const Tensor& dy, Tensor& dw, Tensor* db) {
  p.bias = db != nullptr;
  if (dy.dtype() == DType::f64) {
    kernels::cpu::linear_backward_weights_reference(p, x.data<double>(), dy.data<double>(),
                                                    dw.data<double>(),
                                                    db ? db->data<double>() : nullptr);
    return;
  }
  const auto plan = Plan::get(p, Plan::Pass::backward_weights);
  Tensor scratch = scratch_for(plan->scratch_bytes());
  plan->backward_weights(x.data<float>(), dy.data<float>(), dw.data<float>(),
                         db ? db->data<float>() : nullptr, scratch.raw());
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, bool relu,
              PackedWeights* packed) {
  check(x.rank() == 2 && weight.rank() == 2 && x.dim(1) == weight.dim(1),
        "[linear] expected x (R, in) and weight (out, in), got {} and {}", x.shape().string(),
        weight.shape().string());
  check(!bias || bias.shape() == Shape{weight.dim(0)}, "[linear] expected a bias ({}), got {}",
        weight.dim(0), bias ? bias.shape().string() : "");
  check(x.dtype() == weight.dtype() && (x.dtype() == DType::f32 || x.dtype() == DType::f64),
        "[linear] expected x and weight of one floating-point type, got {} and {}",
        name_of(x.dtype()), name_of(weight.dtype()));
  const LinearParams p{x.dim(0), x.dim(1), weight.dim(0), bias.defined(), relu};
  Tensor y = Tensor::empty({p.rows, p.out}, x.dtype(), x.device());
  if (p.rows == 0) return y;
  const bool record = Tape::recording({&x, &weight, &bias});
  forward(p, record, x, weight, bias, y, packed);
  if (!record) return y;
  std::vector<Tensor> inputs = {x, weight};
  if (bias) inputs.push_back(bias);
  const Tensor kept = relu ? y : Tensor();
  Tape::record("linear", inputs, {y}, [p, x, weight, kept](BackwardContext& ctx) {
    Tensor& dy = ctx.grad_output();
    if (kept) relu_mask(kept, dy);
    ctx.write_input(0, [&](Tensor& dx) { backward_data(p, dy, weight, dx); });
    const bool with_bias = p.bias && ctx.needs_input(2);
    ctx.write_input(1, [&](Tensor& dw) {
      if (with_bias)
        ctx.write_input(2, [&](Tensor& db) { backward_weights(p, x, dy, dw, &db); });
      else
        backward_weights(p, x, dy, dw, nullptr);
    });
  });
  return y;
}

}  // namespace frcnn
