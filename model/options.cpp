#include "model/options.h"

#include <toml++/toml.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

#include "kernels/launch/check.h"
#include "model/option_table.h"

namespace frcnn {
namespace {

template <typename... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
  throw UsageError(fmt::format(format, std::forward<Args>(args)...));
}

/// What a TOML node holds, for messages: `"abc"`, `12`, `a table`.
std::string found(const toml::node& node) {
  if (node.is_table()) return "a table";
  if (node.is_array_of_tables()) return "a list of tables";
  std::ostringstream text;
  node.visit([&](const auto& value) {
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, toml::value<bool>>)
      text << (value.get() ? "true" : "false");
    else if constexpr (std::is_same_v<std::decay_t<decltype(value)>, toml::value<double>>)
      text << fmt::format("{}", value.get());  // toml++ writes 17 digits
    else
      text << value;
  });
  std::string result = text.str();
  if (node.is_string()) result = "the string " + result;
  if (result.find('\n') != std::string::npos || result.size() > 60) return "a long value";
  return result;
}

/// One assignment on its way into the config.
struct Target {
  const OptionRow& row;
  std::string where;  ///< "file.toml:12: " or "--set a.b=1: "

  [[noreturn]] void wrong_type(const toml::node& node) const {
    const std::string type = type_name(row);
    refuse("{}{} must be {} {}, found {}", where, row.key, type == "integer" ? "an" : "a", type,
           found(node));
  }
  [[noreturn]] void not_allowed(const std::string& value) const {
    refuse("{}{} must be {}, found {}", where, row.key,
           (row.choices.empty() ? "" : "one of ") + allowed_values(row), value);
  }
};

double number_of(const Target& target, const toml::node& node) {
  double value = 0;
  if (const auto* integer = node.as_integer())
    value = static_cast<double>(integer->get());
  else if (const auto* floating = node.as_floating_point())
    value = floating->get();
  else
    target.wrong_type(node);
  if (!std::isfinite(value) || !target.row.range.contains(value)) {
    if (target.row.range.string().empty())
      refuse("{}{} must be finite, found {}", target.where, target.row.key, found(node));
    target.not_allowed(found(node));
  }
  return value;
}

void read(const Target& target, const toml::node& node, double& out) {
  out = number_of(target, node);
}

template <typename T>
requires(std::is_integral_v<T> &&
         !std::is_same_v<T, bool>) void read(const Target& target, const toml::node& node, T& out) {
  if (!node.is_integer()) target.wrong_type(node);
  number_of(target, node);  // the range
  const int64_t value = node.as_integer()->get();
  if (!std::in_range<T>(value)) target.not_allowed(found(node));
  out = static_cast<T>(value);
}

void read(const Target& target, const toml::node& node, bool& out) {
  if (!node.is_boolean()) target.wrong_type(node);
  out = node.as_boolean()->get();
}

void read(const Target& target, const toml::node& node, std::string& out) {
  if (!node.is_string()) target.wrong_type(node);
  const std::string& value = node.as_string()->get();
  const auto& choices = target.row.choices;
  if (!choices.empty() && std::find(choices.begin(), choices.end(), value) == choices.end())
    target.not_allowed("\"" + value + "\"");
  out = value;
}

template <typename T>
void read(const Target& target, const toml::node& node, std::vector<T>& out) {
  const toml::array* array = node.as_array();
  if (!array) target.wrong_type(node);
  const OptionRow& row = target.row;
  if (row.length != 0 && array->size() != row.length)
    refuse("{}{} must have {} values, found {}", target.where, row.key, row.length, array->size());
  if (array->empty() && !row.may_be_empty) refuse("{}{} must not be empty", target.where, row.key);
  std::vector<T> values(array->size());
  for (size_t i = 0; i < values.size(); ++i) read(target, *array->get(i), values[i]);
  out = std::move(values);
}

void read(const Target& target, const toml::node& node, std::map<std::string, std::string>& out) {
  const toml::table* table = node.as_table();
  if (!table) target.wrong_type(node);
  std::map<std::string, std::string> values;
  for (const auto& [key, value] : *table) read(target, value, values[std::string(key.str())]);
  out = std::move(values);
}

template <typename T>
void read(const Target& target, const toml::node& node, std::optional<T>& out) {
  T value{};
  read(target, node, value);
  out = std::move(value);
}

void assign(Config& config, const Target& target, const toml::node& node) {
  std::visit([&](auto field) { read(target, node, field(config)); }, target.row.field);
}

/// Walks the tables of a file; `prefix` is the dotted name of `table`.
void assign_table(Config& config, const toml::table& table, const std::string& prefix,
                  const std::string& name) {
  for (const auto& [key_node, node] : table) {
    const std::string key = (prefix.empty() ? "" : prefix + ".") + std::string(key_node.str());
    const std::string where = fmt::format("{}:{}: ", name, node.source().begin.line);
    if (const OptionRow* row = find_option(key)) {
      assign(config, {*row, where}, node);
    } else if (node.is_table() && is_section(key)) {
      assign_table(config, *node.as_table(), key, name);
    } else if (is_section(key)) {
      refuse("{}{} must be a table of options, found {}", where, key, found(node));
    } else {
      refuse("{}unknown {} '{}': {}", where, node.is_table() ? "section" : "key", key,
             suggestion(key));
    }
  }
}

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t");
  return first == std::string::npos ? ""
                                    : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// The value of `--set key=value`. Where a string is wanted, anything that is not a TOML string is
/// taken as it stands, so that the shell's quotes need no quotes inside.
toml::table parse_value(const OptionRow& row, const std::string& text, const std::string& where) {
  const bool wants_string = type_name(row) == "string";
  try {
    toml::table table = toml::parse("v = " + text);
    if (table.size() == 1 && (!wants_string || table.get("v")->is_string())) return table;
  } catch (const toml::parse_error& error) {
    if (!wants_string)
      refuse("{}{} must be {} {} in TOML syntax, found '{}'", where, row.key,
             type_name(row) == "integer" ? "an" : "a", type_name(row), text);
  }
  toml::table table;
  table.insert("v", text);
  return table;
}

}  // namespace

void set_option(Config& config, const std::string& assignment) {
  const std::string where = fmt::format("--set {}: ", assignment);
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos) refuse("{}expected key=value", where);
  const std::string key = trimmed(assignment.substr(0, equals));
  const OptionRow* row = find_option(key);
  if (!row) {
    if (is_section(key)) refuse("{}'{}' is a section; name one of its options", where, key);
    refuse("{}unknown key '{}': {}", where, key, suggestion(key));
  }
  const toml::table table = parse_value(*row, trimmed(assignment.substr(equals + 1)), where);
  assign(config, {*row, where}, *table.get("v"));
}

std::optional<std::string> get_option(const Config& config, const std::string& key) {
  const OptionRow* row = find_option(key);
  if (!row) refuse("unknown key '{}': {}", key, suggestion(key));
  return value_text(*row, config);
}

void apply_toml(Config& config, std::string_view text, const std::string& name) {
  try {
    const toml::table table = toml::parse(text, name);
    assign_table(config, table, "", name);
  } catch (const toml::parse_error& error) {
    refuse("{}:{}: not valid TOML: {}", name, error.source().begin.line, error.description());
  }
}

Config parse_config(std::string_view text, const std::string& name,
                    const std::vector<std::string>& overrides, const Config& base) {
  Config config = base;
  apply_toml(config, text, name);
  for (const std::string& assignment : overrides) set_option(config, assignment);
  check_config(config, name);
  return config;
}

Config load_config(const std::filesystem::path& file, const std::vector<std::string>& overrides,
                   const Config& base) {
  check(!std::filesystem::is_directory(file), "{}: is a folder, expected a TOML config file",
        file.string());
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  check(stream.is_open(), "{}: cannot read the config: {}", file.string(), std::strerror(errno));
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  check(!stream.bad(), "{}: cannot read the config", file.string());
  return parse_config(text, file.string(), overrides, base);
}

std::string to_toml(const Config& config) {
  // Sections in the order of their first key; options directly below a section come before those of
  // its parts in the table, so that every section is one block.
  std::string text, section;
  for (const OptionRow& row : option_rows()) {
    const auto value = value_text(row, config);
    if (!value) continue;
    const size_t dot = row.key.rfind('.');
    if (row.key.substr(0, dot) != section) {
      section = row.key.substr(0, dot);
      text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", section);
    }
    text += fmt::format("{} = {}\n", row.key.substr(dot + 1), *value);
  }
  return text;
}

}  // namespace frcnn
