#include "engine/reduced_layer.h"

#include <bit>
#include <cmath>

#include "engine/byte_buffer.h"
#include "engine/folded_norm.h"
#include "engine/ops/conv2d.h"
#include "kernels/launch/bfloat16.h"
#include "kernels/quant/quantize.h"

namespace frcnn {
namespace {

using kernels::LayerNumber;

/// Pictures of many sizes: plans beyond this number are forgotten and made anew.
constexpr size_t kMostPlans = 64;
/// Below this a channel's scale would take its offset out of float32's range.
constexpr float kLeastScale = 1e-25f;

DType dtype_of_number(LayerNumber number) {
  switch (number) {
    case LayerNumber::u8:
      return DType::u8;
    case LayerNumber::i8:
      return DType::i8;
    case LayerNumber::bf16:
      return DType::bf16;
    case LayerNumber::f32:
      break;
  }
  return DType::f32;
}

LayerNumber number_of_dtype(DType dtype) {
  for (const LayerNumber number : {LayerNumber::u8, LayerNumber::i8, LayerNumber::bf16})
    if (dtype == dtype_of_number(number)) return number;
  return LayerNumber::f32;
}

/// Rows of a dense layer as a map of 1 x 1 cells.
kernels::MapLayout layout_of(const Tensor& x) {
  if (x.rank() == 4) return x.map_layout();
  return {x.dim(0), x.dim(1), 1, 1, x.dim(1)};
}

}  // namespace

void ReducedLayer::use_int8(Int8Weights weights) {
  const Tensor &values = weights.values, &scales = weights.scales;
  check(values && values.dtype() == DType::i8 && values.rank() >= 2 && scales &&
            scales.dtype() == DType::f32 && scales.shape() == Shape{values.dim(0)},
        "[int8] expected i8 weights and one f32 scale per output, got {} {} and {}",
        values ? name_of(values.dtype()) : "nothing", values ? values.shape().string() : "",
        scales ? scales.shape().string() : "nothing");
  check(weights.input_scale > 0 && std::isfinite(weights.input_scale),
        "[int8] expected an input scale above 0, got {}", weights.input_scale);
  for (const float scale : scales.span<float>())
    check(std::isfinite(scale), "[int8] a scale of the weights is not finite");
  if (const int limit = kernels::cpu::int8_weight_limit(); limit < 127) {
    const float share = static_cast<float>(limit) / 127;
    weights.values = values.clone();
    weights.scales = scales.clone();
    for (int8_t& value : weights.values.span<int8_t>())
      value = static_cast<int8_t>(std::nearbyint(share * static_cast<float>(value)));
    for (float& scale : weights.scales.span<float>()) scale /= share;
  }
  input_ = weights.input_signed ? LayerNumber::i8 : LayerNumber::u8;
  int8_ = std::move(weights);
  active_ = true;
}

void ReducedLayer::use_bf16() {
  check(kernels::cpu::has_bf16(),
        "[bf16] this processor has no bfloat16 arithmetic (AVX-512 BF16 or AMX); use f32");
  int8_.reset();
  input_ = LayerNumber::bf16;
  active_ = true;
}

Tensor ReducedLayer::quantized(const Tensor& x) const {
  const DType wanted = dtype_of_number(input_);
  if (x.dtype() == wanted) return x;
  check(x.dtype() == DType::f32, "[reduced_layer] expected f32 or {} input, got {}",
        name_of(wanted), name_of(x.dtype()));
  const kernels::MapLayout layout = layout_of(x);
  Tensor y = Tensor::empty(x.shape(), wanted, {}, x.rank() == 4 ? layout.c : 1);
  kernels::cpu::quantize_map(layout, x.data<float>(), int8_ ? int8_->input_scale : 1, input_,
                             y.raw());
  return y;
}

kernels::LayerNumbers ReducedLayer::numbers_for(const ReducedLayer* next) const {
  return {input_, next ? next->input_ : LayerNumber::f32};
}

Tensor ReducedLayer::packed_for(const kernels::cpu::ReducedPlan& plan, const Tensor& weight,
                                const std::vector<float>& norm_scale) const {
  Tensor& packed = packed_[plan.weight_format()];
  if (packed) return packed;
  packed = byte_buffer(plan.packed_weight_bytes(), {}, MemoryPurpose::packed);
  if (int8_) {
    plan.pack_weights(int8_->values.raw(), packed.raw());
    return packed;
  }
  const Tensor rounded = scaled_rows<kernels::Bfloat16>(weight, norm_scale, DType::bf16);
  plan.pack_weights(rounded.raw(), packed.raw());
  return packed;
}

template <typename MakePlan>
ReducedLayer::Prepared ReducedLayer::prepare(const Key& key, const Tensor& weight,
                                             const Tensor& bias, const NormLayer* norm,
                                             const ReducedLayer* next,
                                             const MakePlan& make_plan) const {
  const std::lock_guard lock(mutex_);
  if (const auto found = prepared_.find(key); found != prepared_.end()) return found->second;
  // With b the layer's bias and a, c the batch norm's factor and summand, the layer's result is
  //   a (s_x s_w q + b) + c = m (q + (a b + c) / m),  m = a s_x s_w,
  // and in units of the result s_y the factor is m / s_y.
  const int64_t outputs = weight.dim(0);
  std::vector<float> factor(static_cast<size_t>(outputs), 1), offsets(factor.size(), 0);
  const float* b = bias ? bias.data<float>() : nullptr;
  std::vector<float> norm_factor;
  if (norm) inference_form(*norm, norm_factor, offsets);
  for (size_t o = 0; o < factor.size(); ++o) {
    if (norm) factor[o] = norm_factor[o];
    if (b) offsets[o] += factor[o] * b[o];
  }
  std::vector<float> scales;
  if (int8_) {
    const float out_scale = next ? next->int8_->input_scale : 1;
    const auto weight_scales = int8_->scales.span<float>();
    for (size_t o = 0; o < factor.size(); ++o) {
      float m = factor[o] * int8_->input_scale * weight_scales[o];
      if (std::abs(m) < kLeastScale) m = std::copysign(kLeastScale, m);
      offsets[o] /= m;
      scales.push_back(m / out_scale);
    }
  }
  Prepared made;
  made.plan = make_plan(kernels::ChannelNumbers{scales, offsets});
  made.packed = packed_for(*made.plan, weight, norm_factor);
  if (prepared_.size() >= kMostPlans) prepared_.clear();
  return prepared_[key] = made;
}

Tensor ReducedLayer::run(const Prepared& prepared, const Tensor& x, Tensor y) const {
  Tensor scratch = byte_buffer(prepared.plan->scratch_bytes());
  prepared.plan->run(x.raw(), prepared.packed.raw(), y.raw(), scratch.raw());
  return y;
}

Tensor ReducedLayer::conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                            const Conv2dOptions& options, const NormLayer* norm,
                            const ReducedLayer* next) const {
  check(x.rank() == 4 && x.dim(1) == weight.dim(1) * options.groups,
        "[reduced_layer] expected x (N, C, H, W) and weight (O, C / groups, kh, kw), got {} and {}",
        x.shape().string(), weight.shape().string());
  const Tensor input = quantized(x);
  kernels::Conv2dParams p = conv2d_params(input, weight, options);
  p.out_block = p.out_channels;
  p.relu = options.relu || (norm && norm->params.relu);
  kernels::check_conv2d("reduced_layer", p);
  const kernels::LayerNumbers numbers = numbers_for(next);
  Tensor y = Tensor::empty({x.dim(0), p.out_channels, p.out_h(), p.out_w()},
                           dtype_of_number(numbers.out), {}, p.out_channels);
  if (x.dim(0) == 0) return y;
  const Key key = {p.input.n,
                   p.input.h,
                   p.input.w,
                   p.pad_h,
                   p.pad_w,
                   norm ? 1 : 0,
                   next ? std::bit_cast<intptr_t>(next) : 0};
  const Prepared prepared = prepare(key, weight, bias, norm, next, [&](const auto& channels) {
    return kernels::cpu::reduced_conv2d_plan(p, numbers, channels);
  });
  return run(prepared, input, y);
}

Tensor ReducedLayer::linear(const Tensor& x, const Tensor& weight, const Tensor& bias, bool relu,
                            const ReducedLayer* next) const {
  check(x.rank() == 2 && x.dim(1) == weight.dim(1),
        "[reduced_layer] expected x (R, in) and weight (out, in), got {} and {}",
        x.shape().string(), weight.shape().string());
  const kernels::LinearParams p{x.dim(0), x.dim(1), weight.dim(0), true, relu};
  const kernels::LayerNumbers numbers = numbers_for(next);
  Tensor y = Tensor::empty({p.rows, p.out}, dtype_of_number(numbers.out));
  if (p.rows == 0) return y;
  const Tensor input = quantized(x);
  const Key key = {p.rows, next ? std::bit_cast<intptr_t>(next) : 0};
  const Prepared prepared = prepare(key, weight, bias, nullptr, next, [&](const auto& channels) {
    return kernels::cpu::reduced_linear_plan(p, numbers, channels);
  });
  return run(prepared, input, y);
}

Tensor max_pool_numbers(const Tensor& x, const kernels::MaxPoolParams& params) {
  const kernels::MapLayout in = x.map_layout(), out = kernels::max_pool_layout(in, params);
  Tensor y = Tensor::empty({out.n, out.c, out.h, out.w}, x.dtype(), {}, out.block);
  kernels::cpu::max_pool_numbers(in, params, number_of_dtype(x.dtype()), x.raw(), y.raw());
  return y;
}

}  // namespace frcnn
