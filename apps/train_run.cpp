#include "apps/train_run.h"
#include "apps/program_device.h"

#include <chrono>
#include <cmath>
#include <cstdio>

#include "apps/batches.h"
#include "apps/dataset_io.h"
#include "apps/evaluation_text.h"
#include "apps/examples.h"
#include "apps/report.h"
#include "apps/stop_signal.h"
#include "apps/terminal.h"
#include "apps/version.h"
#include "engine/tuning.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

LoaderSettings loader_settings(const Config& config) {
  LoaderSettings settings;
  settings.input = input_settings(config.model.preprocess);
  settings.batch = config.train.batch;
  settings.seed = config.train.seed;
  settings.flip = config.data.flip;
  settings.workers = config.data.workers;
  settings.prefetch = config.data.prefetch;
  return settings;
}

}  // namespace

TrainRun::TrainRun(Config config, const Dataset& training, const Dataset* validation,
                   RunFolder folder)
    : config_(std::move(config)),
      training_(training),
      validation_(validation),
      folder_(std::move(folder)),
      trainer_(config_, training.class_names,
               run_length(config_.train, static_cast<int64_t>(training.images.size())),
               program_device().device),
      metrics_(folder_.metrics()) {}

void TrainRun::restore(const std::filesystem::path& file) {
  const Checkpoint checkpoint = load_checkpoint(file);
  check(checkpoint.training_string("data") == fingerprint(training_),
        "{}: was made with another data set: pictures or objects of {} have changed since",
        file.string(), training_.name);
  trainer_.restore(checkpoint);
  cursor_ = {checkpoint.training_int("epoch"), checkpoint.training_int("position")};
  window_ = LogWindow::load(checkpoint);
}

double TrainRun::epoch() const {
  const auto& t = config_.train;
  return static_cast<double>(trainer_.steps()) * t.batch * t.iter_size /
         static_cast<double>(training_.images.size());
}

std::vector<std::string> TrainRun::group_names() const {
  std::vector<std::string> names;
  for (const auto& [name, rate] : trainer_.learning_rates()) {
    names.push_back(name);
    for (char& c : names.back())
      if (c == ' ' || c == ',') c = '_';
  }
  return names;
}

bool TrainRun::validation_due() const {
  if (!validation_ || trainer_.steps() == 0) return false;
  if (remaining() == 0 || trainer_.steps() == stop_after_) return true;
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
    const Batch batch = loader.next();
    trainer_.accumulate(to_model_input(batch.samples),
                        to_ground_truth(batch.samples, config_.data.use_difficult));
    cursor_ = batch.cursor;
    window_images_ += static_cast<int64_t>(batch.samples.size());
  }
  const StepStats stats = trainer_.update();
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
  add_to_window(trainer_.collect());
  log_->write(trainer_.steps(), epoch(), window_, rates_, images_per_second_, data_wait_);
  window_ = LogWindow();
  window_images_ = 0;
  window_start_ = now();
  window_wait_ = loader.wait_seconds();
}

void TrainRun::save() {
  add_to_window(trainer_.collect());
  Checkpoint checkpoint = trainer_.checkpoint(cursor_.epoch, cursor_.position);
  checkpoint.program_version = program_version();
  checkpoint.training["data"] = fingerprint(training_);
  window_.store(checkpoint);
  folder_.save(checkpoint, trainer_.steps(), config_.train.keep_checkpoints);
}

void TrainRun::validate() {
  const Trainer::Averaged averaged(trainer_);
  const auto detections =
      detect_all(trainer_.model(), *validation_, config_.model.preprocess, config_.data);
  if (stop_requested()) return;  // not all pictures were seen
  result_ = evaluate_voc(*validation_, detections);
  metrics_.add(trainer_.steps(), epoch(), config_.data.val_split,
               static_cast<int64_t>(validation_->images.size()), *result_);
  std::fprintf(stderr, "step %ld, epoch %.2f: mAP@0.5 %.4f (area), %.4f (VOC07 11-point) on %s\n",
               static_cast<long>(trainer_.steps()), epoch(), result_->map_area,
               result_->map_11point, validation_->name.c_str());
  if (remaining() == 0) write_examples(folder_.examples(), *validation_, detections);
}

void TrainRun::train() {
  Loader loader(training_, loader_settings(config_), cursor_);
  window_start_ = now();
  window_wait_ = loader.wait_seconds();
  window_images_ = 0;
  Progress progress("train", trainer_.total_steps(), trainer_.steps());
  while (remaining() > 0 && !at_stop() && !stop_requested()) {
    one_step(loader);
    const int64_t step = trainer_.steps();
    progress.update(step, progress_detail(last_));
    const bool last = remaining() == 0 || at_stop();
    if (step % config_.train.log_every == 0 || last) write_log_row(loader);
    const bool validating = validation_due();
    if (step % config_.train.checkpoint_every == 0 || last || validating || stop_requested())
      save();
    if (validating && remaining() > 0) {
      progress.finish();
      return;
    }
  }
}

bool TrainRun::run() {
  catch_stop_signals();
  // A new run has no such file yet.
  keep_run_tuning(program_device().device, folder_.tuning(), /*resume=*/true);
  metrics_.cut_after(trainer_.steps());
  log_.emplace(folder_.log(), trainer_.steps(), group_names());
  for (;;) {
    // Also right after a resume: the run may have been killed between checkpoint and validation.
    if (validation_due() && !metrics_.has(trainer_.steps())) validate();
    if (remaining() == 0 || at_stop() || stop_requested()) break;
    train();
  }
  if (stop_requested()) return false;
  write_report(folder_);
  return true;
}

}  // namespace frcnn::apps
