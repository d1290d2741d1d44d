#include "engine/ops/conv2d.h"

#include "engine/ops/conv_work.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/gpu_layers.h"
#include "engine/ops/planned.h"
#include "engine/ops/rounded_factors.h"

namespace frcnn {
namespace {

using kernels::Conv2dParams;
using kernels::LayerPass;

void forward(const Conv2dParams& p, bool training, const Tensor& x, const Tensor& w,
             const Tensor& b, Tensor& y, PackedWeights* cache) {
  if (x.device().is_gpu()) return gpu_conv2d_forward(p, x, w, b, y, cache);
  if (x.dtype() == DType::f64)
    kernels::cpu::conv2d_forward_reference(p, x.data<double>(), w.data<double>(),
                                           p.bias ? b.data<double>() : nullptr, y.data<double>());
  else
    planned_forward(
        *cpu_conv2d_plan(p, training ? LayerPass::forward_training : LayerPass::forward_inference,
                         {x.data<float>(), w.data<float>(), p.bias ? b.data<float>() : nullptr}),
        x, w, b, y, cache);
}

void backward_data(const Conv2dParams& p, const Tensor& dy, const Tensor& w, Tensor& dx,
                   PackedWeights* cache) {
  if (dy.device().is_gpu()) return gpu_conv2d_backward_data(p, dy, w, dx, cache);
  if (dy.dtype() == DType::f64)
    kernels::cpu::conv2d_backward_data_reference(p, dy.data<double>(), w.data<double>(),
                                                 dx.data<double>());
  else
    planned_backward_data(*cpu_conv2d_plan(p, LayerPass::backward_data,
                                           {nullptr, w.data<float>(), nullptr, dy.data<float>()}),
                          dy, w, dx, cache);
}

/// Factors rounded by cpu_math(); sums and the bias stay float32, as on a GPU.
void rounded_forward(const Conv2dParams& p, bool training, const Tensor& x, const Tensor& w,
                     const Tensor& b, Tensor& y, PackedWeights* cache) {
  // The cache is for weights that stay: a rounded copy is made anew each time.
  forward(p, training, rounded_factors(x), rounded_factors(w), b, y,
          rounds_factors(x) ? nullptr : cache);
}

void backward_weights(Conv2dParams p, const Tensor& x, const Tensor& dy, Tensor& dw, Tensor* db) {
  p.bias = db != nullptr;
  if (dy.device().is_gpu()) return gpu_conv2d_backward_weights(p, x, dy, dw, db);
  if (dy.dtype() == DType::f64)
    kernels::cpu::conv2d_backward_weights_reference(p, x.data<double>(), dy.data<double>(),
                                                    dw.data<double>(),
                                                    db ? db->data<double>() : nullptr);
  else
    planned_backward_weights(
        *cpu_conv2d_plan(p, LayerPass::backward_weights,
                         {x.data<float>(), nullptr, nullptr, dy.data<float>()}),
        x, dy, dw, db);
}

/// The gradient of the bias is a sum, not a product: it sees dy as it is.
void rounded_backward_weights(const Conv2dParams& p, const Tensor& x, const Tensor& dy, Tensor& dw,
                              Tensor* db) {
  if (db || !rounds_factors(dy)) backward_weights(p, x, dy, dw, db);
  if (rounds_factors(dy)) backward_weights(p, rounded_factors(x), rounded_factors(dy), dw, nullptr);
}

}  // namespace

Conv2dParams conv2d_params(const Tensor& x, const Tensor& weight, const Conv2dOptions& options) {
  Conv2dParams p;
  p.input = x.map_layout();
  p.out_channels = weight.dim(0);
  p.kernel_h = static_cast<int>(weight.dim(2)), p.kernel_w = static_cast<int>(weight.dim(3));
  p.stride_h = options.stride_h, p.stride_w = options.stride_w;
  p.pad_h = options.pad_h, p.pad_w = options.pad_w;
  p.groups = options.groups;
  p.dilation_h = options.dilation_h, p.dilation_w = options.dilation_w;
  p.relu = options.relu;
  p.algorithm = options.algorithm;
  return p;
}

Tensor conv2d(const Tensor& input, const Tensor& weight, const Tensor& bias,
              const Conv2dOptions& options, PackedWeights* packed) {
  check(input.rank() == 4 && weight.rank() == 4 && options.groups > 0 &&
            input.dim(1) == weight.dim(1) * options.groups,
        "[conv2d] expected x (N, C, H, W) and weight (O, C / groups, kh, kw), got {} and {} with "
        "{} groups",
        input.shape().string(), weight.shape().string(), options.groups);
  check_layer("conv2d", input, weight, bias);
  Conv2dParams p = conv2d_params(input, weight, options);
  p.bias = bias.defined();
  kernels::check_conv2d("conv2d", p);
  // On a GPU all maps are NHWC, where a filter's neighbours are neighbours in memory. The CPU's
  // float64 loops take any layout.
  kernels::cpu::ConvBlocks blocks{input.channel_block(), input.channel_block()};
  if (input.device().is_gpu())
    blocks = {input.dim(1), p.out_channels};
  else if (input.dtype() == DType::f32)
    blocks = kernels::cpu::preferred_conv_blocks(p);
  const Tensor x = convert_block(input, blocks.in);
  p.input = x.map_layout();
  p.out_block = blocks.out;

  Tensor y = Tensor::empty({x.dim(0), p.out_channels, p.out_h(), p.out_w()}, x.dtype(), x.device(),
                           p.out_block);
  if (x.dim(0) == 0) return y;
  const bool record = Tape::recording({&x, &weight, &bias});
  PackedWeights* cache = PackedWeights::unless_trained(packed, weight, record);
  rounded_forward(p, record, x, weight, bias, y, cache);
  if (!record) return y;
  std::vector<Tensor> inputs = {x, weight};
  if (bias) inputs.push_back(bias);
  const Tensor kept = p.relu ? y : Tensor();
  Tape::record("conv2d", inputs, {y}, [p, x, weight, kept, cache](BackwardContext& ctx) {
    Tensor& dy = ctx.grad_output();
    if (kept) relu_mask(kept, dy);
    ctx.write_input(0, [&](Tensor& dx) {
      backward_data(p, rounded_factors(dy), rounded_factors(weight), dx,
                    rounds_factors(dy) ? nullptr : cache);
    });
    with_weight_gradients(
        ctx, p.bias, [&](Tensor& dw, Tensor* db) { rounded_backward_weights(p, x, dy, dw, db); });
  });
  return y;
}

}  // namespace frcnn
