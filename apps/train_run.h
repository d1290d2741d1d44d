#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/metrics_file.h"
#include "apps/run_folder.h"
#include "apps/run_session.h"
#include "apps/train_stages.h"
#include "apps/training_log.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "model/config.h"
#include "model/trainer.h"

namespace frcnn::apps {

/// One training run from its start or from a checkpoint to its end, through all stages of its
/// scheme: updates, log, checkpoints, validations, report.
class TrainRun {
 public:
  /// `validation` is nullptr when there is none. Both sets must outlive the run. With `checkpoint`
  /// the run goes on from that file; Error when it belongs to another data set or model.
  TrainRun(Config config, const Dataset& training, const Dataset* validation, RunFolder folder,
           const std::optional<std::filesystem::path>& checkpoint = std::nullopt);

  /// Lets run() end in good order after this many steps of the run, with a row of the log, a
  /// checkpoint and a validation there; 0: at the end.
  void set_stop_after(int64_t steps) { stop_after_ = steps; }
  /// Trains to the end or to set_stop_after()'s step and writes the report, or until a stop signal;
  /// the state is on the disk then. Returns false when a signal ended it.
  bool run();

  Trainer& trainer() { return *trainer_; }
  /// Where times and memory of this process are kept.
  RunSession& session() { return *session_; }
  const std::vector<TrainStage>& stages() const { return stages_; }
  /// Updates that the run still has to do.
  int64_t remaining() const { return trainer_->total_steps() - trainer_->steps(); }
  /// The last validation's result; nullopt when there was none in this process.
  const std::optional<EvaluationResult>& result() const { return result_; }
  /// The same of the recall of proposals, where the RPN is trained alone.
  const std::optional<ProposalRecall>& recall() const { return recall_; }

 private:
  void train();
  void one_step(Loader& loader);
  void add_to_window(const StepStats& stats);
  void write_log_row(const Loader& loader);
  void save();
  void save_checkpoint();
  bool at_stop() const { return stop_after_ > 0 && trainer_->steps() >= stop_after_; }
  bool stage_done() const { return trainer_->steps() >= trainer_->stage().end(); }
  void restore(const std::filesystem::path& file);
  void make_trainer(size_t stage, bool import_initial);
  /// Proposals for the stage; false when a stop signal came.
  bool prepare_stage();
  bool next_stage();
  void check_shared_layers() const;
  bool validation_due() const;
  /// What a validation measures: nothing where the networks don't fit each other, as in the middle
  /// of alternating training.
  enum class Measure { nothing, recall, average_precision };
  Measure measure() const;
  void validate();
  void measure_validation();
  void validate_proposals();
  /// Losses of the validation pictures; nullopt without train.validation_loss or after Ctrl-C.
  std::optional<StepStats> losses_of_validation() const;
  double epoch() const;
  std::vector<std::string> group_names() const;
  std::string progress_detail(const StepStats& stats) const;

  Config config_;
  const Dataset& training_;
  const Dataset* validation_;
  RunFolder folder_;
  std::vector<TrainStage> stages_;
  StageFiles stage_files_;
  std::unique_ptr<Trainer> trainer_;
  std::optional<ProposalSet> proposals_, validation_proposals_;  // given ones
  MetricsFile metrics_;
  int64_t stop_after_ = 0;
  LoaderCursor cursor_;
  LogWindow window_;
  std::optional<TrainingLog> log_;
  std::optional<RunSession> session_;
  std::optional<EvaluationResult> result_;
  std::optional<ProposalRecall> recall_;
  StepStats last_;  // the last losses that were seen
  std::vector<std::pair<std::string, double>> rates_;
  // Of the current log window: time, pictures, time that was spent waiting for data.
  double window_start_ = 0, window_wait_ = 0;
  int64_t window_images_ = 0;
  double images_per_second_ = 0, data_wait_ = 0;
};

}  // namespace frcnn::apps
