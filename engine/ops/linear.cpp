#include "engine/ops/linear.h"

#include "engine/ops/elementwise.h"
#include "engine/ops/gpu_layers.h"
#include "engine/ops/planned.h"
#include "engine/ops/rounded_factors.h"
#include "kernels/linear/linear.h"

namespace frcnn {
namespace {

using kernels::LayerPass;
using kernels::LinearParams;

/// Weights up to this size are packed for inference. Packed or as they are, 300 rows through 25088
/// to 4096 take the same time (237 and 240 ms), and the copy would take 392 MiB.
constexpr size_t kMostPacked = size_t{64} << 20;

void forward(const LinearParams& p, bool training, const Tensor& x, const Tensor& w,
             const Tensor& b, Tensor& y, PackedWeights* cache) {
  if (x.device().is_gpu()) return gpu_linear_forward(p, x, w, b, y);
  // Without a cache, packing for a single use costs more than it gains.
  const bool packs = !training && cache && w.stored_bytes() <= kMostPacked;
  const auto pass = packs ? LayerPass::forward_inference : LayerPass::forward_training;
  if (x.dtype() == DType::f64)
    kernels::cpu::linear_forward_reference(p, x.data<double>(), w.data<double>(),
                                           p.bias ? b.data<double>() : nullptr, y.data<double>());
  else
    planned_forward(*kernels::cpu::linear_plan(p, pass), x, w, b, y, cache);
}

void backward_data(const LinearParams& p, const Tensor& dy, const Tensor& w, Tensor& dx) {
  if (dy.device().is_gpu()) return gpu_linear_backward_data(p, dy, w, dx);
  if (dy.dtype() == DType::f64)
    kernels::cpu::linear_backward_data_reference(p, dy.data<double>(), w.data<double>(),
                                                 dx.data<double>());
  else
    planned_backward_data(*kernels::cpu::linear_plan(p, LayerPass::backward_data), dy, w, dx,
                          nullptr);
}

/// Factors rounded by cpu_math(); sums and the bias stay float32, as on a GPU.
void rounded_forward(const LinearParams& p, bool training, const Tensor& x, const Tensor& w,
                     const Tensor& b, Tensor& y, PackedWeights* cache) {
  // The cache is for weights that stay: a rounded copy is made anew each time.
  forward(p, training, rounded_factors(x), rounded_factors(w), b, y,
          rounds_factors(x) ? nullptr : cache);
}

void backward_weights(LinearParams p, const Tensor& x, const Tensor& dy, Tensor& dw, Tensor* db) {
  p.bias = db != nullptr;
  if (dy.device().is_gpu()) return gpu_linear_backward_weights(p, x, dy, dw, db);
  if (dy.dtype() == DType::f64)
    kernels::cpu::linear_backward_weights_reference(p, x.data<double>(), dy.data<double>(),
                                                    dw.data<double>(),
                                                    db ? db->data<double>() : nullptr);
  else
    planned_backward_weights(*kernels::cpu::linear_plan(p, LayerPass::backward_weights), x, dy, dw,
                             db);
}

/// The gradient of the bias is a sum, not a product: it sees dy as it is.
void rounded_backward_weights(const LinearParams& p, const Tensor& x, const Tensor& dy, Tensor& dw,
                              Tensor* db) {
  if (db || !rounds_factors(dy)) backward_weights(p, x, dy, dw, db);
  if (rounds_factors(dy)) backward_weights(p, rounded_factors(x), rounded_factors(dy), dw, nullptr);
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, bool relu,
              PackedWeights* packed) {
  check(x.rank() == 2 && weight.rank() == 2 && x.dim(1) == weight.dim(1),
        "[linear] expected x (R, in) and weight (out, in), got {} and {}", x.shape().string(),
        weight.shape().string());
  check_layer("linear", x, weight, bias);
  const LinearParams p{x.dim(0), x.dim(1), weight.dim(0), bias.defined(), relu};
  Tensor y = Tensor::empty({p.rows, p.out}, x.dtype(), x.device());
  if (p.rows == 0) return y;
  const bool record = Tape::recording({&x, &weight, &bias});
  rounded_forward(p, record, x, weight, bias, y,
                  PackedWeights::unless_trained(packed, weight, record));
  if (!record) return y;
  std::vector<Tensor> inputs = {x, weight};
  if (bias) inputs.push_back(bias);
  const Tensor kept = relu ? y : Tensor();
  Tape::record("linear", inputs, {y}, [p, x, weight, kept](BackwardContext& ctx) {
    Tensor& dy = ctx.grad_output();
    if (kept) relu_mask(kept, dy);
    ctx.write_input(
        0, [&](Tensor& dx) { backward_data(p, rounded_factors(dy), rounded_factors(weight), dx); });
    with_weight_gradients(
        ctx, p.bias, [&](Tensor& dw, Tensor* db) { rounded_backward_weights(p, x, dy, dw, db); });
  });
  return y;
}

}  // namespace frcnn
