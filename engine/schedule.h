#pragma once

#include <cstdint>
#include <vector>

namespace frcnn {

/// Learning rate over the run: linear warm-up, then steps down.
///
///   lr(t) = base * gamma^(number of boundaries <= t) * warm-up(t)
///   warm-up(t) = factor + (1 - factor) * t / warmup_steps for t < warmup_steps, else 1
///
/// The paper's schedule (section 3.1.3) is base 0.001, one boundary at 60,000 of 80,000, gamma 0.1.
struct StepSchedule {
  double base = 0.001;
  std::vector<int64_t> boundaries;  ///< steps, ascending
  double gamma = 0.1;
  int64_t warmup_steps = 0;
  double warmup_factor = 0.1;

  /// Rate of step t (the first step is 0).
  double at(int64_t t) const;
};

}  // namespace frcnn
