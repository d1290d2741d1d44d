#include "engine/ops/conv2d.h"

#include "engine/ops/elementwise.h"
#include "engine/tape.h"

namespace frcnn {
namespace {

using kernels::Conv2dParams;
using Plan = kernels::cpu::Conv2dPlan;

Tensor scratch_for(size_t bytes) {
  return Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8);
}

Tensor packed_for(const Plan& plan, const Tensor& weight, PackedWeights* cache) {
  if (plan.plain_weights()) return weight;
  const auto pack = [&](void* to) { plan.pack_weights(weight.data<float>(), to); };
  if (cache) return cache->get(weight, plan.weight_format(), plan.packed_weight_bytes(), pack);
  Tensor packed = scratch_for(plan.packed_weight_bytes());
  pack(packed.raw());
  return packed;
}

void forward(const Conv2dParams& p, bool training, const Tensor& x, const Tensor& w,
             const Tensor& b, Tensor& y, PackedWeights* cache) {
  if (x.dtype() == DType::f64) {
    kernels::cpu::conv2d_forward_reference(p, x.data<double>(), w.data<double>(),
                                           p.bias ? b.data<double>() : nullptr, y.data<double>());
    return;
  }
  const auto plan =
      Plan::get(p, training ? Plan::Pass::forward_training : Plan::Pass::forward_inference);
  Tensor scratch = scratch_for(plan->scratch_bytes());
  plan->forward(x.data<float>(), packed_for(*plan, w, cache).raw(),
                p.bias ? b.data<float>() : nullptr, y.data<float>(), scratch.raw());
}

void backward_data(const Conv2dParams& p, const Tensor& dy, const Tensor& w, Tensor& dx,
                   PackedWeights* cache) {
  if (dy.dtype() == DType::f64) {
    kernels::cpu::conv2d_backward_data_reference(p, dy.data<double>(), w.data<double>(),
                                                 dx.data<double>());
    return;
  }
  const auto plan = Plan::get(p, Plan::Pass::backward_data);
  Tensor scratch = scratch_for(plan->scratch_bytes());
  plan->backward_data(dy.data<float>(), packed_for(*plan, w, cache).raw(), dx.data<float>(),
                      scratch.raw());
}

void backward_weights(Conv2dParams p, const Tensor& x, const Tensor& dy, Tensor& dw, Tensor* db) {
  p.bias = db != nullptr;
  if (dy.dtype() == DType::f64) {
    kernels::cpu::conv2d_backward_weights_reference(p, x.data<double>(), dy.data<double>(),
                                                    dw.data<double>(),
                                                    db ? db->data<double>() : nullptr);
    return;
  }
  const auto plan = Plan::get(p, Plan::Pass::backward_weights);
  Tensor scratch = scratch_for(plan->scratch_bytes());
  Tensor packed = scratch_for(plan->plain_weights() ? 0 : plan->packed_weight_bytes());
  plan->backward_weights(x.data<float>(), dy.data<float>(), dw.data<float>(),
                         db ? db->data<float>() : nullptr, packed.raw(), scratch.raw());
}

}  // namespace

Tensor conv2d(const Tensor& input, const Tensor& weight, const Tensor& bias,
              const Conv2dOptions& options, PackedWeights* packed) {
  check(input.rank() == 4 && weight.rank() == 4 && input.dim(1) == weight.dim(1),
        "[conv2d] expected x (N, C, H, W) and weight (O, C, kh, kw), got {} and {}",
        input.shape().string(), weight.shape().string());
  check(!bias || bias.shape() == Shape{weight.dim(0)}, "[conv2d] expected a bias ({}), got {}",
        weight.dim(0), bias ? bias.shape().string() : "");
  check(input.dtype() == weight.dtype() &&
            (input.dtype() == DType::f32 || input.dtype() == DType::f64),
        "[conv2d] expected x and weight of one floating-point type, got {} and {}",
        name_of(input.dtype()), name_of(weight.dtype()));
  // Pictures with up to 3 channels are read as they are; everything else in the preferred block.
  const int64_t preferred =
      input.dtype() == DType::f32 ? kernels::cpu::preferred_channel_block() : input.channel_block();
  const Tensor x = input.dim(1) <= 3 ? convert_block(input, 1) : convert_block(input, preferred);

  Conv2dParams p;
  p.input = x.map_layout();
  p.out_channels = weight.dim(0);
  p.out_block = preferred;
  p.kernel_h = static_cast<int>(weight.dim(2));
  p.kernel_w = static_cast<int>(weight.dim(3));
  p.stride_h = p.stride_w = options.stride;
  p.pad_h = p.pad_w = options.padding;
  p.bias = bias.defined();
  p.relu = options.relu;
  p.algorithm = options.algorithm;
  check(p.stride_h > 0 && p.pad_h >= 0 && x.dim(2) + 2 * p.pad_h >= p.kernel_h &&
            x.dim(3) + 2 * p.pad_w >= p.kernel_w,
        "[conv2d] a {}x{} kernel with stride {} and padding {} does not fit a map {}", p.kernel_h,
        p.kernel_w, options.stride, options.padding, x.shape().string());

  Tensor y = Tensor::empty({x.dim(0), p.out_channels, p.out_h(), p.out_w()}, x.dtype(), x.device(),
                           p.out_block);
  if (x.dim(0) == 0) return y;
  const bool record = Tape::recording({&x, &weight, &bias});
  forward(p, record, x, weight, bias, y, packed);
  if (!record) return y;
  std::vector<Tensor> inputs = {x, weight};
  if (bias) inputs.push_back(bias);
  const Tensor kept = p.relu ? y : Tensor();
  Tape::record("conv2d", inputs, {y}, [p, x, weight, kept, packed](BackwardContext& ctx) {
    Tensor& dy = ctx.grad_output();
    if (kept) relu_mask(kept, dy);
    ctx.write_input(0, [&](Tensor& dx) { backward_data(p, dy, weight, dx, packed); });
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
