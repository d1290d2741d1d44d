#include "engine/optimizer.h"

#include <cmath>
#include <iterator>
#include <utility>

#include "engine/dispatch.h"
#include "engine/memory.h"
#include "kernels/elementwise/reductions.h"
#include "kernels/optim/adam.h"
#include "kernels/optim/ema.h"
#include "kernels/optim/sgd.h"

namespace frcnn {
namespace {

constexpr const char* kMethods[] = {"sgd", "nesterov", "adam", "adamw"};

}  // namespace

const char* name_of(GroupSettings::Method method) {
  return kMethods[static_cast<size_t>(method)];
}

GroupSettings::Method method_by_name(const std::string& name, const std::string& key) {
  for (size_t i = 0; i < std::size(kMethods); ++i)
    if (name == kMethods[i]) return static_cast<GroupSettings::Method>(i);
  throw UsageError(fmt::format(
      "{} must be one of \"sgd\", \"nesterov\", \"adam\", \"adamw\", found \"{}\"", key, name));
}

void Optimizer::add_group(const std::string& name, const std::vector<Parameter>& parameters,
                          const GroupSettings& settings) {
  Group group;
  group.name = name;
  group.settings = settings;
  int64_t size = 0;
  for (const Parameter& p : parameters) {
    if (!p.trainable()) continue;
    group.parameters.push_back(p);
    group.offsets.push_back(size);
    size += (p.tensor.numel() + 15) / 16 * 16;
  }
  if (group.parameters.empty()) return;
  const DType dtype = group.parameters[0].tensor.dtype();
  const Device device = group.parameters[0].tensor.device();
  const auto bucket = [&](MemoryPurpose use) {
    const MemoryPurposeScope purpose(use);
    return Tensor::zeros({size}, dtype, device);
  };
  const auto part = [&](const Tensor& whole, size_t i) {
    const Tensor& tensor = group.parameters[i].tensor;
    return whole.rows(group.offsets[i], tensor.numel()).view(tensor.shape());
  };
  // The weights first: their old places are free for the other buckets then.
  group.values = bucket(MemoryPurpose::weights);
  for (size_t i = 0; i < group.parameters.size(); ++i)
    group.parameters[i].tensor.move_into(part(group.values, i));
  group.gradients = bucket(MemoryPurpose::gradients);
  for (size_t i = 0; i < group.parameters.size(); ++i) {
    group.parameters[i].tensor.set_grad(part(group.gradients, i));
    group.parameters[i].tensor.reset_grad();
  }
  group.state1 = bucket(MemoryPurpose::optimizer);
  if (settings.has_moments()) group.state2 = bucket(MemoryPurpose::optimizer);
  groups_.push_back(std::move(group));
}

void Optimizer::zero_grad() {
  for (Group& group : groups_)
    for (Parameter& p : group.parameters) p.tensor.reset_grad();
}

void Optimizer::check_finite() const {
  for (const Group& group : groups_)
    with_float(group.gradients.dtype(), "optimizer", [&](auto t) {
      using T = decltype(t);
      const int64_t bad =
          kernels::cpu::first_non_finite(group.gradients.numel(), group.gradients.data<T>());
      if (bad < 0) return;
      size_t i = group.offsets.size() - 1;
      while (group.offsets[i] > bad) --i;
      fail(
          "[optimizer] step {}: the gradient of {} is not finite; lower the learning rate or look "
          "at the data of this step",
          step_, group.parameters[i].name);
    });
}

void Optimizer::step(double grad_scale, double clip_norm) {
  if (on_gpu()) return gpu_step(grad_scale, clip_norm);
  double squares = 0;
  for (Group& group : groups_) {
    for (Parameter& p : group.parameters)
      if (p.tensor.grad_is_reset()) p.tensor.grad().fill(0);  // not reached by this backward pass
    if (clip_norm <= 0) continue;
    with_float(group.gradients.dtype(), "optimizer", [&](auto t) {
      using T = decltype(t);
      squares += kernels::cpu::sum_of_squares(group.gradients.numel(), group.gradients.data<T>());
    });
  }
  check_finite();
  last_norm_ = clip_norm > 0 ? std::sqrt(squares) * std::abs(grad_scale) : 0;
  if (clip_norm > 0 && last_norm_ > clip_norm) grad_scale *= clip_norm / last_norm_;
  for (Group& group : groups_) {
    const GroupSettings& s = group.settings;
    const double lr = s.schedule.at(step_) * s.lr_factor;
    const int64_t count = group.values.numel();
    with_float(group.values.dtype(), "optimizer", [&](auto t) {
      using T = decltype(t);
      if (s.has_moments()) {
        const kernels::AdamParams p{lr,
                                    s.momentum,
                                    s.beta2,
                                    s.epsilon,
                                    s.weight_decay,
                                    grad_scale,
                                    s.method == GroupSettings::Method::adamw};
        kernels::cpu::adam_step(count, p, step_ + 1, group.gradients.data<T>(),
                                group.values.data<T>(), group.state1.data<T>(),
                                group.state2.data<T>());
      } else {
        const kernels::SgdParams p{lr, s.momentum, s.weight_decay, grad_scale,
                                   s.method == GroupSettings::Method::nesterov};
        kernels::cpu::sgd_step(count, p, group.gradients.data<T>(), group.values.data<T>(),
                               group.state1.data<T>());
      }
    });
    if (group.average)
      with_float(group.values.dtype(), "optimizer", [&](auto t) {
        using T = decltype(t);
        kernels::cpu::ema_step(count, average_decay_, step_ + 1,
                               std::as_const(group.values).data<T>(), group.average.data<T>());
      });
    group.values.bump_version();
  }
  ++step_;
}

void Optimizer::keep_averages(double decay) {
  check(decay > 0 && decay < 1,
        "[optimizer] expected a decay of averages above 0 and below 1, got {}", decay);
  average_decay_ = decay;
  for (Group& group : groups_) {
    const MemoryPurposeScope purpose(MemoryPurpose::optimizer);
    group.average = empty_like(group.values);
    group.average.copy_from(group.values);
  }
}

std::vector<std::pair<std::string, Tensor>> Optimizer::averages() const {
  std::vector<std::pair<std::string, Tensor>> result;
  for (const Group& group : groups_)
    for (size_t i = 0; group.average && i < group.parameters.size(); ++i) {
      const Tensor& tensor = group.parameters[i].tensor;
      result.emplace_back(
          group.parameters[i].name,
          group.average.rows(group.offsets[i], tensor.numel()).view(tensor.shape()));
    }
  return result;
}

void Optimizer::swap_averages() {
  for (Group& group : groups_) {
    if (!group.average) continue;
    Tensor kept = empty_like(group.values);
    kept.copy_from(group.values);
    group.values.copy_from(group.average);
    group.average.copy_from(kept);
    group.values.bump_version();
  }
}

std::vector<std::pair<std::string, double>> Optimizer::learning_rates() const {
  std::vector<std::pair<std::string, double>> rates;
  for (const Group& group : groups_)
    rates.emplace_back(group.name, group.settings.schedule.at(step_) * group.settings.lr_factor);
  return rates;
}

std::vector<std::pair<std::string, GroupSettings>> Optimizer::settings() const {
  std::vector<std::pair<std::string, GroupSettings>> all;
  for (const Group& group : groups_) all.emplace_back(group.name, group.settings);
  return all;
}

std::vector<std::pair<std::string, Tensor>> Optimizer::state() const {
  std::vector<std::pair<std::string, Tensor>> result;
  for (const Group& group : groups_) {
    const bool moments = group.settings.has_moments();
    for (size_t i = 0; i < group.parameters.size(); ++i) {
      const Parameter& p = group.parameters[i];
      const auto part = [&](const Tensor& bucket) {
        return bucket.rows(group.offsets[i], p.tensor.numel()).view(p.tensor.shape());
      };
      result.emplace_back((moments ? "moment1." : "momentum.") + p.name, part(group.state1));
      if (moments) result.emplace_back("moment2." + p.name, part(group.state2));
    }
  }
  return result;
}

}  // namespace frcnn
