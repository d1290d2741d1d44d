#include "engine/schedule.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr const char* kRules[] = {"constant", "step", "cosine", "polynomial"};

/// Share of the way from the end of the warm-up to the end of the run that lies behind step t.
double progress(const Schedule& s, int64_t t) {
  const auto way = static_cast<double>(std::max<int64_t>(1, s.total_steps - s.warmup_steps));
  return std::clamp(static_cast<double>(t - s.warmup_steps) / way, 0.0, 1.0);
}

double falling(const Schedule& s, double share) {
  return s.final_share + (1 - s.final_share) * share;
}

}  // namespace

double Schedule::at(int64_t t) const {
  double lr = base;
  switch (rule) {
    case ScheduleRule::constant:
      break;
    case ScheduleRule::step:
      for (const int64_t boundary : boundaries)
        if (t >= boundary) lr *= gamma;
      break;
    case ScheduleRule::cosine:
      lr *= falling(*this, 0.5 * (1 + std::cos(kPi * progress(*this, t))));
      break;
    case ScheduleRule::polynomial:
      lr *= falling(*this, std::pow(1 - progress(*this, t), power));
      break;
  }
  if (t < warmup_steps)
    lr *= warmup_factor +
          (1 - warmup_factor) * static_cast<double>(t) / static_cast<double>(warmup_steps);
  return lr;
}

std::string Schedule::text() const {
  std::string text = kRules[static_cast<size_t>(rule)];
  if (rule == ScheduleRule::step && boundaries.empty()) text = "constant";
  if (rule == ScheduleRule::step && !boundaries.empty())
    text += fmt::format(" x {:g} at {}", gamma, fmt::join(boundaries, ", "));
  if (rule == ScheduleRule::cosine || rule == ScheduleRule::polynomial)
    text += fmt::format(" to x {:g} at {}", final_share, total_steps);
  if (rule == ScheduleRule::polynomial) text += fmt::format(", power {:g}", power);
  if (warmup_steps > 0)
    text += fmt::format(", warm-up {} steps from x {:g}", warmup_steps, warmup_factor);
  return text;
}

ScheduleRule schedule_rule_by_name(const std::string& name, const std::string& key) {
  for (size_t i = 0; i < std::size(kRules); ++i)
    if (name == kRules[i]) return static_cast<ScheduleRule>(i);
  throw UsageError(fmt::format("{} must be one of \"{}\", found \"{}\"", key,
                               fmt::join(kRules, "\", \""), name));
}

}  // namespace frcnn
