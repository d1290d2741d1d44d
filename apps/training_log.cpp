#include "apps/training_log.h"

#include <algorithm>
#include <cerrno>
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

std::string header(const std::vector<std::string>& groups) {
  std::string line = "step,epoch,loss,loss_rpn_class,loss_rpn_box,loss_roi_class,loss_roi_box";
  for (std::string group : groups) {
    std::replace(group.begin(), group.end(), ' ', '_');
    line += ",lr_" + group;
  }
  return line + ",images_per_second,data_wait,stage\n";
}

/// The rows up to `step`, whole ones only.
std::string rows_until(const std::string& text, int64_t step) {
  std::string kept;
  size_t begin = text.find('\n');
  if (begin == std::string::npos) return kept;
  for (++begin; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos || std::atoll(text.c_str() + begin) > step) break;
    kept += text.substr(begin, end + 1 - begin);
    begin = end + 1;
  }
  return kept;
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

TrainingLog::TrainingLog(const std::filesystem::path& file, int64_t step,
                         const std::vector<std::string>& groups)
    : path_(file), groups_(groups) {
  const std::string old = std::filesystem::exists(file) ? read_text(file) : "";
  write_file(file, std::string_view(header(groups) + rows_until(old, step)));
  stream_.open(file, std::ios::app);
  check(stream_.is_open(), "{}: cannot be written: {}", file.string(), std::strerror(errno));
}

void TrainingLog::write(int64_t step, double epoch, const LogWindow& window,
                        const std::vector<std::pair<std::string, double>>& learning_rates,
                        double images_per_second, double data_wait, size_t stage) {
  const StepStats mean = window.mean();
  std::string line =
      fmt::format("{},{:.4f},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g}", step, epoch, mean.total,
                  mean.rpn_class, mean.rpn_box, mean.roi_class, mean.roi_box);
  for (const std::string& group : groups_) {
    const auto found = std::find_if(learning_rates.begin(), learning_rates.end(),
                                    [&](const auto& entry) { return entry.first == group; });
    line += fmt::format(",{:.6g}", found == learning_rates.end() ? 0.0 : found->second);
  }
  line += fmt::format(",{:.3f},{:.4f},{}\n", images_per_second, data_wait, stage);
  errno = 0;
  stream_ << line << std::flush;
  check(stream_.good(), "{}: cannot be written: {}", path_.string(), std::strerror(errno));
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
