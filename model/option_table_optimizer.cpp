// Rows of [optimizer], and of [optimizer.backbone], [optimizer.rpn], [optimizer.detector], where a
// branch may differ from the common settings.
#include "model/option_rows.h"

namespace frcnn::option_table {
namespace {

const Choices kMethods = {"sgd", "nesterov", "adam", "adamw"};
const Choices kSchedules = {"constant", "step", "cosine", "polynomial"};
// Plain gradient descent diverges long before 10 on any network with losses of order 1.
const Range kRate{0, 10};
const Range kDecayRate{0, 0.9999999};  // of a running mean; at 1 it would never change
const Range kWeightDecay{0, 1};
const Range kFactor{0, 1000};
const Range kPower{0, 100, true};
const Range kStepsOfRun{0, 1, true};

// A field of one branch as a captureless lambda.
#define OWN(member) \
  +[](Config& c) -> decltype(((c.optimizer.*kPart).member)) { return (c.optimizer.*kPart).member; }

/// What a branch may set for itself; unset, it takes the common value.
template <OptimizerOverride OptimizerConfig::*kPart>
Rows branch_rows(const std::string& section, const std::string& branch) {
  const std::string alone = "of the " + branch + " alone";
  const auto key = [&](const char* name) { return section + "." + name; };
  return {
      row(key("method"), OWN(method), kMethods, alone),
      row(key("lr"), OWN(lr), kRate, "", alone),
      row(key("momentum"), OWN(momentum), kDecayRate, "", alone),
      row(key("weight_decay"), OWN(weight_decay), kWeightDecay, "", alone),
      row(key("beta2"), OWN(beta2), kDecayRate, "", alone),
      row(key("epsilon"), OWN(epsilon), kPositive, "", alone),
      row(key("bias_lr_factor"), OWN(bias_lr_factor), kFactor, "", alone),
      row(key("bias_decay_factor"), OWN(bias_decay_factor), kFactor, "", alone),
      row(key("schedule"), OWN(schedule), kSchedules, alone),
      maybe_empty(row(key("lr_steps"), OWN(lr_steps), kStepsOfRun, "share of the run", alone)),
      row(key("gamma"), OWN(gamma), kPositive, "", alone),
      row(key("final_share"), OWN(final_share), kFraction, "", alone),
      row(key("power"), OWN(power), kPower, "", alone),
      row(key("warmup_steps"), OWN(warmup_steps), kCountOrZero, "steps", alone),
      row(key("warmup_factor"), OWN(warmup_factor), kFraction, "", alone),
  };
}

Rows method_rows() {
  return {
      row("optimizer.method", FIELD(optimizer.method), kMethods,
          "sgd: stochastic gradient descent with momentum; nesterov: with Nesterov's; adam; adamw: "
          "with decoupled weight decay",
          "section 3.1.3"),
      row("optimizer.lr", FIELD(optimizer.lr), kRate, "",
          "learning rate of a step, for the whole batch; adam and adamw: at most 1",
          "section 3.1.3"),
      row("optimizer.momentum", FIELD(optimizer.momentum), kDecayRate, "",
          "share of the last update kept; adam, adamw: beta1", "section 3.1.3"),
      row("optimizer.weight_decay", FIELD(optimizer.weight_decay), kWeightDecay, "",
          "times the weight is added to its gradient; adamw: lr times this is taken off the weight",
          "section 3.1.3"),
      row("optimizer.beta2", FIELD(optimizer.beta2), kDecayRate, "",
          "adam, adamw: decay of the squared gradients' mean"),
      row("optimizer.epsilon", FIELD(optimizer.epsilon), kPositive, "",
          "adam, adamw: added to the divisor"),
      row("optimizer.bias_lr_factor", FIELD(optimizer.bias_lr_factor), kFactor, "",
          "learning rate of biases relative to weights", "original code"),
      row("optimizer.bias_decay_factor", FIELD(optimizer.bias_decay_factor), kFactor, "",
          "weight decay of biases relative to weights", "original code"),
  };
}

Rows schedule_rows() {
  return {
      row("optimizer.schedule", FIELD(optimizer.schedule), kSchedules,
          "constant; step: lr is multiplied by gamma at every entry of lr_steps; cosine and "
          "polynomial: lr falls to final_share * lr at the end of the run",
          "section 3.1.3"),
      maybe_empty(row("optimizer.lr_steps", FIELD(optimizer.lr_steps), kStepsOfRun,
                      "share of the run", "step: where the learning rate is multiplied by gamma",
                      "section 3.1.3 (60k of 80k)")),
      row("optimizer.gamma", FIELD(optimizer.gamma), kPositive, "",
          "step: factor at each of lr_steps", "section 3.1.3"),
      row("optimizer.final_share", FIELD(optimizer.final_share), kFraction, "",
          "cosine, polynomial: share of the learning rate that is left at the end"),
      row("optimizer.power", FIELD(optimizer.power), kPower, "",
          "polynomial: exponent; 1 is a straight line"),
      row("optimizer.warmup_steps", FIELD(optimizer.warmup_steps), kCountOrZero, "steps",
          "the learning rate grows linearly over these"),
      row("optimizer.warmup_factor", FIELD(optimizer.warmup_factor), kFraction, "",
          "share of the learning rate that the warm-up begins with"),
      row("optimizer.clip_norm", FIELD(optimizer.clip_norm), kNotNegative, "",
          "largest L2 norm of all gradients together; 0: no limit"),
  };
}

}  // namespace

Rows optimizer_rows() {
  Rows rows = method_rows();
  append(rows, schedule_rows());
  append(rows, branch_rows<&OptimizerConfig::backbone>("optimizer.backbone", "backbone"));
  append(rows, branch_rows<&OptimizerConfig::rpn>("optimizer.rpn", "RPN"));
  append(rows, branch_rows<&OptimizerConfig::detector>("optimizer.detector", "detection head"));
  return rows;
}

}  // namespace frcnn::option_table
