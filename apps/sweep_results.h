#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "apps/sweep_folder.h"

namespace frcnn::apps {

/// What a run has reached, from its log and its validations; NaN where there is nothing yet.
struct RunResult {
  int64_t step = 0;
  double epoch = 0;
  double loss =
      std::numeric_limits<double>::quiet_NaN();  ///< mean over the last tenth of the steps
  double map_area = std::numeric_limits<double>::quiet_NaN();
  double map_11point = std::numeric_limits<double>::quiet_NaN();
  double value(SweepMetric metric) const;
};
/// Of the steps up to `until`; 0: all. A run that has not begun has an empty result. Throws Error
/// for broken files.
RunResult read_run_result(const RunFolder& folder, int64_t until = 0);

/// The runs of one combination together. Where several seeds were used, the spread tells how much
/// of a difference between combinations is chance.
struct CombinationResult {
  size_t combination = 0;
  std::vector<size_t> runs;  ///< indices in plan.runs
  RunState::Kind kind = RunState::Kind::waiting;
  int stages = 0;                      ///< finished by all of its runs
  double mean = 0, low = 0, high = 0;  ///< of the metric; NaN where a run has none
  double loss = 0, seconds = 0;        ///< means
  int64_t step = 0;                    ///< the least of its runs
};

struct SweepResults {
  std::vector<RunResult> runs;             ///< as plan.runs
  std::vector<CombinationResult> ranking;  ///< finished ones, the best first; then the others
  /// nullptr as long as no combination is finished.
  const CombinationResult* best() const;
};
SweepResults collect_results(const SweepFolder& folder, const Sweep& sweep);

/// One line for each combination, the best first; below it, the best one's settings and the command
/// that trains it again.
std::string results_table(const Sweep& sweep, const SweepResults& results);
/// One line for each run, in the order of the plan; the settings' columns have their whole keys.
std::string results_csv(const Sweep& sweep, const SweepResults& results);
std::string results_json(const SweepFolder& folder, const Sweep& sweep,
                         const SweepResults& results);
/// One page without other files: table, curves, the best run's command. apps/sweep_page.cpp
std::string results_html(const SweepFolder& folder, const Sweep& sweep,
                         const SweepResults& results);
/// results.csv, results.json and results.html.
void write_results(const SweepFolder& folder, const Sweep& sweep);

/// "mAP@0.5 (area)", "mAP@0.5 (VOC07 11-point)" or "loss".
const char* title_of(SweepMetric metric);
/// "0.4123", "-" for NaN.
std::string value_text(double value);
/// "frcnn train CONFIG --set ... --data DIR --out NEW".
std::string train_command(const SweepPlan& plan, const SweepRun& run);
/// A combination's value of a key as a table shows it; "" where it does not name the key.
std::string setting_text(const Combination& combination, const std::string& key);

}  // namespace frcnn::apps
