#include "apps/train_run.h"
#include "apps/program_device.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "apps/batches.h"
#include "apps/dataset_io.h"
#include "apps/evaluation_file.h"
#include "apps/evaluation_text.h"
#include "apps/examples.h"
#include "apps/nan_report.h"
#include "apps/report.h"
#include "apps/stop_signal.h"
#include "apps/terminal.h"
#include "apps/validation_loss.h"
#include "apps/version.h"
#include "engine/tuning.h"
#include "kernels/launch/check.h"
#include "model/optimizer_groups.h"

namespace frcnn::apps {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

using Results = std::vector<std::pair<std::string, double>>;

/// A validation's results with its losses, for the log.
Results with_losses(Results results, const std::optional<StepStats>& losses) {
  if (losses)
    results.insert(results.end(), {{"loss", losses->total},
                                   {"loss_rpn_class", losses->rpn_class},
                                   {"loss_rpn_box", losses->rpn_box},
                                   {"loss_roi_class", losses->roi_class},
                                   {"loss_roi_box", losses->roi_box}});
  return results;
}

std::string loss_text(const std::optional<StepStats>& losses) {
  return losses ? fmt::format(", loss {:.4f}", losses->total) : std::string();
}

}  // namespace

TrainRun::TrainRun(Config config, const Dataset& training, const Dataset* validation,
                   RunFolder folder, const std::optional<std::filesystem::path>& checkpoint)
    : config_(std::move(config)),
      training_(training),
      validation_(validation),
      folder_(std::move(folder)),
      stages_(training_stages(
          config_.train, run_length(config_.train, static_cast<int64_t>(training.images.size())))),
      stage_files_(folder_, stages_),
      metrics_(folder_.metrics()) {
  if (checkpoint)
    restore(*checkpoint);
  else
    make_trainer(0, /*import_initial=*/true);
  if (stages_[0].proposals_from)  // a file of the user's: what is wrong with it shows now
    proposals_ = stage_files_.proposals_for(0, config_, training_, program_device().device);
  const std::string& given = config_.data.val_proposals;
  if (validation && !given.empty()) validation_proposals_ = load_proposals_of(given, *validation);
  session_.emplace(folder_, program_device().device, trainer_->steps());
}

void TrainRun::make_trainer(size_t stage, bool import_initial) {
  trainer_.reset();  // its memory goes first
  trainer_ = std::make_unique<Trainer>(config_, training_.class_names, stages_, stage,
                                       program_device().device, import_initial);
}

void TrainRun::restore(const std::filesystem::path& file) {
  const Checkpoint checkpoint = load_checkpoint(file);
  check(checkpoint.training_string("data") == fingerprint(training_),
        "{}: was made with another data set: pictures or objects of {} have changed since",
        file.string(), training_.name);
  const int64_t stage = stage_of(checkpoint);
  check(stage >= 0 && stage < static_cast<int64_t>(stages_.size()),
        "{}: belongs to stage {} of a run, this one has {}", file.string(), stage + 1,
        stages_.size());
  make_trainer(static_cast<size_t>(stage), /*import_initial=*/false);
  trainer_->restore(checkpoint);
  cursor_ = {checkpoint.training_int("epoch"), checkpoint.training_int("position")};
  window_ = LogWindow::load(checkpoint);
}

bool TrainRun::prepare_stage() {
  const TrainStage& stage = trainer_->stage();
  if (trainer_->stage_number() > 0)
    proposals_ = stage_files_.proposals_for(trainer_->stage_number(), config_, training_,
                                            program_device().device);
  if (stage.proposals_from && !proposals_) return false;
  if (stages_.size() > 1)
    std::fprintf(stderr, "stage      %zu of %zu: %s, steps %ld to %ld%s\n",
                 trainer_->stage_number() + 1, stages_.size(), stage.name.c_str(),
                 static_cast<long>(stage.first_step + 1), static_cast<long>(stage.end()),
                 stage.trained.backbone ? "" : ", shared layers fixed");
  return true;
}

void TrainRun::check_shared_layers() const {
  const TrainStage& stage = trainer_->stage();
  if (stage.trained.backbone) return;
  const std::string before =
      backbone_md5(load_checkpoint(stage_files_.weights(stage.backbone_from)));
  const std::string after = backbone_md5(trainer_->checkpoint(0, 0));
  std::fprintf(stderr, "stage      %zu of %zu: shared layers MD5 %s before, %s after\n",
               trainer_->stage_number() + 1, stages_.size(), before.c_str(), after.c_str());
  check(before == after, "[train] stage {}: the shared layers changed although they are fixed",
        trainer_->stage_number() + 1);
}

bool TrainRun::next_stage() {
  const size_t done = trainer_->stage_number();
  check_shared_layers();
  stage_files_.save_weights(static_cast<int>(done), trainer_->checkpoint(0, 0));
  make_trainer(done + 1, /*import_initial=*/false);
  stage_files_.load_into(*trainer_);
  return prepare_stage();
}

double TrainRun::epoch() const {
  const auto& t = config_.train;
  return static_cast<double>(trainer_->steps()) * t.batch * t.iter_size /
         static_cast<double>(training_.images.size());
}

std::vector<std::string> TrainRun::group_names() const {
  // Those of all stages: the log has the same columns throughout.
  FasterRcnn::TrainedParts trained = {false, false, false};
  for (const TrainStage& stage : stages_) {
    trained.backbone |= stage.trained.backbone;
    trained.rpn |= stage.trained.rpn;
    trained.detector |= stage.trained.detector;
  }
  return frcnn::group_names(trainer_->model().parameters(), trained);
}

bool TrainRun::validation_due() const {
  if (measure() == Measure::nothing || trainer_->steps() == trainer_->stage().first_step)
    return false;
  if (stage_done() || trainer_->steps() == stop_after_) return true;
  const double every = config_.train.validate_every;
  if (every <= 0) return false;
  const auto& t = config_.train;
  const double before = epoch() - static_cast<double>(t.batch) * t.iter_size /
                                      static_cast<double>(training_.images.size());
  return std::floor(epoch() / every) > std::floor(before / every);
}

std::string TrainRun::progress_detail(const StepStats& stats) const {
  return fmt::format(
      "loss {:.4f} (rpn {:.3f} + {:.3f}, roi {:.3f} + {:.3f})  {:.1f} images/s  waiting for data "
      "{:.0f} %",
      stats.total, stats.rpn_class, stats.rpn_box, stats.roi_class, stats.roi_box,
      images_per_second_, 100 * data_wait_);
}

void TrainRun::one_step(Loader& loader) {
  for (int pass = 0; pass < config_.train.iter_size; ++pass) {
    const Batch batch = session_->time(RunPart::data, [&] { return loader.next(); });
    const ModelInput input = session_->time(RunPart::input, [&] {
      ModelInput made = to_model_input(batch.samples);
      if (proposals_) made.regions = to_regions(batch.samples, *proposals_);
      return made;
    });
    session_->time(RunPart::forward, [&] {
      trainer_->accumulate(input, to_ground_truth(batch.samples, config_.data.use_difficult));
    });
    session_->move(trainer_->backward_seconds(), RunPart::forward, RunPart::backward);
    cursor_ = batch.cursor;
    window_images_ += static_cast<int64_t>(batch.samples.size());
    session_->add_images(static_cast<int64_t>(batch.samples.size()));
  }
  const StepStats stats = session_->time(RunPart::update, [&] { return trainer_->update(); });
  rates_ = stats.learning_rates;
  add_to_window(stats);
  const double spent = now() - window_start_;
  images_per_second_ = static_cast<double>(window_images_) / spent;
  data_wait_ = (loader.wait_seconds() - window_wait_) / spent;
}

void TrainRun::add_to_window(const StepStats& stats) {
  if (stats.updates == 0) return;  // still on the device
  window_.add(stats);
  last_ = stats;
}

void TrainRun::write_log_row(const Loader& loader) {
  add_to_window(session_->time(RunPart::update, [&] { return trainer_->collect(); }));
  session_->time(RunPart::save, [&] {
    log_->write({trainer_->steps(), epoch(), window_.mean(), rates_, images_per_second_, data_wait_,
                 trainer_->stage_number() + 1});
  });
  window_ = LogWindow();
  window_images_ = 0;
  window_start_ = now();
  window_wait_ = loader.wait_seconds();
}

void TrainRun::save() {
  add_to_window(session_->time(RunPart::update, [&] { return trainer_->collect(); }));
  session_->end_peak(/*validation=*/false);
  session_->time(RunPart::save, [&] { save_checkpoint(); });
  session_->write(trainer_->steps());
}

void TrainRun::save_checkpoint() {
  Checkpoint checkpoint = trainer_->checkpoint(cursor_.epoch, cursor_.position);
  trainer_->check_finite(checkpoint);
  checkpoint.program_version = program_version();
  checkpoint.training["data"] = fingerprint(training_);
  window_.store(checkpoint);
  folder_.save(checkpoint, trainer_->steps(), config_.train.keep_checkpoints);
}

TrainRun::Measure TrainRun::measure() const {
  const TrainStage& stage = trainer_->stage();
  if (!validation_) return Measure::nothing;
  if (!stage.parts.detector) return Measure::recall;
  // In the middle of alternating training the detector's backbone is not the RPN's.
  const bool whole = trainer_->stage_number() + 1 == stages_.size();
  const bool given = stage.proposals_from == TrainStage::kInitial;
  return whole && (!given || validation_proposals_) ? Measure::average_precision : Measure::nothing;
}

void TrainRun::validate_proposals() {
  const auto proposals =
      propose_all(trainer_->model(), *validation_, config_, /*training=*/false, "validation");
  if (!proposals) return;
  recall_ = recall_of(*validation_, *proposals);
  const std::optional<StepStats> losses = losses_of_validation();
  if (stop_requested()) return;
  metrics_.add_recall(trainer_->steps(), epoch(), config_.data.val_split,
                      static_cast<int64_t>(validation_->images.size()), trainer_->stage().name,
                      *recall_, losses);
  const RecallAt& most = recall_->at.back();
  log_->validated(
      trainer_->steps(), epoch(),
      with_losses({{"recall_50", most.recall50}, {"recall_70", most.recall70}}, losses));
  std::fprintf(stderr,
               "step %ld, epoch %.2f: recall %.4f (IoU >= 0.5), %.4f (IoU >= 0.7) of %.0f "
               "proposals per picture%s on %s\n",
               static_cast<long>(trainer_->steps()), epoch(), most.recall50, most.recall70,
               recall_->boxes_per_picture, loss_text(losses).c_str(), validation_->name.c_str());
}

std::optional<StepStats> TrainRun::losses_of_validation() const {
  if (!config_.train.validation_loss) return std::nullopt;
  return validation_losses(trainer_->model(), *validation_, config_, trainer_->stage().parts,
                           validation_proposals_ ? &*validation_proposals_ : nullptr);
}

void TrainRun::validate() {
  session_->end_peak(/*validation=*/false);
  session_->time(RunPart::validation, [&] { measure_validation(); });
  session_->end_peak(/*validation=*/true);
  session_->write(trainer_->steps());
}

void TrainRun::measure_validation() {
  const Trainer::Averaged averaged(*trainer_);
  if (measure() == Measure::recall) return validate_proposals();
  const auto detections =
      detect_all(trainer_->model(), *validation_, config_.model.preprocess, config_.data,
                 validation_proposals_ ? &*validation_proposals_ : nullptr);
  const std::optional<StepStats> losses = losses_of_validation();
  if (stop_requested()) return;  // not all pictures were seen
  result_ = evaluate_voc(*validation_, detections);
  if (remaining() == 0) {
    write_examples(folder_.examples(), *validation_, detections);
    write_run_evaluation(folder_, trainer_->steps(), config_.data.val_split, *validation_,
                         detections, *result_);
  }
  metrics_.add(trainer_->steps(), epoch(), config_.data.val_split,
               static_cast<int64_t>(validation_->images.size()), *result_, losses);
  log_->validated(
      trainer_->steps(), epoch(),
      with_losses({{"map_area", result_->map_area}, {"map_voc07_11point", result_->map_11point}},
                  losses));
  std::fprintf(stderr, "step %ld, epoch %.2f: mAP@0.5 %.4f (area), %.4f (VOC07 11-point)%s on %s\n",
               static_cast<long>(trainer_->steps()), epoch(), result_->map_area,
               result_->map_11point, loss_text(losses).c_str(), validation_->name.c_str());
}

void TrainRun::train() {
  Loader loader(training_, training_settings(config_), cursor_);
  window_start_ = now();
  window_wait_ = loader.wait_seconds();
  window_images_ = 0;
  Progress progress("train", trainer_->total_steps(), trainer_->steps());
  while (!stage_done() && !at_stop() && !stop_requested()) {
    one_step(loader);
    const int64_t step = trainer_->steps();
    progress.update(step, progress_detail(last_));
    const bool last = stage_done() || at_stop();
    if (step % config_.train.log_every == 0 || last) write_log_row(loader);
    const bool validating = validation_due();
    if (step % config_.train.checkpoint_every == 0 || last || validating || stop_requested())
      save();
    if (validating && !stage_done()) {
      progress.finish();
      return;
    }
  }
}

bool TrainRun::run() {
  catch_stop_signals();
  // A new run has no such file yet.
  keep_run_tuning(program_device().device, folder_.tuning(), /*resume=*/true);
  metrics_.cut_after(trainer_->steps());
  if (remaining() > 0) remove_run_evaluation(folder_);
  log_.emplace(folder_, trainer_->steps(), group_names());
  if (stages_.size() > 1 && trainer_->steps() == 0)
    stage_files_.save_weights(TrainStage::kInitial, trainer_->checkpoint(0, 0));
  session_->write(trainer_->steps());
  bool prepared = session_->time(RunPart::stage, [&] { return prepare_stage(); });
  while (prepared) {
    // Also right after a resume: the run may have been killed between checkpoint and validation.
    if (validation_due() && !metrics_.has(trainer_->steps())) validate();
    if (stop_requested() || at_stop()) break;
    if (!stage_done()) {
      try {
        train();
      } catch (const NonFiniteError& error) {
        stop_with_capsule(*trainer_, training_, folder_, error.what());
      }
    } else if (remaining() > 0) {
      prepared = session_->time(RunPart::stage, [&] { return next_stage(); });
    } else {
      check_shared_layers();
      break;
    }
  }
  session_->end_peak(/*validation=*/false);
  session_->write(trainer_->steps());
  if (stop_requested()) return false;
  write_report(folder_);
  return true;
}

}  // namespace frcnn::apps
