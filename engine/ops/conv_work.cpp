#include "engine/ops/conv_work.h"

#include <array>
#include <functional>

#include "engine/byte_buffer.h"
#include "engine/gpu_math.h"
#include "engine/ops/tuned.h"
#include "engine/tensor.h"

namespace frcnn {
namespace {

using kernels::Conv2dParams;
using kernels::ConvAlgorithm;
using kernels::LayerPass;
using kernels::cpu::LayerPlan;

bool is_winograd(const LayerPlan& plan) {
  return plan.implementation().find("wino") != std::string::npos;
}

/// What runs the plan once.
std::function<void()> runner(const std::shared_ptr<const LayerPlan>& plan, const Conv2dParams& p,
                             LayerPass pass, const ConvInputs& in, float* out) {
  const Tensor scratch = byte_buffer(plan->scratch_bytes());
  const bool packs = pass == LayerPass::backward_weights || !plan->plain_weights();
  const Tensor packed = packs ? byte_buffer(plan->packed_weight_bytes()) : Tensor();
  const Tensor db = Tensor::empty({p.out_channels});
  if (packs && pass != LayerPass::backward_weights) plan->pack_weights(in.w, Tensor(packed).raw());
  return [=]() mutable {
    Tensor room = scratch, weights = packed, bias = db;
    const void* w = packs ? weights.raw() : static_cast<const void*>(in.w);
    if (pass == LayerPass::backward_data)
      plan->backward_data(in.dy, w, out, room.raw());
    else if (pass == LayerPass::backward_weights)
      plan->backward_weights(in.x, in.dy, out, p.bias ? bias.data<float>() : nullptr, weights.raw(),
                             room.raw());
    else
      plan->forward(in.x, w, in.b, out, room.raw());
  };
}

}  // namespace

const char* conv_pass_name(LayerPass pass) {
  if (pass == LayerPass::backward_data) return "backward_data";
  return pass == LayerPass::backward_weights ? "backward_weights" : "forward";
}

TuningKey conv_key(const std::string& prefix, const Conv2dParams& p, LayerPass pass,
                   const std::string& arithmetic) {
  static_assert(sizeof(Conv2dParams) == 104, "name the new member in the key");
  constexpr const char* kAlgorithms[] = {"", " direct", " winograd"};
  const kernels::MapLayout x = p.input;
  TuningKey key;
  key.family = fmt::format(
      "{} {} {} {}/{}>{}/{} kernel {}x{} stride {}x{} pad {}x{} groups {} dilation {}x{}"
      "{}{}{}",
      prefix, conv_pass_name(pass), arithmetic, x.c, x.block, p.out_channels, p.out_block,
      p.kernel_h, p.kernel_w, p.stride_h, p.stride_w, p.pad_h, p.pad_w, p.groups, p.dilation_h,
      p.dilation_w, p.bias ? " bias" : "", p.relu ? " relu" : "",
      kAlgorithms[static_cast<size_t>(p.algorithm)]);
  key.size = fmt::format("{}x{}x{}", x.n, x.h, x.w);
  key.amount = static_cast<double>(x.n * p.out_h() * p.out_w());
  return key;
}

int64_t conv_outputs(const Conv2dParams& p, LayerPass pass) {
  if (pass == LayerPass::backward_data) return p.input.size();
  return pass == LayerPass::backward_weights ? p.weight_size() : p.output().size();
}

std::shared_ptr<const LayerPlan> cpu_conv2d_plan(const Conv2dParams& p, LayerPass pass,
                                                 const ConvInputs& inputs) {
  std::shared_ptr<const LayerPlan> rule = kernels::cpu::conv2d_plan(p, pass);
  if (p.algorithm != ConvAlgorithm::automatic || tuner_of(Device{}) == nullptr) return rule;
  Conv2dParams q = p;
  q.algorithm = is_winograd(*rule) ? ConvAlgorithm::direct : ConvAlgorithm::winograd;
  std::shared_ptr<const LayerPlan> other = kernels::cpu::conv2d_plan(q, pass);
  if (is_winograd(*other) == is_winograd(*rule)) return rule;  // there is no other form
  const std::array plans = {rule, other};
  TunedWork work;
  // Inference and training share a choice, so that a trained detector gives what was validated.
  work.key = conv_key("conv2d", p, pass, "cpu");
  for (const auto& plan : plans)
    work.candidates.push_back({is_winograd(*plan) ? "winograd" : "direct",
                               plan->packed_weight_bytes() + plan->scratch_bytes()});
  work.outputs = conv_outputs(p, pass);
  work.tolerance = 0.01;
  work.prepare = [&](size_t i, float* out) { return runner(plans[i], p, pass, inputs, out); };
  return plans[tuned_choice(Device{}, work)];
}

}  // namespace frcnn
