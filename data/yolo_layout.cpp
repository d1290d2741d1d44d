#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <set>

#include "data/files.h"
#include "data/image.h"
#include "data/yolo.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace fs = std::filesystem;
namespace {

/// A value of data.yaml: a word, or a list of words. "names" as a map is a list by index.
struct YamlValue {
  int line = 0;
  bool is_list = false;
  std::vector<std::string> words;
};

/// Reads the part of YAML that data.yaml files use: top-level "key: value", where a value is a
/// plain or quoted word, [a, b], {0: a, 1: b}, or an indented block of "- a" or "0: a". Values of
/// keys that are not wanted are skipped unread.
class YamlReader {
 public:
  YamlReader(const fs::path& file, std::set<std::string> wanted)
      : file_(file), wanted_(std::move(wanted)) {
    const std::string text = read_text(file);
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      lines_.push_back(without_comment(text.substr(at, end - at)));
      at = end + 1;
    }
  }

  std::map<std::string, YamlValue> run() {
    std::map<std::string, YamlValue> values;
    for (at_ = 0; at_ < lines_.size();) {
      const std::string& line = lines_[at_];
      const bool indented = !line.empty() && (line[0] == ' ' || line[0] == '\t' || line[0] == '-');
      if (trimmed(line).empty() || indented || trimmed(line) == "---") {
        ++at_;  // of a value that is not wanted
        continue;
      }
      const size_t colon = line.find(':');
      check(colon != std::string::npos, "{}:{}: expected 'key: value', found '{}'", file_.string(),
            at_ + 1, line.substr(0, 60));
      const std::string key = unquoted(line.substr(0, colon));
      if (wanted_.count(key) == 0) {
        ++at_;
        continue;
      }
      values[key] = read_value(key, line.substr(colon + 1));
    }
    return values;
  }

 private:
  static std::string without_comment(std::string line) {
    char quote = 0;
    for (size_t i = 0; i < line.size(); ++i) {
      const bool doubled = quote == '\'' && line.compare(i, 2, "''") == 0;
      if (doubled || (quote == '"' && line[i] == '\\'))
        ++i;
      else if (quote != 0)
        quote = line[i] == quote ? 0 : quote;
      else if (line[i] == '"' || line[i] == '\'')
        // An apostrophe inside a word quotes nothing.
        quote = i == 0 || std::string_view(" [{,:-").find(line[i - 1]) != std::string_view::npos
                    ? line[i]
                    : '\0';
      else if (line[i] == '#' && (i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t'))
        return line.substr(0, i);
    }
    return line;
  }

  static std::string unquoted(std::string_view text) {
    text = trimmed(text);
    const bool quoted = text.size() >= 2 && text.front() == text.back() &&
                        (text.front() == '"' || text.front() == '\'');
    if (!quoted) return std::string(text);
    const char quote = text.front();
    text = text.substr(1, text.size() - 2);
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      const bool escape = (quote == '"' && text[i] == '\\') || (quote == '\'' && text[i] == '\'');
      i += escape && i + 1 < text.size();  // \" and \\, or ''
      out += text[i];
    }
    return out;
  }

  [[noreturn]] void not_understood(const std::string& key, std::string_view text) const {
    fail("{}:{}: expected a word, a list or a map of indices as '{}', found '{}'", file_.string(),
         at_ + 1, key, trimmed(text).substr(0, 60));
  }

  YamlValue read_value(const std::string& key, const std::string& rest) {
    YamlValue value;
    value.line = static_cast<int>(at_) + 1;
    std::string text(trimmed(rest));
    if (text.empty()) {
      read_block(key, value);
      return value;
    }
    if (text[0] != '[' && text[0] != '{') {
      if (text[0] == '|' || text[0] == '>' || text[0] == '&' || text[0] == '*')
        not_understood(key, text);
      value.words = {unquoted(text)};
      ++at_;
      return value;
    }
    const char close = text[0] == '[' ? ']' : '}';
    while (text.back() != close) {  // over several lines
      check(++at_ < lines_.size(), "{}:{}: '{}' does not end with '{}'", file_.string(), value.line,
            key, close);
      text += " ";
      text += trimmed(lines_[at_]);
    }
    value.is_list = true;
    for (const std::string& item : items_of(text.substr(1, text.size() - 2)))
      add(key, value, item, close == '}');
    ++at_;
    return value;
  }

  void read_block(const std::string& key, YamlValue& value) {
    value.is_list = true;
    for (++at_; at_ < lines_.size(); ++at_) {
      const std::string_view line = trimmed(lines_[at_]);
      if (line.empty()) continue;
      if (line[0] == '-')
        add(key, value, std::string(line.substr(1)), false);
      else if (lines_[at_][0] == ' ' || lines_[at_][0] == '\t')
        add(key, value, std::string(line), true);
      else
        break;
    }
  }

  void add(const std::string& key, YamlValue& value, const std::string& item, bool indexed) {
    if (!indexed) {
      value.words.push_back(unquoted(item));
      return;
    }
    const size_t colon = item.find(':');
    const auto index = parse_number(unquoted(item.substr(0, std::min(colon, item.size()))));
    if (colon == std::string::npos || !index || *index != static_cast<double>(value.words.size()))
      fail("{}:{}: expected '{}: name' in '{}' (indices from 0 without gaps), found '{}'",
           file_.string(), at_ + 1, value.words.size(), key, trimmed(item).substr(0, 60));
    value.words.push_back(unquoted(item.substr(colon + 1)));
  }

  static std::vector<std::string> items_of(const std::string& text) {
    std::vector<std::string> items;
    std::string item;
    char quote = 0;
    for (const char c : text) {
      if (quote != 0)
        quote = c == quote ? 0 : quote;
      else if ((c == '"' || c == '\'') &&
               (trimmed(item).empty() || trimmed(item).back() == ':' || item.back() == c))
        quote = c;
      if (c == ',' && quote == 0) {
        items.push_back(item);
        item.clear();
      } else {
        item += c;
      }
    }
    if (!trimmed(item).empty()) items.push_back(item);
    return items;
  }

  fs::path file_;
  std::set<std::string> wanted_;
  std::vector<std::string> lines_;
  size_t at_ = 0;
};

/// data.yaml, or the only .yaml that names classes; empty: there is none.
fs::path yaml_of(const fs::path& folder) {
  std::error_code error;
  for (const char* name : {"data.yaml", "data.yml", "dataset.yaml"})
    if (fs::is_regular_file(folder / name, error)) return folder / name;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const fs::path& path = entry.path();
    if (path.extension() != ".yaml" && path.extension() != ".yml") continue;
    const std::string text = read_text(path);
    if (text.starts_with("names:") || text.find("\nnames:") != std::string::npos)
      found.push_back(path);
  }
  return found.size() == 1 ? found.front() : fs::path();
}

fs::path names_file_of(const fs::path& folder) {
  std::error_code error;
  for (const fs::path& place : {folder, folder / "labels"}) {
    for (const char* name : {"classes.txt", "obj.names"})
      if (fs::is_regular_file(place / name, error)) return place / name;
    for (const auto& entry : fs::directory_iterator(place, error))
      if (entry.path().extension() == ".names") return entry.path();
  }
  return {};
}

std::vector<std::string> lines_of(const fs::path& file) {
  const std::string text = read_text(file);
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = trimmed(std::string_view(text).substr(at, end - at));
    if (!line.empty()) lines.emplace_back(line);
    at = end + 1;
  }
  return lines;
}

/// A folder or list named by data.yaml. Exported sets often say "../train/images" for a folder
/// beside the file.
fs::path resolved(const fs::path& base, const std::string& written, const std::string& place) {
  std::error_code error;
  const fs::path path = base / written;
  if (fs::exists(path, error)) return path.lexically_normal();
  if (written.starts_with("../") && fs::exists(base / written.substr(3), error))
    return (base / written.substr(3)).lexically_normal();
  fail("{}: {} does not exist", place, path.lexically_normal().string());
}

YoloLayout layout_of_yaml(const fs::path& file) {
  YoloLayout layout;
  layout.source = file;
  const auto values = YamlReader(file, {"path", "train", "val", "valid", "test", "names"}).run();
  const auto names = values.find("names");
  check(names != values.end() && names->second.is_list && !names->second.words.empty(),
        "{}: expected the classes as a list or map 'names', found none", file.string());
  layout.classes = names->second.words;
  const fs::path folder = file.parent_path();
  layout.root = folder;
  std::error_code error;
  if (const auto path = values.find("path"); path != values.end() && !path->second.words.empty()) {
    const fs::path given = folder / path->second.words.front();
    // Written for another machine's folders: what lies beside the file is meant.
    if (fs::is_directory(given, error)) layout.root = given.lexically_normal();
  }
  for (const char* split : {"train", "val", "valid", "test"}) {
    const auto value = values.find(split);
    if (value == values.end()) continue;
    for (const std::string& word : value->second.words)
      if (!word.empty() && word != "null" && word != "~")
        layout.splits[split].push_back(
            resolved(layout.root, word, fmt::format("{}:{}", file.string(), value->second.line)));
  }
  check(!layout.splits.empty(),
        "{}: expected folders of pictures as 'train', 'val' or 'test', found "
        "none",
        file.string());
  return layout;
}

std::vector<fs::path> folders_in(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.is_directory(error)) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

YoloLayout layout_of_folder(const fs::path& root, const fs::path& names) {
  YoloLayout layout;
  layout.root = root, layout.source = names;
  layout.classes = lines_of(names);
  check(!layout.classes.empty(), "{}: expected class names, one per line, found none",
        names.string());
  std::error_code error;
  const fs::path images = root / "images";
  for (const fs::path& folder : folders_in(images))
    layout.splits[folder.filename().string()].push_back(folder);
  for (const char* list : {"train", "val", "test"})
    if (layout.splits.empty() && fs::is_regular_file(root / (std::string(list) + ".txt"), error))
      layout.splits[list].push_back(root / (std::string(list) + ".txt"));
  if (layout.splits.empty())
    layout.splits["all"].push_back(fs::is_directory(images, error) ? images : root);
  return layout;
}

}  // namespace

bool is_yolo(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error))
    return path.extension() == ".yaml" || path.extension() == ".yml";
  if (!yaml_of(path).empty()) return true;
  return fs::is_directory(path / "labels", error) && !names_file_of(path).empty();
}

YoloLayout read_yolo_layout(const fs::path& path) {
  std::error_code error;
  check(fs::exists(path, error), "{}: does not exist", path.string());
  if (!fs::is_directory(path, error)) return layout_of_yaml(path);
  if (const fs::path yaml = yaml_of(path); !yaml.empty()) return layout_of_yaml(yaml);
  const fs::path names = names_file_of(path);
  check(!names.empty(),
        "{}: expected data.yaml, or class names in classes.txt, obj.names or *.names; found {}",
        path.string(), folder_contents(path));
  return layout_of_folder(path, names);
}

}  // namespace frcnn
