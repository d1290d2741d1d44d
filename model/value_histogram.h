#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace frcnn {

/// How the range of a map's values is chosen from what was seen: integers stand for values up to a
/// limit, larger ones are clamped to it.
struct RangeRule {
  enum class Kind : uint8_t {
    max,         ///< the largest absolute value: nothing is clamped
    percentile,  ///< `percent` of all values lie within (Wu et al., arXiv 2004.09602, section 3.4)
    entropy,     ///< the quantised distribution loses least information against the seen one:
                 ///< smallest Kullback-Leibler divergence (Migacz, GTC 2017)
  };
  Kind kind = Kind::percentile;
  double percent = 99.99;  ///< of Kind::percentile

  /// "max", "percentile 99.99", "entropy".
  std::string string() const;
};

/// Counts of the absolute values of one map over many pictures, in 4096 bins of equal width, which
/// doubles whenever a larger value comes, so that one pass over the pictures is enough.
class ValueHistogram {
 public:
  /// `padding`: how many of the values are the zeros that pad a blocked format. Throws Error for
  /// values that are not finite.
  void add(std::span<const float> values, int64_t padding = 0);

  int64_t count() const { return count_; }
  double largest() const { return largest_; }  ///< absolute
  bool has_negative() const { return negative_; }
  /// The limit by `rule` for `levels` integers above zero (255 or 127). 0 where all values were 0.
  double limit(const RangeRule& rule, int levels) const;

 private:
  double percentile_limit(double percent) const;
  double entropy_limit(int levels) const;
  double width() const { return range_ / static_cast<double>(bins_.size()); }
  std::vector<int64_t> bins_ = std::vector<int64_t>(4096, 0);
  double range_ = 0;  ///< of the bins; 0 until a value above 0 was seen
  int64_t count_ = 0;
  double largest_ = 0;
  bool negative_ = false;
};

}  // namespace frcnn
