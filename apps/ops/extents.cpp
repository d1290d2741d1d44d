#include "apps/ops/extents.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "kernels/launch/check.h"

namespace frcnn::apps::ops {
namespace {

std::string trimmed(std::string text) {
  std::erase(text, ' ');
  return text;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text)
    if (c == separator)
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

bool is_number(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](unsigned char c) { return std::isdigit(c) != 0; });
}

bool is_name(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_';
  });
}

std::string hint(const std::string& name, const std::vector<std::string>& candidates) {
  const std::string best = nearest_name(name, candidates);
  return best.empty() ? "" : ": did you mean '" + best + "'?";
}

bool same_kind(const Value& a, const Value& b) {
  return a.index() == b.index() ||
         (std::holds_alternative<double>(a) && std::holds_alternative<int64_t>(b));
}

const char* kind_name(const Value& value) {
  constexpr const char* kNames[] = {"an integer", "a number", "true or false", "a word",
                                    "a list of numbers"};
  return kNames[value.index()];
}

void check_params(const Operation& op, const Values& params) {
  std::vector<std::string> names;
  for (const ParameterDoc& doc : op.params) names.push_back(doc.name);
  for (const auto& [name, value] : params) {
    const ParameterDoc* doc = op.parameter(name);
    check(doc != nullptr, "[{}] has no parameter '{}'{}", op.name, name, hint(name, names));
    check(same_kind(doc->standard, value), "[{}] {} must be {}, found {} ({})", op.name, name,
          kind_name(doc->standard), kind_name(value), value_text(value));
    if (const auto* word = std::get_if<std::string>(&value); word && !doc->choices.empty())
      check(std::find(doc->choices.begin(), doc->choices.end(), *word) != doc->choices.end(),
            "[{}] {} must be one of {}, found '{}'", op.name, name,
            fmt::format("{}", fmt::join(doc->choices, ", ")), *word);
  }
}

void check_type(const Operation& op, const ArrayDoc& doc, const Array& array) {
  const bool good = is_float(doc.type) ? is_float(array.type()) : array.type() == doc.type;
  check(good, "[{}] {} must hold {} numbers, found {}", op.name, doc.name,
        is_float(doc.type) ? "floating-point" : type_name(doc.type), type_name(array.type()));
}

}  // namespace

int64_t side_value(const std::string& side, const Letters& letters) {
  int64_t sum = 0;
  for (const std::string& term : split(trimmed(side), '+')) {
    int64_t product = 1;
    for (const std::string& factor : split(term, '*')) {
      const auto letter = letters.find(factor);
      check(is_number(factor) || letter != letters.end(), "unknown letter '{}' in '{}'", factor,
            side);
      product *= is_number(factor) ? std::stoll(factor) : letter->second;
    }
    sum += product;
  }
  return sum;
}

void match_extent(const std::string& what, const std::string& documented, const Extent& extent,
                  Letters& letters) {
  std::string inner = documented.substr(1, documented.size() - 2);
  const std::vector<std::string> sides =
      inner.empty() ? std::vector<std::string>{} : split(trimmed(inner), ',');
  check(sides.size() == extent.size(), "{} must have the extent {}, found {}", what, documented,
        extent_text(extent));
  for (size_t i = 0; i < sides.size(); ++i) {
    // "S", and "S+1" as well, give an unknown S its value.
    const std::vector<std::string> terms = split(sides[i], '+');
    const bool plus = terms.size() == 2 && is_number(terms[1]);
    if (is_name(terms[0]) && !is_number(terms[0]) && (terms.size() == 1 || plus) &&
        !letters.contains(terms[0]))
      letters[terms[0]] = extent[i] - (plus ? std::stoll(terms[1]) : 0);
    const int64_t expected = side_value(sides[i], letters);
    check(extent[i] == expected, "{} must have the extent {}, found {}: {} is {} here", what,
          documented, extent_text(extent), sides[i], expected);
  }
}

Letters check_case(const Operation& op, const Case& given) {
  check_params(op, given.params);
  Letters letters;
  for (const ParameterDoc& doc : op.params) {
    const auto found = given.params.find(doc.name);
    const Value& value = found == given.params.end() ? doc.standard : found->second;
    if (const auto* integer = std::get_if<int64_t>(&value)) letters[doc.name] = *integer;
  }
  std::vector<std::string> names;
  for (const ArrayDoc& doc : op.inputs) {
    names.push_back(doc.name);
    const auto found = given.arrays.find(doc.name);
    if (found == given.arrays.end()) {
      check(doc.optional, "[{}] needs the array '{}', {} {}: {}", op.name, doc.name, doc.extent,
            is_float(doc.type) ? "float" : type_name(doc.type), doc.text);
      continue;
    }
    check_type(op, doc, found->second);
    match_extent(fmt::format("[{}] {}", op.name, doc.name), doc.extent, found->second.extent(),
                 letters);
  }
  for (const ArrayDoc& doc : op.outputs) {
    if (!doc.gradient) continue;
    names.push_back("d_" + doc.name);
    if (const auto found = given.arrays.find("d_" + doc.name); found != given.arrays.end())
      check(is_float(found->second.type()), "[{}] d_{} must hold floating-point numbers, found {}",
            op.name, doc.name, type_name(found->second.type()));
  }
  for (const auto& [name, array] : given.arrays)
    check(std::find(names.begin(), names.end(), name) != names.end(), "[{}] has no array '{}'{}",
          op.name, name, hint(name, names));
  return letters;
}

}  // namespace frcnn::apps::ops
