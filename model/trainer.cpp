#include "model/trainer.h"

#include <chrono>
#include <cmath>

#include "engine/tape.h"
#include "kernels/elementwise/reductions.h"
#include "model/optimizer_groups.h"
#include "model/options.h"
#include "model/quantize.h"
#include "model/weight_import.h"
#include "weights/weight_file.h"

namespace frcnn {
namespace {

void copy_checked(const std::string& name, Tensor target, const Tensor& source,
                  const std::string& file) {
  check(source.shape() == target.shape(), "{}: {} has shape {}, the model needs {}", file, name,
        source.shape().string(), target.shape().string());
  target.copy_from(source.to(target.dtype()));
  target.bump_version();
}

/// Fills the optimiser's arrays from a part of a checkpoint that must have exactly these.
void restore_arrays(const char* what, const std::vector<std::pair<std::string, Tensor>>& arrays,
                    const TensorMap& stored) {
  check(arrays.size() == stored.size(),
        "[resume] the checkpoint has {} {} arrays, these settings need {}", stored.size(), what,
        arrays.size());
  for (const auto& [name, tensor] : arrays) {
    const auto found = stored.find(name);
    check(found != stored.end(), "[resume] the checkpoint lacks {}", name);
    copy_checked(name, tensor, found->second, "[resume] checkpoint");
  }
}

const TensorMap& part_of(const Checkpoint& checkpoint, const Parameter& p,
                         CheckpointWeights which) {
  if (p.kind == ParameterKind::buffer) return checkpoint.buffers;
  const bool averaged =
      which == CheckpointWeights::averaged && checkpoint.averages.contains(p.name);
  return averaged ? checkpoint.averages : checkpoint.parameters;
}

/// copied(name) is called behind each array.
template <typename Copied>
void load_all(FasterRcnn& model, const Checkpoint& checkpoint, const std::string& file,
              CheckpointWeights which, const Copied& copied) {
  const auto& reduced = model.parameters().reduced_layers();
  for (const Parameter& p : model.parameters().all()) {
    // Layers that compute with integers have no use for others.
    if (const auto layer = reduced.find(p.name); layer != reduced.end() && layer->second->int8())
      continue;
    const TensorMap& part = part_of(checkpoint, p, which);
    const auto found = part.find(p.name);
    check(found != part.end(), "{}: {} is missing; was it saved by a model with other settings?",
          file, p.name);
    if (found->second.dtype() == DType::i8) require_float(checkpoint, file, "be trained");
    copy_checked(p.name, p.tensor, found->second, file);
    copied(p.name);
  }
  for (const TensorMap* part : {&checkpoint.parameters, &checkpoint.buffers})
    for (const auto& [name, tensor] : *part)
      if (!model.parameters().find(name))
        fail("{}: {} {} has no place in the model; was it saved by a model with other settings?",
             file, name, tensor.shape().string());
}

}  // namespace

void load_parameters(FasterRcnn& model, const Checkpoint& checkpoint, const std::string& file,
                     CheckpointWeights which) {
  load_all(model, checkpoint, file, which, [](const std::string&) {});
}

void load_parameters(FasterRcnn& model, Checkpoint&& checkpoint, const std::string& file,
                     CheckpointWeights which) {
  Checkpoint own = std::move(checkpoint);
  load_all(model, own, file, which, [&](const std::string& name) {
    // The names stay, for what the model has no place for.
    for (TensorMap* part : {&own.parameters, &own.buffers, &own.averages})
      if (const auto found = part->find(name); found != part->end()) found->second = Tensor();
  });
}

void take_network(ModelConfig& config, const Checkpoint& checkpoint, const std::string& file) {
  if (config.backbone.name != "onnx") return;
  check(!checkpoint.network.empty(), "{}: lacks the definition of its imported backbone", file);
  config.backbone.network =
      std::make_shared<const Network>(network_from_json(checkpoint.network, file));
}

Trainer::Trainer(const Config& config, const std::vector<std::string>& classes, int64_t total_steps,
                 Device device)
    : Trainer(config, classes, training_stages(config.train, total_steps), 0, device) {}

Trainer::Trainer(const Config& config, const std::vector<std::string>& classes,
                 const std::vector<TrainStage>& stages, size_t stage, Device device,
                 bool import_initial)
    : config_(config),
      classes_(classes),
      stage_number_(stage),
      stage_(stages.at(stage)),
      total_steps_(stages.back().end()),
      model_(std::make_unique<FasterRcnn>(config.model, static_cast<int64_t>(classes.size()),
                                          config.train.seed, DType::f32, /*fill=*/true, device)),
      precision_(gpu_math_by_name(config.train.precision, "train.precision")) {
  const std::string& weights = config.model.backbone.weights;
  if (import_initial && !weights.empty()) {
    ImportOptions options;
    options.any_preprocess = config.model.backbone.weights_preprocess == "any";
    import_log_ = import_weights(*WeightFile::open(weights), import_target(*model_), options);
  }
  model_->train_only(stage_.trained);
  OptimizerConfig rates = config.optimizer;
  if (stage_.backbone_lr) rates.backbone.lr = stage_.backbone_lr;
  add_parameter_groups(optimizer_, model_->parameters(), rates, stage_.steps);
  if (config.train.ema > 0) optimizer_.keep_averages(config.train.ema);
  optimizer_.zero_grad();
  if (device.is_gpu()) gpu_ = make_gpu_state(device);
}

void Trainer::accumulate(const ModelInput& input, const std::vector<GroundTruth>& truth,
                         std::optional<Samples>* samples) {
  const PrecisionScope precision(precision_);
  keep(input, truth);
  if (gpu_ && !(samples && samples->has_value())) return gpu_accumulate(input, truth);
  const PassKey key{config_.train.seed, static_cast<uint64_t>(pass_number())};
  Tape tape;
  if (watch_) watch_(tape);
  Losses losses;
  {
    Tape::Scope recording(tape);
    losses = model_->losses(input, truth, key, samples, stage_.parts);
  }
  const std::tuple<const char*, const Tensor*, double*> terms[] = {
      {"rpn_class", &losses.rpn_class, &sums_.rpn_class},
      {"rpn_box", &losses.rpn_box, &sums_.rpn_box},
      {"roi_class", &losses.roi_class, &sums_.roi_class},
      {"roi_box", &losses.roi_box, &sums_.roi_box},
      {"total", &losses.total, &sums_.total}};
  for (const auto& [name, loss, sum] : terms) {
    const double value = loss->item();
    if (!std::isfinite(value))
      throw NonFiniteError(fmt::format(
          "[train] step {}: the loss {} is {}; lower optimizer.lr or look at the data of this step",
          steps() + 1, name, value));
    *sum += value;
  }
  const auto start = std::chrono::steady_clock::now();
  tape.backward(losses.total);
  backward_seconds_ =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  ++passes_;
}

void Trainer::keep(const ModelInput& input, const std::vector<GroundTruth>& truth) {
  if (!gpu_ && passes_ == 0) kept_.clear();
  kept_.push_back({steps() + 1, input, truth});
  if (!gpu_) return;
  size_t bytes = 0;
  for (const KeptPass& pass : kept_) bytes += pass.input.images.stored_bytes();
  for (; bytes > kKeptBytes && kept_.size() > 1; kept_.pop_front())
    bytes -= kept_.front().input.images.stored_bytes();
}

void Trainer::check_finite(const Checkpoint& checkpoint) const {
  for (const TensorMap* part : {&checkpoint.parameters, &checkpoint.buffers, &checkpoint.optimizer})
    for (const auto& [name, tensor] : *part) {
      const Tensor values = tensor.to(Device{});
      if (values.dtype() != DType::f32) continue;
      const int64_t at =
          kernels::cpu::first_non_finite(values.stored_elements(), values.data<float>());
      if (at >= 0)
        throw NonFiniteError(fmt::format(
            "[train] the update of step {} made {} non-finite (element {}); lower optimizer.lr",
            steps(), name, at));
    }
}

StepStats Trainer::update() {
  check(passes_ > 0, "[train] update() needs at least one pass");
  StepStats stats = sums_;
  for (double* value :
       {&stats.total, &stats.rpn_class, &stats.rpn_box, &stats.roi_class, &stats.roi_box})
    *value /= passes_;
  stats.learning_rates = optimizer_.learning_rates();
  try {
    optimizer_.step(1.0 / passes_, config_.optimizer.clip_norm);
  } catch (const Error& error) {  // a gradient; nothing was changed
    throw NonFiniteError(error.what());
  }
  optimizer_.zero_grad();
  if (gpu_)
    stats.updates = 0;
  else
    stats.grad_norm = optimizer_.last_grad_norm();
  stats.step = steps();
  sums_ = StepStats();
  passes_ = 0;
  return stats;
}

int64_t stage_of(const Checkpoint& checkpoint) {
  return checkpoint.training.contains("stage") ? checkpoint.training_int("stage") : 0;
}

void Trainer::begin_from(const std::vector<std::pair<std::string, const Checkpoint*>>& sources) {
  for (const auto& [prefix, checkpoint] : sources) {
    require_float(*checkpoint, "[train] the weights of an earlier stage", "be trained");
    for (const Parameter& p : model_->parameters().all()) {
      if (!p.name.starts_with(prefix)) continue;
      const TensorMap& part = part_of(*checkpoint, p, CheckpointWeights::trained);
      const auto found = part.find(p.name);
      check(found != part.end(), "[train] the weights of an earlier stage lack {}", p.name);
      copy_checked(p.name, p.tensor, found->second, "[train] weights of an earlier stage");
    }
  }
}

Checkpoint Trainer::checkpoint(int64_t cursor_epoch, int64_t cursor_position) const {
  Checkpoint c;
  c.config = to_toml(config_);
  c.classes = classes_;
  if (const auto& imported = model_->backbone_spec().imported)
    c.network = to_json(imported->network);
  for (const Parameter& p : model_->parameters().all())
    (p.kind == ParameterKind::buffer ? c.buffers : c.parameters).emplace(p.name, p.tensor);
  for (const auto& [name, tensor] : optimizer_.state()) c.optimizer.emplace(name, tensor);
  for (const auto& [name, tensor] : optimizer_.averages()) c.averages.emplace(name, tensor);
  c.training["step"] = steps();
  c.training["stage"] = static_cast<int64_t>(stage_number_);
  c.training["total_steps"] = total_steps_;
  c.training["epoch"] = cursor_epoch;
  c.training["position"] = cursor_position;
  // The whole random state: every number is a function of the seed and the counters above.
  c.training["seed"] = static_cast<int64_t>(config_.train.seed);
  return c;
}

void Trainer::restore(const Checkpoint& checkpoint) {
  check(checkpoint.classes == classes_,
        "[resume] the checkpoint was trained on other classes than this data set has");
  load_parameters(*model_, checkpoint, "[resume] checkpoint");
  restore_arrays("optimiser", optimizer_.state(), checkpoint.optimizer);
  restore_arrays("averaged", optimizer_.averages(), checkpoint.averages);
  check(checkpoint.training_int("total_steps") == total_steps_,
        "[resume] the checkpoint belongs to a run of {} steps, this one has {}",
        checkpoint.training_int("total_steps"), total_steps_);
  check(stage_of(checkpoint) == static_cast<int64_t>(stage_number_),
        "[resume] the checkpoint belongs to stage {} of the run, not to {}",
        stage_of(checkpoint) + 1, stage_number_ + 1);
  optimizer_.set_steps(checkpoint.training_int("step") - stage_.first_step);
}

}  // namespace frcnn
