#include "model/option_table.h"
#include "model/options.h"

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

std::string section_of(const std::string& key) {
  return key.substr(0, key.rfind('.'));
}

/// '|' would end a cell of a Markdown table.
std::string cell(const std::string& text) {
  std::string escaped;
  for (const char c : text) escaped += c == '|' ? std::string("\\|") : std::string(1, c);
  return escaped;
}

std::string code(const std::string& text) {
  return text.empty() ? "" : "`" + cell(text) + "`";
}

}  // namespace

std::vector<OptionInfo> option_list() {
  const Config defaults;
  std::vector<OptionInfo> list;
  for (const OptionRow& row : option_rows())
    list.push_back({row.key, type_name(row), value_text(row, defaults).value_or(""),
                    allowed_values(row), row.unit, row.help, row.source});
  return list;
}

std::string options_text() {
  std::string text, section;
  for (const OptionInfo& option : option_list()) {
    if (section_of(option.key) != section) {
      section = section_of(option.key);
      text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", section);
    }
    std::string kind = option.type;
    if (!option.allowed.empty()) kind += ", " + option.allowed;
    if (!option.unit.empty()) kind += ", in " + option.unit;
    text += fmt::format("  {} = {}\n      {} ({})\n", option.key.substr(section.size() + 1),
                        option.default_value.empty() ? "(as common)" : option.default_value,
                        option.help, kind);
  }
  return text;
}

std::string options_markdown() {
  std::string text =
      "# Configuration\n\n"
      "A config is a TOML file; what it leaves out has the default below. `--set key=value` on "
      "the\n"
      "command line changes one option (`--set rpn.positive_iou=0.6`). Defaults are the\n"
      "paper-faithful run (Ren et al., arXiv 1506.01497, and its original code). The program\n"
      "refuses unknown keys, wrong types and values out of range. This page is written by\n"
      "`frcnn train --help-config markdown`; a test compares the two. Formulas of losses, "
      "optimisers\n"
      "and schedules, and when to choose which: "
      "[training-parameters.md](training-parameters.md).\n";
  std::string section;
  for (const OptionInfo& option : option_list()) {
    if (section_of(option.key) != section) {
      section = section_of(option.key);
      text += fmt::format(
          "\n## [{}]\n\n| key | type | default | allowed | unit | meaning | source |\n"
          "|---|---|---|---|---|---|---|\n",
          section);
    }
    text += fmt::format("| `{}` | {} | {} | {} | {} | {} | {} |\n",
                        option.key.substr(section.size() + 1), option.type,
                        option.default_value.empty() ? "as common" : code(option.default_value),
                        cell(option.allowed), option.unit, cell(option.help), option.source);
  }
  return text;
}

}  // namespace frcnn
