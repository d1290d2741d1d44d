#include "engine/ops/planned.h"

#include "engine/byte_buffer.h"

namespace frcnn {
namespace {

using kernels::cpu::LayerPlan;

Tensor packed_for(const LayerPlan& plan, const Tensor& weight, PackedWeights* cache) {
  if (plan.plain_weights()) return weight;
  const auto pack = [&](void* to) { plan.pack_weights(weight.data<float>(), to); };
  if (cache) return cache->get(weight, plan.weight_format(), plan.packed_weight_bytes(), pack);
  Tensor packed = byte_buffer(plan.packed_weight_bytes());
  pack(packed.raw());
  return packed;
}

}  // namespace

void planned_forward(const LayerPlan& plan, const Tensor& x, const Tensor& weight,
                     const Tensor& bias, Tensor& y, PackedWeights* cache) {
  Tensor scratch = byte_buffer(plan.scratch_bytes());
  plan.forward(x.data<float>(), packed_for(plan, weight, cache).raw(),
               bias ? bias.data<float>() : nullptr, y.data<float>(), scratch.raw());
}

void planned_backward_data(const LayerPlan& plan, const Tensor& dy, const Tensor& weight,
                           Tensor& dx, PackedWeights* cache) {
  Tensor scratch = byte_buffer(plan.scratch_bytes());
  plan.backward_data(dy.data<float>(), packed_for(plan, weight, cache).raw(), dx.data<float>(),
                     scratch.raw());
}

void planned_backward_weights(const LayerPlan& plan, const Tensor& x, const Tensor& dy, Tensor& dw,
                              Tensor* db) {
  Tensor scratch = byte_buffer(plan.scratch_bytes());
  Tensor packed = byte_buffer(plan.plain_weights() ? 0 : plan.packed_weight_bytes());
  plan.backward_weights(x.data<float>(), dy.data<float>(), dw.data<float>(),
                        db ? db->data<float>() : nullptr, packed.raw(), scratch.raw());
}

void check_layer(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check(!bias || bias.shape() == Shape{weight.dim(0)}, "[{}] expected a bias ({}), got {}", op,
        weight.dim(0), bias ? bias.shape().string() : "");
  check(x.dtype() == weight.dtype() && (x.dtype() == DType::f32 || x.dtype() == DType::f64),
        "[{}] expected x and weight of one floating-point type, got {} and {}", op,
        name_of(x.dtype()), name_of(weight.dtype()));
}

void with_weight_gradients(BackwardContext& ctx, bool bias,
                           const std::function<void(Tensor&, Tensor*)>& body) {
  ctx.write_input(1, [&](Tensor& dw) {
    if (bias && ctx.needs_input(2))
      ctx.write_input(2, [&](Tensor& db) { body(dw, &db); });
    else
      body(dw, nullptr);
  });
}

}  // namespace frcnn
