#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "apps/sweep_values.h"
#include "model/config.h"

namespace frcnn::apps {

/// What judges a run; accuracies are those of the validation split.
enum class SweepMetric : uint8_t {
  map_area,     ///< mAP, area under the curve; more is better
  map_11point,  ///< mAP of VOC2007, 11 points; more is better
  loss,         ///< mean training loss over the last tenth of the steps; less is better
};
/// "map_area", "map_11point", "loss".
const char* name_of(SweepMetric metric);
/// UsageError for other words.
SweepMetric metric_by_name(const std::string& name);
/// True where `a` is the better value; a value is better than none (NaN).
bool is_better(SweepMetric metric, double a, double b);

/// The words of `frcnn sweep`.
struct SweepRequest {
  std::string config, preset;      ///< one of the two, or a file on top of a preset
  std::vector<std::string> fixed;  ///< --set: settings of all runs
  std::vector<std::string> grid;
  std::string list;
  int random = 0;
  uint64_t random_seed = 1;
  std::vector<uint64_t> seeds;  ///< of each combination's runs; empty: one with the config's seed
  std::vector<std::string> data;
  std::string metric = "map_area";
  double halving = 0;  ///< after each rung the best 1 / halving go on; 0: all to the end
  int rungs = 0;       ///< with halving: how often runs are dropped; 0: until one would be left
};

/// One training run of a sweep.
struct SweepRun {
  int number = 0;    ///< from 1
  std::string name;  ///< of its folder: "003-lr-0.02-epochs-5"
  size_t combination = 0;
  uint64_t seed = 0;
  int64_t steps = 0;  ///< to its end
};

/// All that a sweep is going to do; a function of the request and the data set.
struct SweepPlan {
  std::string base;               ///< TOML of the settings without those that vary
  std::string command;            ///< how the request began: "configs/quickstart.toml --set a=b"
  std::vector<std::string> data;  ///< absolute
  SweepMetric metric = SweepMetric::map_area;
  double halving = 0;
  int rungs = 0;        ///< 0 without halving
  bool seeded = false;  ///< --seeds was given
  std::vector<Combination> combinations;
  std::vector<SweepRun> runs;

  /// Rungs where runs are dropped, and the end.
  int stages() const { return rungs + 1; }
  /// Step at which a run's stage ends: steps / halving^(rungs - stage), at least 1.
  int64_t stage_steps(const SweepRun& run, int stage) const;
  /// Combinations that go on after a stage: combinations / halving^(stage + 1), rounded up.
  size_t survivors(int stage) const;
  /// The keys that combinations name, in the order of their first use.
  std::vector<std::string> keys() const;
  /// The --set arguments that make a run of the base.
  std::vector<std::string> settings(const SweepRun& run) const;
};

/// Resolves and checks every run of the request. Throws UsageError that names key and value, or
/// the combination, and Error for an unusable data set.
SweepPlan make_plan(const SweepRequest& request);

/// The last part of a key where only one of `keys` ends with it, else the whole key.
std::string short_name(const std::string& key, const std::vector<std::string>& keys);

/// The words that name a plan's data: "--data", "/a", "--data", "/b".
std::vector<std::string> data_words(const SweepPlan& plan);

/// Words as a line for a POSIX shell, quoted where they must be.
std::string shell_text(const std::vector<std::string>& words);

/// Throws UsageError that names the first thing in which `now` differs from `before`, a plan whose
/// runs have begun in `folder`.
void require_same_plan(const SweepPlan& before, const SweepPlan& now,
                       const std::filesystem::path& folder);

}  // namespace frcnn::apps
