#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace frcnn::apps {

// The values that a sweep tries, from the words of its command line or of a list file. Every value
// is checked against the option table and kept as the table writes it ("0.010" becomes "0.01").

/// A key and its value as TOML text.
using Setting = std::pair<std::string, std::string>;
using Combination = std::vector<Setting>;

/// A range from which random values are drawn.
struct ValueRange {
  bool logarithmic = false;  ///< the logarithm is uniform
  double low = 0, high = 0;  ///< both ends are possible
  bool whole = false;        ///< the setting is an integer
};

/// What one --grid tries: values, or a range.
struct Axis {
  std::string key;
  std::vector<std::string> values;
  std::optional<ValueRange> range;
};

/// "optimizer.lr=0.01,0.02", "roi.hidden=[256,256];[512]", "optimizer.lr=log(1e-4,1e-1)" or
/// "roi.dropout=uniform(0,0.7)". Values are separated by ; where the text has one outside of
/// brackets and quotes, otherwise by commas. Throws UsageError that names key and value.
Axis parse_axis(const std::string& text);

/// All combinations of the axes' values, the last axis changing fastest. Throws UsageError for
/// ranges and for a key that stands in two axes.
std::vector<Combination> grid_product(const std::vector<Axis>& axes);

/// `count` different combinations drawn at random; a range's values have three significant digits.
/// A function of (axes, seed): the first n of more draws are the same. Throws UsageError when
/// there are not as many.
std::vector<Combination> random_combinations(const std::vector<Axis>& axes, int count,
                                             uint64_t seed);

/// The combinations of a file. TOML: one table [[run]] for each; CSV: a first line of keys, then
/// one line for each, where an empty cell leaves a setting as it is. Throws UsageError that names
/// file and line or table.
std::vector<Combination> read_combinations(const std::filesystem::path& file);

/// The value as the option table writes it. Throws UsageError that begins with `where` and names
/// key, value and what is allowed.
std::string checked_value(const std::string& key, const std::string& value,
                          const std::string& where);

/// "optimizer.lr = 0.01, train.epochs = 5".
std::string combination_text(const Combination& combination);

}  // namespace frcnn::apps
