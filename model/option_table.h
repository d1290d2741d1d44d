#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "model/config.h"

namespace frcnn {

// Internal to model/options*.cpp: the rows of the option table with access to their fields.

/// Reaches a field of a Config; one alternative per type of field.
template <typename T>
using FieldOf = T& (*)(Config&);
using Field =
    std::variant<FieldOf<bool>, FieldOf<int>, FieldOf<int64_t>, FieldOf<uint64_t>, FieldOf<double>,
                 FieldOf<std::string>, FieldOf<std::vector<int>>, FieldOf<std::vector<double>>,
                 FieldOf<std::vector<std::string>>, FieldOf<std::map<std::string, std::string>>,
                 FieldOf<std::optional<int>>, FieldOf<std::optional<double>>,
                 FieldOf<std::optional<std::string>>, FieldOf<std::optional<std::vector<double>>>>;

/// Values a number, or each element of a list, may take.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool above_low = false;  ///< low itself is not allowed
  bool contains(double value) const {
    return value <= high && (above_low ? value > low : value >= low);
  }
  /// "0 to 1", "at least 1", "above 0", or "" where anything goes.
  std::string string() const;
};

struct OptionRow {
  std::string key;
  Field field;
  Range range;                       ///< numbers
  std::vector<std::string> choices;  ///< strings; empty: any text
  size_t length = 0;                 ///< lists: the number of elements; 0: one or more
  bool may_be_empty = false;         ///< lists: [] is allowed
  std::string unit, help, source;
};

/// All rows in canonical order; the keys of one section stand together.
const std::vector<OptionRow>& option_rows();
/// nullptr when there is no such key.
const OptionRow* find_option(const std::string& key);
/// True for "rpn", "rpn.train", ...
bool is_section(const std::string& name);
/// ": did you mean '...'?" for the nearest known key (or section), or a hint where to find the
/// list.
std::string suggestion(const std::string& unknown);

/// Edits (insertions, deletions, replacements) that make one text the other.
size_t edit_distance(const std::string& a, const std::string& b);

/// "number", "integer", "list of numbers", "table of strings", ...
std::string type_name(const OptionRow& row);
/// "0 to 1", or the choices quoted.
std::string allowed_values(const OptionRow& row);
/// The field's value as TOML; nullopt when it is unset.
std::optional<std::string> value_text(const OptionRow& row, const Config& config);

}  // namespace frcnn
