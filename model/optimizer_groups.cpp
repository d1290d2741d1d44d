#include "model/optimizer_groups.h"

#include <algorithm>
#include <cmath>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

struct Branch {
  const char *name, *prefix;  ///< of its groups and of its parameters
  OptimizerOverride OptimizerConfig::*settings;
  bool FasterRcnn::TrainedParts::*trained;
};
constexpr Branch kBranches[] = {
    {"backbone", "backbone.", &OptimizerConfig::backbone, &FasterRcnn::TrainedParts::backbone},
    {"rpn", "rpn.", &OptimizerConfig::rpn, &FasterRcnn::TrainedParts::rpn},
    {"detector", "head.", &OptimizerConfig::detector, &FasterRcnn::TrainedParts::detector}};

/// "rpn", "rpn biases", "rpn norms".
std::string group_name(const Branch& branch, ParameterKind kind) {
  return std::string(branch.name) + (kind == ParameterKind::weight ? ""
                                     : kind == ParameterKind::bias ? " biases"
                                                                   : " norms");
}

}  // namespace

std::vector<std::string> group_names(const Parameters& parameters,
                                     const FasterRcnn::TrainedParts& trained) {
  std::vector<std::string> names;
  for (const Branch& branch : kBranches)
    for (const ParameterKind kind :
         {ParameterKind::weight, ParameterKind::bias, ParameterKind::norm_scale})
      if (trained.*branch.trained && std::ranges::any_of(parameters.all(), [&](const Parameter& p) {
            return p.kind == kind && p.name.starts_with(branch.prefix);
          }))
        names.push_back(group_name(branch, kind));
  return names;
}

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
  for (const Branch& branch : kBranches) {
    const OptimizerOverride* own = &(config.*branch.settings);
    std::vector<Parameter> weights, biases, norms;
    for (const Parameter& p : parameters.all()) {
      if (!p.name.starts_with(branch.prefix) || !p.trainable()) continue;
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
    optimizer.add_group(group_name(branch, ParameterKind::weight), weights, plain);
    optimizer.add_group(group_name(branch, ParameterKind::bias), biases, bias);
    optimizer.add_group(group_name(branch, ParameterKind::norm_scale), norms, norm);
  }
}

}  // namespace frcnn
