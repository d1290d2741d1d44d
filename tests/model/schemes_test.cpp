// The schemes of the paper's section 3.2: which stages they have, what each trains and keeps.
#include "model/schemes.h"

#include <cstring>
#include <map>

#include "kernels/launch/check.h"
#include "model/options.h"
#include "model/trainer.h"
#include "tests/model/small_detector.h"
#include "tests/support/devices.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

/// kSmallToml with the lowest scores among the detections.
Config config_with(std::vector<std::string> settings) {
  settings.insert(settings.begin(), {"test.score=0.0", "optimizer.lr_steps=[0.75]"});
  return parse_config(kSmallToml, "test", settings);
}

ModelInput picture(uint64_t seed) {
  ModelInput input;
  input.images = Tensor::from({1, 3, 64, 72}, random_vector<float>(3 * 64 * 72, -1, 1, seed));
  input.sizes = {{64, 72, 1, 1}};
  return input;
}
std::vector<GroundTruth> objects() {
  return {{{{4, 6, 30, 28}, {20, 20, 60, 58}}, {0, 1}}};
}

/// Bits of all parameters and buffers whose name starts with `prefix`.
std::map<std::string, std::vector<float>> part(const FasterRcnn& model, const std::string& prefix) {
  std::map<std::string, std::vector<float>> values;
  for (const Parameter& p : model.parameters().all())
    if (p.name.starts_with(prefix)) values[p.name] = p.tensor.to_vector<float>();
  return values;
}

void steps(Trainer& trainer, int count, bool given) {
  for (int i = 0; i < count; ++i) {
    ModelInput input = picture(static_cast<uint64_t>(40 + i));
    if (given)
      input.regions = {{{2, 2, 31, 30}, {18, 22, 61, 60}, {40, 2, 70, 30}, {0, 40, 20, 60}}};
    trainer.accumulate(input, objects());
    trainer.update();
  }
}

}  // namespace

TEST_CASE("A15 B7: alternating training has four stages of the paper's kinds and lengths") {
  TrainConfig config;
  config.scheme = "alternating";
  const auto stages = training_stages(config, 240);
  REQUIRE(stages.size() == 4);
  const int64_t lengths[] = {80, 40, 80, 40};
  int64_t first = 0;
  for (size_t i = 0; i < 4; ++i) {
    CHECK(stages[i].steps == lengths[i]);
    CHECK(stages[i].first_step == first);
    first += lengths[i];
    CHECK(stages[i].parts.rpn == (i % 2 == 0));
    CHECK(stages[i].parts.detector == (i % 2 == 1));
    CHECK(stages[i].trained.backbone == (i < 2));
    CHECK(stages[i].proposals_from.has_value() == (i % 2 == 1));
  }
  CHECK(stages[1].proposals_from == 0);
  CHECK(stages[3].proposals_from == 2);
  // 1 and 2 begin from the initial weights; 3 and 4 keep the shared layers of 2.
  for (const int from : {stages[0].backbone_from, stages[1].backbone_from, stages[2].rpn_from})
    CHECK(from == TrainStage::kInitial);
  CHECK(stages[2].backbone_from == 1);
  CHECK(stages[2].detector_from == 1);
  CHECK(stages[3].backbone_from == 2);

  config.stage_steps = {5, 1, 4, 2};
  CHECK(run_length(config, 1000) == 12);
  CHECK(training_stages(config, 12)[3].end() == 12);
  config.stage_steps.clear();
  for (int64_t total = 6; total < 60; ++total)
    CHECK(training_stages(config, total).back().end() == total);
  CHECK_THROWS_AS(training_stages(config, 3), UsageError);
}

TEST_CASE("A15: stages 3 and 4 leave the bits of the shared layers and of the other head alone") {
  for (const Device device : cpu_and_gpus()) {
    INFO(device.name());
    const Config config =
        config_with({"train.scheme=\"alternating\"", "train.stage_steps=[3, 3, 3, 3]"});
    const auto stages = training_stages(config.train, 12);
    for (const size_t number : {size_t{2}, size_t{3}}) {
      Trainer trainer(config, {"a", "b"}, stages, number, device);
      const auto shared = part(trainer.model(), "backbone.");
      REQUIRE(shared.contains("backbone.conv1.norm.running_mean"));
      const auto rpn = part(trainer.model(), "rpn."), head = part(trainer.model(), "head.");
      steps(trainer, 3, /*given=*/number == 3);
      CHECK(trainer.steps() == stages[number].end());
      CHECK(part(trainer.model(), "backbone.") == shared);
      CHECK((part(trainer.model(), "rpn.") == rpn) == (number == 3));
      CHECK((part(trainer.model(), "head.") == head) == (number == 2));
    }
    // Stage 2 trains the shared layers, but not the RPN.
    Trainer trainer(config, {"a", "b"}, stages, 1, device);
    const auto shared = part(trainer.model(), "backbone."), rpn = part(trainer.model(), "rpn.");
    steps(trainer, 2, true);
    CHECK(part(trainer.model(), "backbone.") != shared);
    CHECK(part(trainer.model(), "rpn.") == rpn);
  }
}

TEST_CASE("schemes: the learning rate follows the stage's own length and rate of the backbone") {
  const Config config = config_with(
      {"train.scheme=\"alternating\"", "train.stage_steps=[4, 4, 4, 4]", "optimizer.lr=0.1",
       "optimizer.lr_steps=[0.5]", "train.stage_backbone_lr=[0.5, 0.02]"});
  const auto stages = training_stages(config.train, 16);
  Trainer first(config, {"a", "b"}, stages, 0), second(config, {"a", "b"}, stages, 1);
  const auto rate = [](const Trainer& trainer, const std::string& group) {
    for (const auto& [name, value] : trainer.learning_rates())
      if (name == group) return value;
    return -1.0;
  };
  CHECK(rate(first, "backbone") == Approx(0.5));
  CHECK(rate(first, "rpn") == Approx(0.1));
  CHECK(rate(first, "detector") == -1);
  CHECK(rate(second, "backbone") == Approx(0.02));
  CHECK(rate(second, "detector") == Approx(0.1));
  steps(second, 3, true);  // steps 5, 6, 7 of the run: past half of the stage
  CHECK(second.steps() == 7);
  CHECK(rate(second, "backbone") == Approx(0.002));
}

TEST_CASE("schemes: given regions that equal the RPN's give the same detections and losses") {
  // Without batch norm: its statistics differ between training and proposing.
  const Config config = config_with({"backbone.batch_norm=false"});
  for (const Device device : cpu_and_gpus()) {
    INFO(device.name());
    const FasterRcnn model(config.model, 2, 5, DType::f32, true, device);
    ModelInput input = picture(3);
    const auto own = model.detect(input);
    REQUIRE(!own[0].empty());
    for (const auto& boxes : model.regions(input, /*training=*/false)) {
      std::vector<Box>& list = input.regions.emplace_back();
      for (const ScoredBox& region : boxes) list.push_back(region.box);
    }
    const auto given = model.detect(input);
    REQUIRE(given[0].size() == own[0].size());
    for (size_t i = 0; i < own[0].size(); ++i) {
      CHECK(given[0][i].box == own[0][i].box);
      CHECK(given[0][i].score == own[0][i].score);
    }
    ModelInput training = picture(3);
    const LossParts detector = {.rpn = false, .detector = true};
    const double expected =
        model.losses(training, objects(), {7, 1}, nullptr, detector).total.to(Device{}).item();
    for (const auto& boxes : model.regions(training, /*training=*/true)) {
      std::vector<Box>& list = training.regions.emplace_back();
      for (const ScoredBox& region : boxes) list.push_back(region.box);
    }
    const double actual =
        model.losses(training, objects(), {7, 1}, nullptr, detector).total.to(Device{}).item();
    CHECK(actual == Approx(expected).epsilon(1e-6));
  }
}

TEST_CASE("schemes: settings that don't belong together are refused in one line") {
  const auto refused = [](const std::vector<std::string>& settings, const std::string& message) {
    CHECK_THROWS_WITH(config_with(settings), Catch::Matchers::Contains(message));
  };
  refused({"train.scheme=\"both\""}, "train.scheme");
  refused({"train.stage_steps=[1, 2, 3, 4]"}, "train.stage_steps has 4 values");
  refused({"train.scheme=\"alternating\"", "train.stage_steps=[1, 2]"},
          "train.stage_steps has 2 values, expected 4");
  refused({"train.scheme=\"non_approximate_joint\"", "roi.layer=\"roi_pool\""},
          "needs roi.layer \"precise_roi\"");
  refused({"train.scheme=\"detector_only\""}, "needs data.proposals");
  refused({"data.proposals=\"p.h5\""}, "data.proposals is for train.scheme");
}
