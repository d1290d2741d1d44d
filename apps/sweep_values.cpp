#include "apps/sweep_values.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "kernels/launch/check.h"
#include "kernels/random/philox.h"
#include "model/options.h"

namespace frcnn::apps {
namespace {

/// More runs than anybody waits for: a mistake in the command line.
constexpr size_t kMostCombinations = 10000;

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t");
  return first == std::string::npos ? ""
                                    : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// Splits at a separator outside of brackets and quotes.
std::vector<std::string> split_values(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  int depth = 0;
  char quote = 0;
  for (const char c : text) {
    if (quote) {
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '[' || c == '(') {
      ++depth;
    } else if (c == ']' || c == ')') {
      --depth;
    }
    if (c == separator && !quote && depth == 0)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  for (std::string& part : parts) part = trimmed(part);
  return parts;
}

std::optional<double> number(const std::string& text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::string type_of(const std::string& key) {
  for (const OptionInfo& option : option_list())
    if (option.key == key) return option.type;
  return "";
}

/// log(a,b) or uniform(a,b); nullopt for anything else.
std::optional<ValueRange> parse_range(const std::string& key, const std::string& text,
                                      const std::string& where) {
  ValueRange range;
  range.logarithmic = text.starts_with("log(");
  if ((!range.logarithmic && !text.starts_with("uniform(")) || !text.ends_with(")"))
    return std::nullopt;
  const size_t open = text.find('(');
  const auto ends = split_values(text.substr(open + 1, text.size() - open - 2), ',');
  const auto low = number(ends.front()), high = number(ends.back());
  if (ends.size() != 2 || !low || !high || !(*low < *high) || (range.logarithmic && *low <= 0))
    throw UsageError(fmt::format("{}: {}: expected {}, found {}", where, key,
                                 range.logarithmic ? "log(LOW,HIGH) with 0 < LOW < HIGH"
                                                   : "uniform(LOW,HIGH) with LOW < HIGH",
                                 text));
  range.low = *low;
  range.high = *high;
  const std::string type = type_of(key);
  if (type != "integer" && type != "number")
    throw UsageError(fmt::format("{}: {} is a {}, which a range cannot be drawn for", where, key,
                                 type.empty() ? "section" : type));
  range.whole = type == "integer";
  for (const double end : {range.low, range.high})
    checked_value(key, range.whole ? fmt::format("{:.0f}", end) : fmt::format("{}", end), where);
  return range;
}

void refuse_twice(const std::vector<Axis>& axes) {
  std::set<std::string> keys;
  for (const Axis& axis : axes)
    if (!keys.insert(axis.key).second)
      throw UsageError(fmt::format(
          "--grid {}: the key stands in two --grid; put all its values into one", axis.key));
}

std::string drawn_value(const ValueRange& range, double share) {
  const double value =
      range.logarithmic
          ? std::exp(std::log(range.low) + share * (std::log(range.high) - std::log(range.low)))
          : range.low + share * (range.high - range.low);
  if (range.whole) {
    const double low = std::ceil(range.low), high = std::floor(range.high);
    const double whole =
        range.logarithmic ? std::round(value) : std::floor(low + share * (high - low + 1));
    return fmt::format("{:.0f}", std::clamp(whole, low, high));
  }
  return fmt::format("{}",
                     std::clamp(*number(fmt::format("{:.2e}", value)), range.low, range.high));
}

Combination draw(const std::vector<Axis>& axes, uint64_t seed, uint64_t number) {
  Combination combination;
  for (size_t i = 0; i < axes.size(); ++i) {
    const Axis& axis = axes[i];
    const kernels::RandomKey key{seed, kernels::kStreamSweep, number};
    if (axis.range) {
      const std::string value = drawn_value(*axis.range, kernels::random_uniform(key, i));
      combination.emplace_back(axis.key, checked_value(axis.key, value, "--grid " + axis.key));
    } else {
      const auto count = static_cast<uint32_t>(axis.values.size());
      combination.emplace_back(axis.key, axis.values[kernels::random_below(key, i, count)]);
    }
  }
  return combination;
}

}  // namespace

std::string checked_value(const std::string& key, const std::string& value,
                          const std::string& where) {
  const std::string assignment = key + "=" + value;
  Config config;
  try {
    set_option(config, assignment);
  } catch (const UsageError& error) {
    std::string message = error.what();
    const std::string prefix = fmt::format("--set {}: ", assignment);
    if (message.starts_with(prefix)) message.erase(0, prefix.size());
    throw UsageError(fmt::format("{}: {}", where, message));
  }
  return get_option(config, key).value_or(value);
}

Axis parse_axis(const std::string& text) {
  const std::string where = "--grid " + text;
  const size_t equals = text.find('=');
  if (equals == std::string::npos)
    throw UsageError(where + ": expected KEY=VALUE,VALUE,... as in optimizer.lr=0.01,0.02");
  Axis axis;
  axis.key = trimmed(text.substr(0, equals));
  const std::string values = trimmed(text.substr(equals + 1));
  axis.range = parse_range(axis.key, values, where);
  if (axis.range) return axis;
  auto parts = split_values(values, ';');
  if (parts.size() == 1) parts = split_values(values, ',');
  for (const std::string& part : parts) {
    const std::string value = checked_value(axis.key, part, where);
    if (std::count(axis.values.begin(), axis.values.end(), value))
      throw UsageError(fmt::format("{}: {} = {} stands there twice", where, axis.key, value));
    axis.values.push_back(value);
  }
  return axis;
}

std::vector<Combination> grid_product(const std::vector<Axis>& axes) {
  refuse_twice(axes);
  std::vector<Combination> product(1);
  for (const Axis& axis : axes) {
    if (axis.range)
      throw UsageError(fmt::format(
          "--grid {}: values of a range are drawn at random: say how many with --random N",
          axis.key));
    if (product.size() * axis.values.size() > kMostCombinations)
      throw UsageError(fmt::format("--grid: more than {} combinations", kMostCombinations));
    std::vector<Combination> longer;
    for (const Combination& before : product)
      for (const std::string& value : axis.values) {
        longer.push_back(before);
        longer.back().emplace_back(axis.key, value);
      }
    product = std::move(longer);
  }
  return product;
}

std::vector<Combination> random_combinations(const std::vector<Axis>& axes, int count,
                                             uint64_t seed) {
  refuse_twice(axes);
  if (axes.empty())
    throw UsageError("--random: say what to draw, as --grid \"optimizer.lr=log(1e-4,1e-1)\"");
  std::set<Combination> seen;
  std::vector<Combination> drawn;
  // A combination that was drawn before is drawn anew, from numbers of its own.
  constexpr uint64_t kAttempts = 1000;
  for (uint64_t i = 0; drawn.size() < static_cast<size_t>(count); ++i) {
    uint64_t attempt = 0;
    Combination combination = draw(axes, seed, i);
    while (!seen.insert(combination).second && ++attempt < kAttempts)
      combination = draw(axes, seed, i + (attempt << 32));
    if (attempt == kAttempts)
      throw UsageError(
          fmt::format("--random {}: only {} different combinations were found in the given values",
                      count, drawn.size()));
    drawn.push_back(std::move(combination));
  }
  return drawn;
}

std::string combination_text(const Combination& combination) {
  std::string text;
  for (const auto& [key, value] : combination)
    text += fmt::format("{}{} = {}", text.empty() ? "" : ", ", key, value);
  return text;
}

}  // namespace frcnn::apps
