// The optimiser's update on a GPU: rates and counters are written to the device, the rest are
// launches, recorded as a graph.
#include <array>
#include <cstring>
#include <utility>

#include "engine/dispatch.h"
#include "engine/optimizer.h"
#include "kernels/optim/adam.h"
#include "kernels/optim/ema.h"
#include "kernels/optim/gradients.h"
#include "kernels/optim/sgd.h"
#include "kernels/optim/step_scalars.h"

namespace frcnn {
namespace {

namespace gpu = kernels::gpu;
using kernels::FiniteCheck;
using kernels::FiniteFlag;
using kernels::StepScalars;

}  // namespace

bool Optimizer::on_gpu() const {
  return !groups_.empty() && groups_.front().values.device().is_gpu();
}

std::vector<FiniteCheck> Optimizer::finite_checks() {
  const auto* scalars = static_cast<const StepScalars*>(scalars_.raw());
  std::vector<FiniteCheck> checks;
  for (size_t i = 0; i < groups_.size(); ++i)
    checks.push_back(
        {static_cast<FiniteFlag*>(flag_.raw()), &scalars[i].step, 0, static_cast<int>(i)});
  return checks;
}

void Optimizer::gpu_step(double grad_scale, double clip_norm) {
  const Device device = groups_.front().values.device();
  const auto count = static_cast<int64_t>(groups_.size());
  if (!flag_) {
    uploader_ = std::make_shared<Uploader>(device);
    updates_ = std::make_shared<RecordedSteps>(device);
    flag_ = Tensor::empty({sizeof(FiniteFlag)}, DType::u8, device);
    flag_.fill(0xFF);  // everything was finite so far
    static_assert(FiniteFlag{}.first == ~uint64_t{0});
    scalars_ =
        Tensor::empty({count * static_cast<int64_t>(sizeof(StepScalars))}, DType::u8, device);
    squares_ = Tensor::zeros({count}, DType::f64, device);
    norm_ = Tensor::zeros({1}, DType::f64, device);
    workspace_ = Tensor::zeros({static_cast<int64_t>(gpu::kGradientWorkspace)}, DType::u8, device);
  }
  // What a recorded update cannot read from the device makes another recording: the limit of the
  // norm, and which gradients this backward pass did not reach.
  std::string key = fmt::format("{}", clip_norm);
  std::vector<Tensor> unreached;
  std::vector<StepScalars> scalars;
  for (Group& group : groups_) {
    scalars.push_back(
        {group.settings.schedule.at(step_) * group.settings.lr_factor, grad_scale, 1, step_ + 1});
    for (Parameter& p : group.parameters)
      if (p.tensor.grad_is_reset()) {
        unreached.push_back(p.tensor.grad());
        key += " " + p.name;
      }
  }
  const size_t bytes = scalars.size() * sizeof(StepScalars);
  uploader_->begin(Uploader::rounded(bytes));
  uploader_->copy(scalars.data(), bytes, scalars_);
  uploader_->end();
  updates_->run(key, [&] {
    for (Tensor& gradient : unreached) gradient.fill(0);
    launch_update(clip_norm);
  });
  for (Group& group : groups_) group.values.bump_version();
  ++step_;
}

void Optimizer::launch_update(double clip_norm) {
  const std::vector<FiniteCheck> checks = finite_checks();
  const auto count = static_cast<int64_t>(groups_.size());
  auto* on_device = static_cast<StepScalars*>(scalars_.raw());
  with_gpu(groups_.front().values.device(), [&](auto on) {
    constexpr auto kBackend = decltype(on)::backend;
    const auto with_type = [&](const Group& group, const auto& body) {
      with_float(group.values.dtype(), "optimizer", body);
    };
    for (size_t i = 0; i < groups_.size(); ++i)
      with_type(groups_[i], [&](auto t) {
        using T = decltype(t);
        const Tensor& g = groups_[i].gradients;
        gpu::check_gradients<kBackend>(on.stream, g.numel(), g.data<T>(), checks[i],
                                       clip_norm > 0 ? squares_.data<double>() + i : nullptr,
                                       workspace_.raw());
      });
    if (clip_norm > 0)
      for (size_t i = 0; i < groups_.size(); ++i)
        gpu::clip_gradients<kBackend>(on.stream, count, squares_.data<double>(), 1.0, clip_norm,
                                      on_device + i, norm_.data<double>());
    for (size_t i = 0; i < groups_.size(); ++i)
      with_type(groups_[i], [&](auto t) {
        using T = decltype(t);
        Group& group = groups_[i];
        const GroupSettings& s = group.settings;
        const int64_t size = group.values.numel();
        // Rate and scale are in on_device[i].
        if (s.has_moments())
          gpu::adam_step<kBackend>(on.stream, size,
                                   {1, s.momentum, s.beta2, s.epsilon, s.weight_decay, 1,
                                    s.method == GroupSettings::Method::adamw},
                                   step_ + 1, group.gradients.data<T>(), group.values.data<T>(),
                                   group.state1.data<T>(), group.state2.data<T>(), on_device + i,
                                   checks[i]);
        else
          gpu::sgd_step<kBackend>(
              on.stream, size,
              {1, s.momentum, s.weight_decay, 1, s.method == GroupSettings::Method::nesterov},
              group.gradients.data<T>(), group.values.data<T>(), group.state1.data<T>(),
              on_device + i, checks[i]);
        if (group.average)
          gpu::ema_step<kBackend>(on.stream, size, average_decay_, step_ + 1,
                                  std::as_const(group.values).data<T>(), group.average.data<T>(),
                                  on_device + i, checks[i]);
      });
  });
}

void Optimizer::check_device() const {
  if (!flag_) return;
  FiniteFlag flag;
  const auto bytes = flag_.to_vector<uint8_t>();
  std::memcpy(&flag, bytes.data(), sizeof flag);
  if (flag.all_finite()) return;
  const Group& group = groups_.at(static_cast<size_t>(flag.check()));
  size_t i = group.offsets.size() - 1;
  while (i > 0 && group.offsets[i] > flag.index()) --i;
  fail(
      "[optimizer] step {}: the gradient of {} is not finite; lower the learning rate or look at "
      "the data of this step",
      flag.step() - 1, group.parameters[i].name);
}

double Optimizer::last_grad_norm() const {
  return norm_ ? norm_.item() : last_norm_;
}

}  // namespace frcnn
