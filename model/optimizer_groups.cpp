#include "model/optimizer_groups.h"

#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/launch/check.h"

namespace frcnn {

GroupSettings branch_settings(const OptimizerConfig& common, const OptimizerOverride& own,
                              int64_t total_steps) {
  GroupSettings s;
  s.method = method_by_name(own.method.value_or(common.method), "optimizer.method");
  s.momentum = own.momentum.value_or(common.momentum);
  s.weight_decay = own.weight_decay.value_or(common.weight_decay);
  s.beta2 = own.beta2.value_or(common.beta2);
  s.epsilon = own.epsilon.value_or(common.epsilon);
  Schedule& schedule = s.schedule;
  schedule.rule =
      schedule_rule_by_name(own.schedule.value_or(common.schedule), "optimizer.schedule");
  schedule.base = own.lr.value_or(common.lr);
  for (const double at : own.lr_steps.value_or(common.lr_steps))
    schedule.boundaries.push_back(std::llround(at * static_cast<double>(total_steps)));
  schedule.gamma = own.gamma.value_or(common.gamma);
  schedule.warmup_steps = own.warmup_steps.value_or(common.warmup_steps);
  schedule.warmup_factor = own.warmup_factor.value_or(common.warmup_factor);
  schedule.total_steps = total_steps;
  schedule.final_share = own.final_share.value_or(common.final_share);
  schedule.power = own.power.value_or(common.power);
  return s;
}

void add_parameter_groups(Optimizer& optimizer, const Parameters& parameters,
                          const OptimizerConfig& config, int64_t total_steps) {
  const std::tuple<const char*, const char*, const OptimizerOverride*> branches[] = {
      {"backbone", "backbone.", &config.backbone},
      {"rpn", "rpn.", &config.rpn},
      {"detector", "head.", &config.detector}};
  for (const auto& [branch, prefix, own] : branches) {
    std::vector<Parameter> weights, biases, norms;
    for (const Parameter& p : parameters.all()) {
      if (!p.name.starts_with(prefix) || !p.trainable()) continue;
      (p.kind == ParameterKind::weight ? weights
       : p.kind == ParameterKind::bias ? biases
                                       : norms)
          .push_back(p);
    }
    const GroupSettings plain = branch_settings(config, *own, total_steps);
    GroupSettings norm = plain;
    norm.weight_decay *= own->bias_decay_factor.value_or(config.bias_decay_factor);
    GroupSettings bias = norm;
    bias.lr_factor = own->bias_lr_factor.value_or(config.bias_lr_factor);
    optimizer.add_group(branch, weights, plain);
    optimizer.add_group(fmt::format("{} biases", branch), biases, bias);
    optimizer.add_group(fmt::format("{} norms", branch), norms, norm);
  }
}

}  // namespace frcnn
