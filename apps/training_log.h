#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "model/trainer.h"

namespace frcnn::apps {

/// Means over the updates since the last row, and how they are carried through a checkpoint.
struct LogWindow {
  int64_t updates = 0;
  double total = 0, rpn_class = 0, rpn_box = 0, roi_class = 0, roi_box = 0;
  void add(const StepStats& stats);
  /// The means; 0 without updates.
  StepStats mean() const;
  void store(Checkpoint& checkpoint) const;
  static LogWindow load(const Checkpoint& checkpoint);
};

/// log.csv: one row per train.log_every updates.
class TrainingLog {
 public:
  /// Opens the log. Rows after `step` (written by a run that was killed later than its last
  /// checkpoint) and a last row cut short are removed. `groups` names the parameter groups whose
  /// learning rates have columns.
  TrainingLog(const std::filesystem::path& file, int64_t step,
              const std::vector<std::string>& groups);
  /// `learning_rates` by group; 0 is written for a group that is not among them. `stage` counts
  /// from 1.
  void write(int64_t step, double epoch, const LogWindow& window,
             const std::vector<std::pair<std::string, double>>& learning_rates,
             double images_per_second, double data_wait, size_t stage);

 private:
  std::filesystem::path path_;
  std::vector<std::string> groups_;
  std::ofstream stream_;
};

/// Columns of a log by name, for the report; every column has as many values as there are rows.
struct LogTable {
  std::vector<std::string> names;
  std::vector<std::vector<double>> columns;
  const std::vector<double>* find(const std::string& name) const;
};
/// A last row that was cut short is left out.
LogTable read_log(const std::filesystem::path& file);

}  // namespace frcnn::apps
