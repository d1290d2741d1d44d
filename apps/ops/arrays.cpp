#include "apps/ops/arrays.h"

#include <fmt/format.h>

#include <algorithm>

namespace frcnn::apps::ops {

const char* type_name(Type type) {
  switch (type) {
    case Type::f32:
      return "float32";
    case Type::f64:
      return "float64";
    case Type::i32:
      return "int32";
    case Type::i64:
      return "int64";
    case Type::u8:
      return "uint8";
  }
  return "";
}

size_t size_of(Type type) {
  size_t size = 0;
  with_stored(type, [&](auto zero) { size = sizeof(zero); });
  return size;
}

std::string extent_text(const Extent& extent) {
  return fmt::format("({})", fmt::join(extent, ", "));
}

int64_t count_of(const Extent& extent) {
  int64_t count = 1;
  for (const int64_t side : extent) count *= side;
  return count;
}

std::string value_text(const Value& value) {
  struct Text {
    std::string operator()(int64_t v) const { return std::to_string(v); }
    std::string operator()(double v) const { return fmt::format("{}", v); }
    std::string operator()(bool v) const { return v ? "true" : "false"; }
    std::string operator()(const std::string& v) const { return v; }
    std::string operator()(const std::vector<double>& v) const {
      return fmt::format("{}", fmt::join(v, ","));
    }
  };
  return std::visit(Text{}, value);
}

namespace {
/// Levenshtein's distance.
size_t distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}
}  // namespace

std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates) {
  std::string best;
  size_t least = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : candidates)
    if (const size_t d = distance(name, candidate); d < least) {
      least = d;
      best = candidate;
    }
  return best;
}

}  // namespace frcnn::apps::ops
