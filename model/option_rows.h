#pragma once

#include <initializer_list>
#include <iterator>

#include "model/option_table.h"

// Internal to the files that write rows of the option table: short forms of a row.
namespace frcnn::option_table {

inline const Range kAny{};
inline const Range kFraction{0, 1};
inline const Range kPositive{0, std::numeric_limits<double>::infinity(), true};
inline const Range kNotNegative{0, std::numeric_limits<double>::infinity()};
inline const Range kCount{1, 2147483647};
inline const Range kCountOrZero{0, 2147483647};

using Choices = std::vector<std::string>;
using Rows = std::vector<OptionRow>;

// The field as a captureless lambda, so that a row names it once.
#define FIELD(member) +[](Config& c) -> decltype((c.member)) { return c.member; }

template <typename T>
OptionRow row(std::string key, FieldOf<T> field, Range range, std::string unit, std::string help,
              std::string source = "") {
  return {std::move(key),  Field(field),     range, {}, 0, false, std::move(unit),
          std::move(help), std::move(source)};
}

template <typename T>
OptionRow row(std::string key, FieldOf<T> field, Choices choices, std::string help,
              std::string source = "") {
  return {std::move(key),  Field(field),     {}, std::move(choices), 0, false, "",
          std::move(help), std::move(source)};
}

template <typename T>
OptionRow row(std::string key, FieldOf<T> field, std::string help, std::string source = "") {
  return row(std::move(key), field, kAny, "", std::move(help), std::move(source));
}

inline OptionRow with_length(OptionRow r, size_t length) {
  r.length = length;
  return r;
}

inline OptionRow maybe_empty(OptionRow r) {
  r.may_be_empty = true;
  return r;
}

inline void append(Rows& rows, Rows more) {
  rows.insert(rows.end(), std::make_move_iterator(more.begin()),
              std::make_move_iterator(more.end()));
}

/// Rows of [optimizer] and of its branches (model/option_table_optimizer.cpp).
Rows optimizer_rows();

}  // namespace frcnn::option_table
