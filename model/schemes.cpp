#include "model/schemes.h"

#include <array>
#include <cmath>
#include <numeric>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

std::vector<TrainStage> alternating(const TrainConfig& config, int64_t total_steps) {
  std::array<int64_t, 4> steps;
  if (config.stage_steps.empty()) {
    steps[0] = steps[2] = total_steps / 3;
    steps[1] = (total_steps - steps[0] - steps[2]) / 2;
    steps[3] = total_steps - steps[0] - steps[1] - steps[2];
  } else {
    std::copy_n(config.stage_steps.begin(), 4, steps.begin());
  }
  std::vector<TrainStage> stages(4);
  int64_t first = 0;
  for (size_t i = 0; i < 4; ++i) {
    TrainStage& stage = stages[i];
    if (steps[i] < 1)
      throw UsageError(fmt::format(
          "train.scheme = \"alternating\": {} steps leave none for its step {}; give train.steps "
          "of at least 6, or train.stage_steps",
          total_steps, i + 1));
    const bool rpn = i % 2 == 0;
    stage.name = rpn ? "rpn" : "detector";
    stage.parts = {.rpn = rpn, .detector = !rpn};
    stage.trained = {.backbone = i < 2, .rpn = rpn, .detector = !rpn};
    stage.first_step = first;
    stage.steps = steps[i];
    first = stage.end();
    if (!rpn) stage.proposals_from = static_cast<int>(i) - 1;
    if (i < config.stage_backbone_lr.size()) stage.backbone_lr = config.stage_backbone_lr[i];
  }
  // Both parts end on the backbone of step 2.
  stages[2].backbone_from = stages[2].detector_from = 1;
  stages[3].backbone_from = stages[3].rpn_from = stages[3].detector_from = 2;
  return stages;
}

}  // namespace

std::vector<TrainStage> training_stages(const TrainConfig& config, int64_t total_steps) {
  if (config.scheme == "alternating") return alternating(config, total_steps);
  TrainStage stage;
  stage.steps = total_steps;
  if (config.scheme == "rpn_only") {
    stage.name = "rpn";
    stage.parts = {.rpn = true, .detector = false};
    stage.trained = {.backbone = true, .rpn = true, .detector = false};
  } else if (config.scheme == "detector_only") {
    stage.name = "detector";
    stage.parts = {.rpn = false, .detector = true};
    stage.trained = {.backbone = true, .rpn = false, .detector = true};
    stage.proposals_from = TrainStage::kInitial;
  } else if (config.scheme == "non_approximate_joint") {
    stage.parts.proposal_gradients = true;
    stage.parts.proposal_factor = config.proposal_gradient;
  } else if (config.scheme != "approximate_joint") {
    throw UsageError(fmt::format("train.scheme: there is no scheme \"{}\"", config.scheme));
  }
  return {stage};
}

int64_t run_length(const TrainConfig& config, int64_t images) {
  if (config.scheme == "alternating" && !config.stage_steps.empty())
    return std::accumulate(config.stage_steps.begin(), config.stage_steps.end(), int64_t{0});
  if (config.epochs <= 0) return config.steps;
  const double per_step = static_cast<double>(config.batch) * config.iter_size;
  return std::max<int64_t>(1, std::llround(config.epochs * static_cast<double>(images) / per_step));
}

}  // namespace frcnn
