#include <algorithm>
#include <charconv>
#include <type_traits>

#include "kernels/launch/check.h"
#include "model/option_table.h"

namespace frcnn {
namespace {

/// Shortest text that reads back as the same number.
template <typename T>
std::string number_text(T value) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  return {buffer, end};
}

std::string text_of(bool value) {
  return value ? "true" : "false";
}
std::string text_of(int value) {
  return number_text(value);
}
std::string text_of(int64_t value) {
  return number_text(value);
}
std::string text_of(uint64_t value) {
  return number_text(value);
}
/// 0.0005 rather than to_chars' 5e-04.
std::string text_of(double value) {
  const double size = value < 0 ? -value : value;
  if (size != 0 && (size < 1e-5 || size >= 1e15)) return number_text(value);
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed).ptr;
  return {buffer, end};
}

/// A TOML basic string.
std::string text_of(const std::string& value) {
  std::string text = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      text += '\\';
      text += c;
    } else if (c == '\n') {
      text += "\\n";
    } else if (c == '\t') {
      text += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      text += fmt::format("\\u{:04X}", static_cast<int>(c));
    } else {
      text += c;
    }
  }
  return text + "\"";
}

template <typename T>
std::string text_of(const std::vector<T>& values) {
  std::string text = "[";
  for (size_t i = 0; i < values.size(); ++i) text += (i ? ", " : "") + text_of(values[i]);
  return text + "]";
}

/// A TOML inline table.
std::string text_of(const std::map<std::string, std::string>& values) {
  std::string text = "{";
  for (const auto& [key, value] : values)
    text += (text.size() > 1 ? ", " : "") + text_of(key) + " = " + text_of(value);
  return text + "}";
}

template <typename T>
std::string name_of_type() {
  if constexpr (std::is_same_v<T, bool>) return "boolean";
  if constexpr (std::is_same_v<T, double>) return "number";
  if constexpr (std::is_same_v<T, std::string>) return "string";
  if constexpr (std::is_same_v<T, std::vector<int>>) return "list of integers";
  if constexpr (std::is_same_v<T, std::vector<double>>) return "list of numbers";
  if constexpr (std::is_same_v<T, std::vector<std::string>>) return "list of strings";
  if constexpr (std::is_same_v<T, std::map<std::string, std::string>>) return "table of strings";
  if constexpr (std::is_same_v<T, std::optional<double>>) return "number";
  if constexpr (std::is_same_v<T, std::optional<std::string>>) return "string";
  if constexpr (std::is_same_v<T, std::optional<std::vector<double>>>) return "list of numbers";
  return "integer";
}

std::string after_last_dot(const std::string& key) {
  return key.substr(key.rfind('.') + 1);  // npos + 1 is 0
}

/// Distance of keys; the right name in the wrong section counts as near.
size_t key_distance(const std::string& a, const std::string& b) {
  return std::min(edit_distance(a, b), edit_distance(after_last_dot(a), after_last_dot(b)) + 1);
}

}  // namespace

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

std::string Range::string() const {
  const bool has_low = low > -std::numeric_limits<double>::infinity();
  const bool has_high = high < std::numeric_limits<double>::infinity() && high != 2147483647;
  const auto text = [](double v) {
    return v == static_cast<double>(static_cast<int64_t>(v)) ? number_text(static_cast<int64_t>(v))
                                                             : number_text(v);
  };
  if (has_low && has_high && above_low) return "above " + text(low) + ", up to " + text(high);
  if (has_low && has_high) return text(low) + " to " + text(high);
  if (has_low) return (above_low ? "above " : "at least ") + text(low);
  return has_high ? "at most " + text(high) : "";
}

const OptionRow* find_option(const std::string& key) {
  for (const OptionRow& row : option_rows())
    if (row.key == key) return &row;
  return nullptr;
}

bool is_section(const std::string& name) {
  return std::any_of(option_rows().begin(), option_rows().end(),
                     [&](const OptionRow& row) { return row.key.starts_with(name + "."); });
}

std::string suggestion(const std::string& unknown) {
  std::string best;
  size_t least = std::string::npos;
  const auto consider = [&](const std::string& candidate) {
    const size_t distance = key_distance(unknown, candidate);
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  };
  for (const OptionRow& row : option_rows()) {
    consider(row.key);
    for (size_t dot = row.key.find('.'); dot != std::string::npos; dot = row.key.find('.', dot + 1))
      consider(row.key.substr(0, dot));
  }
  if (least <= std::max<size_t>(2, after_last_dot(unknown).size() / 3 + 1))
    return fmt::format("did you mean '{}'?", best);
  return "`frcnn train --help-config` lists all keys";
}

std::string type_name(const OptionRow& row) {
  return std::visit(
      [](auto field) {
        return name_of_type<std::decay_t<decltype(field(std::declval<Config&>()))>>();
      },
      row.field);
}

std::string allowed_values(const OptionRow& row) {
  if (!row.choices.empty()) {
    std::string text;
    for (const std::string& choice : row.choices)
      text += (text.empty() ? "" : ", ") + text_of(choice);
    return text;
  }
  const std::string range = row.range.string();
  if (row.length == 0) return range;
  return fmt::format("{} values{}{}", row.length, range.empty() ? "" : ", each ", range);
}

std::optional<std::string> value_text(const OptionRow& row, const Config& config) {
  // The accessors give a reference to change; nothing is changed here.
  Config& fields = const_cast<Config&>(config);
  return std::visit(
      [&](auto field) -> std::optional<std::string> {
        auto& value = field(fields);
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::optional<double>> ||
                      std::is_same_v<T, std::optional<int>> ||
                      std::is_same_v<T, std::optional<std::string>> ||
                      std::is_same_v<T, std::optional<std::vector<double>>>) {
          return value ? std::optional(text_of(*value)) : std::nullopt;
        } else {
          return text_of(value);
        }
      },
      row.field);
}

}  // namespace frcnn
