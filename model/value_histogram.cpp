#include "model/value_histogram.h"

#include <algorithm>
#include <cmath>

#include "kernels/launch/check.h"

namespace frcnn {

std::string RangeRule::string() const {
  switch (kind) {
    case Kind::max:
      return "max";
    case Kind::percentile:
      return fmt::format("percentile {:g}", percent);
    case Kind::entropy:
      return "entropy";
  }
  return "";
}

void ValueHistogram::add(std::span<const float> values, int64_t padding) {
  float largest = 0, least = 0;
  bool finite = true;
  for (const float v : values) {
    largest = std::max(largest, std::abs(v));
    least = std::min(least, v);
    finite = finite && std::isfinite(v);
  }
  check(finite, "a value of the network is not finite: there is no range to quantise");
  negative_ = negative_ || least < 0;
  largest_ = std::max(largest_, double{largest});
  count_ += static_cast<int64_t>(values.size()) - padding;
  if (largest_ == 0) {
    bins_[0] += static_cast<int64_t>(values.size()) - padding;
    return;
  }
  if (range_ == 0) range_ = largest_;
  const size_t half = bins_.size() / 2;
  while (range_ < largest_) {
    for (size_t i = 0; i < half; ++i) bins_[i] = bins_[2 * i] + bins_[2 * i + 1];
    std::fill(bins_.begin() + static_cast<long>(half), bins_.end(), 0);
    range_ *= 2;
  }
  const auto per_value = static_cast<float>(1 / width());
  const auto last = static_cast<int32_t>(bins_.size()) - 1;
  for (const float v : values)
    ++bins_[static_cast<size_t>(std::min(last, static_cast<int32_t>(std::abs(v) * per_value)))];
  bins_[0] -= padding;
}

double ValueHistogram::limit(const RangeRule& rule, int levels) const {
  if (largest_ == 0) return 0;
  double limit = largest_;
  if (rule.kind == RangeRule::Kind::percentile) limit = percentile_limit(rule.percent);
  if (rule.kind == RangeRule::Kind::entropy) limit = entropy_limit(levels);
  return std::min(limit, largest_);
}

double ValueHistogram::percentile_limit(double percent) const {
  const double wanted = percent / 100 * static_cast<double>(count_);
  double seen = 0;
  for (size_t i = 0; i < bins_.size(); ++i) {
    seen += static_cast<double>(bins_[i]);
    if (seen >= wanted) return width() * static_cast<double>(i + 1);
  }
  return largest_;
}

/// For each limit of i bins: the distribution P of the values with those beyond the limit at its
/// end, and Q, the same bins without these when merged to `levels` groups and spread again evenly
/// over those bins of a group that hold anything. Zeros are exact in both and left out.
double ValueHistogram::entropy_limit(int levels) const {
  const size_t bins = bins_.size(), groups = static_cast<size_t>(levels) + 1;
  std::vector<double> beyond(bins + 1, 0);  // values from bin i on
  for (size_t i = bins; i-- > 0;) beyond[i] = beyond[i + 1] + static_cast<double>(bins_[i]);
  const double all = beyond[1];
  if (all == 0) return largest_;
  constexpr double kLeastShare = 1e-6;  // where Q is empty the divergence would be infinite
  double best = -1, best_limit = largest_;
  for (size_t i = groups; i <= bins; i += 8) {
    const double inside = all - beyond[i];
    if (inside == 0) continue;
    double divergence = 0;
    for (size_t g = 0; g < groups; ++g) {
      const size_t from = std::max<size_t>(1, g * i / groups), to = (g + 1) * i / groups;
      double sum = 0, filled = 0;
      for (size_t k = from; k < to; ++k) {
        sum += static_cast<double>(bins_[k]);
        filled += bins_[k] > 0;
      }
      for (size_t k = from; k < to; ++k) {
        const double p = (static_cast<double>(bins_[k]) + (k + 1 == i ? beyond[i] : 0)) / all;
        const double q = bins_[k] > 0 ? sum / filled / inside : 0;
        if (p > 0) divergence += p * std::log(p / std::max(q, kLeastShare));
      }
    }
    if (best < 0 || divergence < best) {
      best = divergence;
      best_limit = width() * static_cast<double>(i);
    }
  }
  return best_limit;
}

}  // namespace frcnn
