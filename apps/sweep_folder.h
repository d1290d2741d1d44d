#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/run_folder.h"
#include "apps/sweep_plan.h"

namespace frcnn::apps {

/// How far a run of a sweep is.
struct RunState {
  enum class Kind : uint8_t {
    waiting,  ///< has something to do: new, in the middle, or between two stages
    done,     ///< trained to its end
    stopped,  ///< dropped at a rung; its folder can be resumed by hand
    failed,   ///< the program ended with an error
  };
  Kind kind = Kind::waiting;
  int stages = 0;      ///< stages that are finished
  double seconds = 0;  ///< spent by processes that ended
  int exit_code = 0;   ///< of the last process; 128 + number where a signal ended it
  std::string error;   ///< its last line, where it failed
};
/// "waiting", "done", "stopped", "failed".
const char* name_of(RunState::Kind kind);

/// A plan and how far it was carried out: all that has to be kept.
struct Sweep {
  SweepPlan plan;
  int threads = 1;  ///< of each run; another number would change the last bits of its result
  int decided = 0;  ///< stages after which runs were dropped already
  std::vector<RunState> states;  ///< one for each run of the plan

  explicit Sweep(SweepPlan new_plan = {}) : plan(std::move(new_plan)), states(plan.runs.size()) {}
};

/// The folder of a sweep:
///
///   sweep.json       the plan, and the state of every run; written anew at each change
///   base.toml        settings without those that vary
///   runs/001-.../    an ordinary run, and what it printed: output.log
///   results.csv, results.json, results.html
class SweepFolder {
 public:
  explicit SweepFolder(std::filesystem::path root) : root_(std::move(root)) {}

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path plan() const { return root_ / "sweep.json"; }
  std::filesystem::path base() const { return root_ / "base.toml"; }
  std::filesystem::path runs() const { return root_ / "runs"; }
  RunFolder run(const SweepRun& run) const { return RunFolder(runs() / run.name); }
  std::filesystem::path output(const SweepRun& run) const {
    return runs() / run.name / RunFolder::kOutput;
  }
  std::filesystem::path csv() const { return root_ / "results.csv"; }
  std::filesystem::path json() const { return root_ / "results.json"; }
  std::filesystem::path html() const { return root_ / "results.html"; }

  bool started() const { return std::filesystem::exists(plan()); }
  /// Throws Error naming the file and what is wrong with it.
  Sweep load() const;
  void save(const Sweep& sweep) const;
  void make_folders() const;
  /// base.toml, then sweep.json.
  void save_all(const Sweep& sweep) const;

 private:
  std::filesystem::path root_;
};

}  // namespace frcnn::apps
