#include <toml++/toml.h>

#include <algorithm>
#include <sstream>

#include "apps/sweep_values.h"
#include "data/files.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

/// A node as TOML in one line.
std::string toml_text(const toml::node& node) {
  std::ostringstream text;
  toml::table holder;
  // The formatter breaks long lists into lines; TOML allows the blanks instead.
  node.visit([&](const auto& value) {
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, toml::value<bool>>)
      text << (value.get() ? "true" : "false");
    else
      text << value;
  });
  std::string line = text.str();
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

/// Settings of a table; tables inside are sections.
void flatten(const toml::table& table, const std::string& prefix, const std::string& name,
             Combination& out) {
  for (const auto& [key_node, node] : table) {
    const std::string key = prefix + std::string(key_node.str());
    if (node.is_table())
      flatten(*node.as_table(), key + ".", name, out);
    else
      out.emplace_back(key, checked_value(key, toml_text(node),
                                          fmt::format("{}:{}", name, node.source().begin.line)));
  }
}

std::vector<Combination> from_toml(const std::string& text, const std::string& name) {
  toml::table table;
  try {
    table = toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    throw UsageError(fmt::format("{}:{}: not valid TOML: {}", name, error.source().begin.line,
                                 error.description()));
  }
  const toml::array* runs = table.get("run") ? table.get("run")->as_array() : nullptr;
  if (!runs || table.size() != 1 || !runs->is_array_of_tables())
    throw UsageError(name +
                     ": expected one table [[run]] for each combination of settings, and "
                     "nothing else");
  std::vector<Combination> combinations;
  for (const auto& run : *runs) {
    combinations.emplace_back();
    flatten(*run.as_table(), "", name, combinations.back());
  }
  return combinations;
}

/// The cells of one line; "..." may hold commas, "" inside is a quote.
std::vector<std::string> csv_cells(const std::string& line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"')
      cells.back() += line[++i];
    else if (line[i] == '"')
      quoted = !quoted;
    else if (line[i] == ',' && !quoted)
      cells.emplace_back();
    else if (line[i] != '\r')
      cells.back() += line[i];
  }
  for (std::string& cell : cells) {
    const auto first = cell.find_first_not_of(" \t");
    cell = first == std::string::npos
               ? ""
               : cell.substr(first, cell.find_last_not_of(" \t") - first + 1);
  }
  return cells;
}

std::vector<Combination> from_csv(const std::string& text, const std::string& name) {
  std::vector<std::string> keys;
  std::vector<Combination> combinations;
  std::istringstream stream(text);
  int number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto cells = csv_cells(line);
    if (keys.empty()) {
      keys = cells;
      continue;
    }
    const std::string where = fmt::format("{}:{}", name, number);
    if (cells.size() != keys.size())
      throw UsageError(fmt::format("{}: expected {} cells as in the first line, found {}", where,
                                   keys.size(), cells.size()));
    combinations.emplace_back();
    for (size_t i = 0; i < keys.size(); ++i)
      if (!cells[i].empty())
        combinations.back().emplace_back(keys[i], checked_value(keys[i], cells[i], where));
  }
  return combinations;
}

}  // namespace

std::vector<Combination> read_combinations(const std::filesystem::path& file) {
  const std::string name = file.string(), text = read_text(file);
  const bool csv = file.extension() == ".csv";
  auto combinations = csv ? from_csv(text, name) : from_toml(text, name);
  if (combinations.empty()) throw UsageError(name + ": holds no combination of settings");
  for (size_t i = 0; i < combinations.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (combinations[i] == combinations[j])
        throw UsageError(fmt::format("{}: combinations {} and {} are the same ({})", name, j + 1,
                                     i + 1, combination_text(combinations[i])));
  return combinations;
}

}  // namespace frcnn::apps
