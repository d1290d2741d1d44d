#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "weights/checkpoint.h"

namespace frcnn::apps {

/// The folder of one training run:
///
///   config.toml      resolved settings
///   run.json         data set folder, program version
///   dataset.json     numbers about the data sets (apps/data_card.h)
///   sessions.json    each time that the program worked on the run: time, memory, environment
///   checkpoints/     step-00002000.h5, the newest few
///   model.h5         the newest checkpoint (another name of the same file)
///   stages/          a run of several stages: weights before the first and after each, proposals
///   tuning.json      kernels chosen by measuring, on a GPU: a resumed run goes on with them
///   log.csv          losses, learning rates, speed
///   log.jsonl        the same, a JSON object per line
///   tensorboard/     the same and the validations as event files
///   metrics.json     validations
///   validation.csv   the same as a table, with the losses
///   evaluation.json  every metric of the last validation, its best and worst pictures
///   pictures/        those pictures
///   examples/        validation pictures with boxes
///   nan-step-12.capsule.h5   where training met a number that is not finite (docs/exactness.md)
///   report.html
///   output.log       of a run of a sweep: what it printed
class RunFolder {
 public:
  /// The one file that whoever starts a run may put here first.
  static constexpr const char* kOutput = "output.log";

  explicit RunFolder(std::filesystem::path root) : root_(std::move(root)) {}

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path config() const { return root_ / "config.toml"; }
  std::filesystem::path info() const { return root_ / "run.json"; }
  std::filesystem::path dataset() const { return root_ / "dataset.json"; }
  std::filesystem::path sessions() const { return root_ / "sessions.json"; }
  std::filesystem::path tuning() const { return root_ / "tuning.json"; }
  std::filesystem::path log() const { return root_ / "log.csv"; }
  std::filesystem::path json_lines() const { return root_ / "log.jsonl"; }
  std::filesystem::path events() const { return root_ / "tensorboard"; }
  std::filesystem::path metrics() const { return root_ / "metrics.json"; }
  std::filesystem::path validations() const { return root_ / "validation.csv"; }
  std::filesystem::path evaluation() const { return root_ / "evaluation.json"; }
  std::filesystem::path pictures() const { return root_ / "pictures"; }
  std::filesystem::path report() const { return root_ / "report.html"; }
  std::filesystem::path examples() const { return root_ / "examples"; }
  std::filesystem::path model() const { return root_ / "model.h5"; }
  std::filesystem::path stages() const { return root_ / "stages"; }
  std::filesystem::path checkpoints() const { return root_ / "checkpoints"; }

  /// Throws Error when a file could not be made in the folder, or the folder itself could not.
  /// Leaves nothing behind.
  void check_writable() const;
  /// True where a new run can begin: there is no folder, or nothing but kOutput in it.
  bool empty() const;
  /// True when a run was started here.
  bool started() const { return std::filesystem::exists(config()); }
  void create() const;

  /// Writes a checkpoint, lets model.h5 name it, removes all but the newest `keep`.
  void save(const Checkpoint& checkpoint, int64_t step, int keep) const;
  /// The newest checkpoint file; nullopt when there is none yet.
  std::optional<std::filesystem::path> newest() const;

 private:
  /// Checkpoint files, oldest first.
  std::vector<std::filesystem::path> list() const;
  std::filesystem::path root_;
};

}  // namespace frcnn::apps
