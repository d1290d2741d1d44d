#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace frcnn {

/// What becomes of the learning rate over a run. With p = (t - warmup_steps) / (total_steps -
/// warmup_steps), limited to 0 .. 1:
///   constant     d(t) = 1
///   step         d(t) = gamma^(number of boundaries <= t)
///   cosine       d(t) = final_share + (1 - final_share) (1 + cos(pi p)) / 2
///   polynomial   d(t) = final_share + (1 - final_share) (1 - p)^power
/// torch.optim.lr_scheduler has the same as ConstantLR, MultiStepLR, CosineAnnealingLR (eta_min =
/// base * final_share) and PolynomialLR (final_share 0); with a warm-up, LinearLR before
/// CosineAnnealingLR or PolynomialLR in a SequentialLR, and LinearLR beside MultiStepLR in a
/// ChainedScheduler. Cosine: Loshchilov and Hutter, ICLR 2017 (SGDR, equation 5, without restarts).
enum class ScheduleRule : uint8_t { constant, step, cosine, polynomial };

/// Learning rate over the run: linear warm-up, then the decay of the rule.
///
///   lr(t) = base * d(t) * warm-up(t)
///   warm-up(t) = factor + (1 - factor) * t / warmup_steps for t < warmup_steps, else 1
///
/// The paper's schedule (section 3.1.3) is base 0.001, one boundary at 60,000 of 80,000, gamma 0.1.
struct Schedule {
  double base = 0.001;
  std::vector<int64_t> boundaries;  ///< step: updates, ascending
  double gamma = 0.1;
  int64_t warmup_steps = 0;
  double warmup_factor = 0.1;
  ScheduleRule rule = ScheduleRule::step;
  int64_t total_steps = 0;  ///< cosine, polynomial: updates of the run
  double final_share = 0;   ///< cosine, polynomial: of base, at the end
  double power = 1;         ///< polynomial

  /// Rate of step t (the first step is 0).
  double at(int64_t t) const;
  /// "step x 0.1 at 60000", "cosine to x 0, warm-up 500 steps from x 0.1": for summaries.
  std::string text() const;
};

/// "constant", "step", "cosine" or "polynomial"; UsageError naming `key` for other words.
ScheduleRule schedule_rule_by_name(const std::string& name, const std::string& key);

}  // namespace frcnn
