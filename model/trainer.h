#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/gpu_math.h"
#include "engine/optimizer.h"
#include "engine/tape.h"
#include "model/config.h"
#include "model/faster_rcnn.h"
#include "model/schemes.h"
#include "weights/checkpoint.h"

namespace frcnn {

/// Values of the losses, averaged over the passes of `updates` updates.
struct StepStats {
  int64_t step = 0;     ///< number of the last of them, from 1
  int64_t updates = 1;  ///< 0: the losses are still on the device, see Trainer::collect()
  double total = 0, rpn_class = 0, rpn_box = 0, roi_class = 0, roi_box = 0;
  double grad_norm = 0;  ///< 0 unless optimizer.clip_norm is set
  std::vector<std::pair<std::string, double>> learning_rates;  ///< by parameter group
};

/// A loss, gradient or weight was NaN or infinite. The trainer is in the state before the step then
/// (on a GPU: as the device was found), and keeps the step's passes.
class NonFiniteError : public Error {
 public:
  using Error::Error;
};

/// What accumulate() was given.
struct KeptPass {
  int64_t step = 0;  ///< number of the update that it belongs to, from 1
  ModelInput input;
  std::vector<GroundTruth> truth;
};

/// Trains a Faster R-CNN through one stage of a run (model/schemes.h): per update, train.iter_size
/// passes whose gradients are averaged, then one optimiser step. Passes run in a PrecisionScope of
/// train.precision. The state between updates is complete in a checkpoint: a restored run goes on
/// with the same bits.
class Trainer {
 public:
  /// The first stage of train.scheme; `total_steps` is the length of the run in updates.
  Trainer(const Config& config, const std::vector<std::string>& classes, int64_t total_steps,
          Device device = {});
  /// Number `stage` of `stages`; the schedule's fractions refer to its own length. The weights
  /// are the initial ones, with `import_initial` those of backbone.weights.
  Trainer(const Config& config, const std::vector<std::string>& classes,
          const std::vector<TrainStage>& stages, size_t stage, Device device = {},
          bool import_initial = true);

  /// Takes the weights and buffers whose names begin with the given prefixes from checkpoints.
  void begin_from(const std::vector<std::pair<std::string, const Checkpoint*>>& sources);

  /// One forward and backward pass; adds to the gradients. Throws Error naming loss and step when a
  /// loss is not finite. With `samples`, see FasterRcnn::losses().
  void accumulate(const ModelInput& input, const std::vector<GroundTruth>& truth,
                  std::optional<Samples>* samples = nullptr);
  /// Ends the update after train.iter_size passes (or fewer): averages, steps the optimiser. On a
  /// GPU it does not wait: `updates` is 0.
  StepStats update();
  /// Losses of all updates since the last call, for a line of the log. On a GPU it waits for the
  /// device, and throws Error where a loss or gradient was not finite; on the CPU, where update()
  /// tells them, `updates` is 0.
  StepStats collect();
  /// Time that the last accumulate() spent in its backward pass. 0 on a GPU, which works while the
  /// host goes on.
  double backward_seconds() const { return backward_seconds_; }

  /// While it lives the model's weights are their moving averages, where train.ema keeps them: for
  /// validation. Nothing may be trained or saved meanwhile.
  class Averaged {
   public:
    explicit Averaged(Trainer& trainer) : trainer_(trainer) { trainer_.optimizer_.swap_averages(); }
    ~Averaged() { trainer_.optimizer_.swap_averages(); }
    Averaged(const Averaged&) = delete;
    Averaged& operator=(const Averaged&) = delete;

   private:
    Trainer& trainer_;
  };

  /// Everything that a restored run needs. `cursor_epoch` and `cursor_position` tell where the
  /// loader stands (data/loader.h).
  Checkpoint checkpoint(int64_t cursor_epoch, int64_t cursor_position) const;
  /// Takes the state of a checkpoint made by the same config and classes. Throws Error naming the
  /// first parameter that is missing, left over or of another shape.
  void restore(const Checkpoint& checkpoint);

  /// The passes of the update in progress, or of the last one before the next begins. On a GPU
  /// those since collect(), as far as they fit kKeptBytes. They share the memory of what was given.
  const std::deque<KeptPass>& kept_passes() const { return kept_; }
  static constexpr size_t kKeptBytes = size_t{256} << 20;
  /// Called with the tape of each coming pass on the CPU before it runs (model/non_finite.h).
  void watch_tapes(std::function<void(Tape&)> watch) { watch_ = std::move(watch); }
  /// Throws NonFiniteError naming the first parameter of a checkpoint of this trainer that is not
  /// finite: that no state is saved with which nothing can be begun.
  void check_finite(const Checkpoint& checkpoint) const;

  FasterRcnn& model() { return *model_; }
  const TrainStage& stage() const { return stage_; }
  size_t stage_number() const { return stage_number_; }  ///< from 0
  /// Updates of the run so far, earlier stages included, and in all.
  int64_t steps() const { return stage_.first_step + optimizer_.steps(); }
  int64_t total_steps() const { return total_steps_; }
  /// What backbone.weights gave, and warnings about its numbers; one line each, for a log.
  const std::vector<std::string>& import_log() const { return import_log_; }
  /// Effective rates of the coming step by group.
  std::vector<std::pair<std::string, double>> learning_rates() const {
    return optimizer_.learning_rates();
  }
  /// Rules of the parameter groups by name (model/optimizer_groups.h).
  std::vector<std::pair<std::string, GroupSettings>> optimizer_settings() const {
    return optimizer_.settings();
  }

 private:
  Config config_;
  std::vector<std::string> classes_;
  size_t stage_number_;
  TrainStage stage_;
  int64_t total_steps_;
  std::unique_ptr<FasterRcnn> model_;
  std::vector<std::string> import_log_;
  GpuMath precision_;
  Optimizer optimizer_;
  struct GpuState;
  static std::shared_ptr<GpuState> make_gpu_state(Device device);
  /// Counts the passes of the run: names the random numbers of the coming one.
  int64_t pass_number() const { return steps() * config_.train.iter_size + passes_; }
  void gpu_accumulate(const ModelInput& input, const std::vector<GroundTruth>& truth);
  void gpu_part(const ModelInput& input, const std::vector<GroundTruth>& truth, uint64_t number,
                double share_of_batch, bool first);
  void keep(const ModelInput& input, const std::vector<GroundTruth>& truth);
  std::deque<KeptPass> kept_;
  std::function<void(Tape&)> watch_;
  int passes_ = 0;
  double backward_seconds_ = 0;
  StepStats sums_;
  std::shared_ptr<GpuState> gpu_;
};

/// Which weights of a checkpoint: those that training goes on with, or their moving averages, where
/// the checkpoint has them (train.ema), for everything else.
enum class CheckpointWeights : uint8_t { trained, averaged };
/// Copies parameters and buffers of a checkpoint into a model; names and shapes must agree exactly.
void load_parameters(FasterRcnn& model, const Checkpoint& checkpoint, const std::string& file,
                     CheckpointWeights which = CheckpointWeights::trained);
/// The same from a checkpoint that nobody else needs: the memory of each array goes back to the
/// system when it has been copied, so that the weights are not held twice.
void load_parameters(FasterRcnn& model, Checkpoint&& checkpoint, const std::string& file,
                     CheckpointWeights which = CheckpointWeights::trained);
/// Sets config.backbone.network from a checkpoint whose backbone was imported, so that a model can
/// be made without the file it came from.
void take_network(ModelConfig& config, const Checkpoint& checkpoint, const std::string& file);
/// Number of the stage that a checkpoint was written in, from 0.
int64_t stage_of(const Checkpoint& checkpoint);

}  // namespace frcnn
