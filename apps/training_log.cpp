#include "apps/training_log.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "data/files.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t end = text.find(separator); end != std::string::npos;
       end = text.find(separator, begin)) {
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  parts.push_back(text.substr(begin));
  return parts;
}

/// Name of a column and its value as text.
using Cells = std::vector<std::pair<std::string, std::string>>;

Cells cells_of(const LogRow& row, const std::vector<std::string>& groups) {
  const auto real = [](double value) { return fmt::format("{:.6g}", value); };
  Cells cells = {
      {"step", std::to_string(row.step)},         {"epoch", fmt::format("{:.4f}", row.epoch)},
      {"loss", real(row.losses.total)},           {"loss_rpn_class", real(row.losses.rpn_class)},
      {"loss_rpn_box", real(row.losses.rpn_box)}, {"loss_roi_class", real(row.losses.roi_class)},
      {"loss_roi_box", real(row.losses.roi_box)}};
  for (std::string group : groups) {
    const auto found = std::find_if(row.learning_rates.begin(), row.learning_rates.end(),
                                    [&](const auto& entry) { return entry.first == group; });
    std::replace(group.begin(), group.end(), ' ', '_');
    cells.emplace_back("lr_" + group,
                       real(found == row.learning_rates.end() ? 0.0 : found->second));
  }
  cells.emplace_back("images_per_second", fmt::format("{:.3f}", row.images_per_second));
  cells.emplace_back("data_wait", fmt::format("{:.4f}", row.data_wait));
  cells.emplace_back("stage", std::to_string(row.stage));
  return cells;
}

template <typename Part>
std::string csv_line(const Cells& cells, Part part) {
  std::string line;
  for (const auto& cell : cells) line += (line.empty() ? "" : ",") + cell.*part;
  return line + "\n";
}

std::string json_line(const Cells& cells) {
  std::string line;
  for (const auto& [name, value] : cells) {
    const bool finite = std::isfinite(std::strtod(value.c_str(), nullptr));
    line += fmt::format("{}\"{}\": {}", line.empty() ? "{" : ", ", name, finite ? value : "null");
  }
  return line + "}\n";
}

/// The whole lines of `text` from `begin` on whose number, at `offset` of each, is at most `step`.
std::string rows_until(const std::string& text, size_t begin, size_t offset, int64_t step) {
  std::string kept;
  while (begin < text.size()) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos || end - begin <= offset ||
        std::atoll(text.c_str() + begin + offset) > step)
      break;
    kept += text.substr(begin, end + 1 - begin);
    begin = end + 1;
  }
  return kept;
}

std::string text_of(const std::filesystem::path& file) {
  return std::filesystem::exists(file) ? read_text(file) : "";
}

}  // namespace

void LogWindow::add(const StepStats& stats) {
  const auto weight = static_cast<double>(stats.updates);
  updates += stats.updates;
  total += stats.total * weight;
  rpn_class += stats.rpn_class * weight;
  rpn_box += stats.rpn_box * weight;
  roi_class += stats.roi_class * weight;
  roi_box += stats.roi_box * weight;
}

StepStats LogWindow::mean() const {
  const auto n = static_cast<double>(std::max<int64_t>(updates, 1));
  StepStats stats;
  stats.updates = updates;
  stats.total = total / n;
  stats.rpn_class = rpn_class / n;
  stats.rpn_box = rpn_box / n;
  stats.roi_class = roi_class / n;
  stats.roi_box = roi_box / n;
  return stats;
}

void LogWindow::store(Checkpoint& checkpoint) const {
  checkpoint.training["log.updates"] = updates;
  checkpoint.training["log.total"] = total;
  checkpoint.training["log.rpn_class"] = rpn_class;
  checkpoint.training["log.rpn_box"] = rpn_box;
  checkpoint.training["log.roi_class"] = roi_class;
  checkpoint.training["log.roi_box"] = roi_box;
}

LogWindow LogWindow::load(const Checkpoint& checkpoint) {
  LogWindow window;
  if (!checkpoint.training.contains("log.updates")) return window;
  window.updates = checkpoint.training_int("log.updates");
  window.total = checkpoint.training_double("log.total");
  window.rpn_class = checkpoint.training_double("log.rpn_class");
  window.rpn_box = checkpoint.training_double("log.rpn_box");
  window.roi_class = checkpoint.training_double("log.roi_class");
  window.roi_box = checkpoint.training_double("log.roi_box");
  return window;
}

void TrainingLog::File::open(const std::string& content) {
  write_file(path, std::string_view(content));
  stream.open(path, std::ios::app);
  check(stream.is_open(), "{}: cannot be written: {}", path.string(), std::strerror(errno));
}

void TrainingLog::File::append(const std::string& line) {
  errno = 0;
  stream << line << std::flush;
  check(stream.good(), "{}: cannot be written: {}", path.string(), std::strerror(errno));
}

TrainingLog::TrainingLog(const RunFolder& folder, int64_t step,
                         const std::vector<std::string>& groups)
    : groups_(groups),
      csv_{folder.log(), {}},
      json_lines_{folder.json_lines(), {}},
      events_(folder.events(), step) {
  const std::string csv = text_of(csv_.path), lines = text_of(json_lines_.path);
  const size_t header = csv.find('\n');
  csv_.open(csv_line(cells_of({}, groups), &Cells::value_type::first) +
            rows_until(csv, header == std::string::npos ? csv.size() : header + 1, 0, step));
  json_lines_.open(rows_until(lines, 0, std::strlen("{\"step\": "), step));
}

void TrainingLog::write(const LogRow& row) {
  const Cells cells = cells_of(row, groups_);
  csv_.append(csv_line(cells, &Cells::value_type::second));
  json_lines_.append(json_line(cells));
  std::vector<std::pair<std::string, double>> scalars;
  for (const auto& [name, text] : cells) {
    if (name == "step") continue;
    const size_t cut = name.starts_with("loss_") || name.starts_with("lr_") ? name.find('_') : 0;
    const std::string tag = cut > 0          ? name.substr(0, cut) + "/" + name.substr(cut + 1)
                            : name == "loss" ? "loss/total"
                                             : "run/" + name;
    scalars.emplace_back(tag, std::strtod(text.c_str(), nullptr));
  }
  events_.scalars(row.step, scalars);
}

void TrainingLog::validated(int64_t step, double epoch,
                            const std::vector<std::pair<std::string, double>>& results) {
  std::vector<std::pair<std::string, double>> scalars;
  Cells cells = {{"step", std::to_string(step)}, {"epoch", fmt::format("{:.4f}", epoch)}};
  for (const auto& [name, value] : results) {
    scalars.emplace_back("validation/" + name, value);
    cells.emplace_back("validation_" + name, fmt::format("{:.6g}", value));
  }
  json_lines_.append(json_line(cells));
  events_.scalars(step, scalars);
}

const std::vector<double>* LogTable::find(const std::string& name) const {
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return &columns[i];
  return nullptr;
}

LogTable read_log(const std::filesystem::path& file) {
  LogTable table;
  int line = 0;
  // A row without its end is being written, or was when the run was killed.
  const std::string text = read_text(file);
  for (const std::string& row : split(text.substr(0, text.rfind('\n') + 1), '\n')) {
    ++line;
    if (row.empty()) continue;
    const auto cells = split(row, ',');
    if (line == 1) {
      table.names = cells;
      table.columns.resize(cells.size());
      continue;
    }
    check(cells.size() == table.names.size(), "{}:{}: expected {} values, found {}", file.string(),
          line, table.names.size(), cells.size());
    for (size_t i = 0; i < cells.size(); ++i)
      table.columns[i].push_back(std::strtod(cells[i].c_str(), nullptr));
  }
  return table;
}

}  // namespace frcnn::apps
