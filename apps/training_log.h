#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "apps/event_file.h"
#include "apps/run_folder.h"
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

/// What one row of the log says.
struct LogRow {
  int64_t step = 0;
  double epoch = 0;
  StepStats losses;  ///< means since the last row
  /// By group; a group of the log that is not among them gets 0.
  std::vector<std::pair<std::string, double>> learning_rates;
  double images_per_second = 0;
  double data_wait = 0;  ///< share of the time
  size_t stage = 1;
};

/// log.csv, log.jsonl and tensorboard/ of a run: one row per train.log_every updates; the latter
/// two tell the validations, too.
class TrainingLog {
 public:
  /// Opens the log. Rows after `step` (written by a run that was killed later than its last
  /// checkpoint) and a last row cut short are removed. `groups` names the parameter groups whose
  /// learning rates have columns.
  TrainingLog(const RunFolder& folder, int64_t step, const std::vector<std::string>& groups);
  void write(const LogRow& row);
  /// Results of a validation ("map_area", "loss"): a line of log.jsonl that names them
  /// "validation_map_area", and TensorBoard's "validation/map_area". metrics.json and
  /// validation.csv are MetricsFile's.
  void validated(int64_t step, double epoch,
                 const std::vector<std::pair<std::string, double>>& results);

 private:
  struct File {
    std::filesystem::path path;
    std::ofstream stream;
    void open(const std::string& content);
    void append(const std::string& line);
  };
  std::vector<std::string> groups_;
  File csv_, json_lines_;
  EventFile events_;
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
