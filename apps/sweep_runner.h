#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "apps/child_process.h"
#include "apps/sweep_folder.h"
#include "apps/terminal.h"

namespace frcnn::apps {

/// Carries a sweep out: runs as processes of their own, several at a time; keeps sweep.json and the
/// results up to date, so that it may be killed at any moment.
class SweepRunner {
 public:
  /// `devices`: --device of the runs, dealt to the slots in turn. Both must outlive the runner.
  SweepRunner(const SweepFolder& folder, Sweep& sweep, int slots, std::vector<std::string> devices);
  /// False when a stop signal ended it: the runs have saved their state then.
  bool run();

 private:
  /// A place where one run at a time is trained.
  struct Slot {
    std::string device;
    size_t run = 0;
    std::unique_ptr<ChildProcess> process;
    std::chrono::steady_clock::time_point start;
  };

  bool run_stage(int stage);
  void start(Slot& slot, size_t run, int stage);
  void finish(Slot& slot, const ProcessEnd& end, int stage);
  void drop_runs(int stage);
  void stop_all();
  void save() const;
  void show(Progress& progress, int stage) const;
  std::vector<std::string> arguments(const Slot& slot, const SweepRun& run, int stage) const;

  const SweepFolder& folder_;
  Sweep& sweep_;
  std::vector<Slot> slots_;
  Progress* progress_ = nullptr;
};

/// Last "frcnn: error: ..." line of a run's output without its beginning, or how it ended.
std::string failure_text(const std::filesystem::path& output, const ProcessEnd& end);

}  // namespace frcnn::apps
