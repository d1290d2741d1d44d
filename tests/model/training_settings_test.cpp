// What [optimizer] and [train] say about the update of the weights, on every device: methods and
// schedules per branch, and runs that stop and go on.
#include <algorithm>
#include <map>

#include "engine/gpu_math.h"
#include "model/options.h"
#include "model/trainer.h"
#include "tests/support/devices.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

constexpr const char* kConfig = R"(
[backbone]
name = "tiny"
frozen_until = ""
tiny_channels = [4, 6]
tiny_strides = [2, 2]
batch_norm = true
[anchors]
sizes = [8.0, 16.0]
rounding = "none"
[rpn]
channels = 5
batch = 32
only_inside = false
init = { method = "gauss", scale = 0.1 }
train = { pre_nms = 200, post_nms = 30, nms_iou = 0.7, min_size = 2.0 }
test = { pre_nms = 100, post_nms = 20, nms_iou = 0.7, min_size = 2.0 }
[roi]
pooled_height = 2
pooled_width = 2
hidden = [7]
dropout = 0.3
batch = 16
init = { method = "gauss", scale = 0.2 }
[train]
iter_size = 1
)";

const std::vector<std::string> kClasses = {"a", "b", "c"};
constexpr int64_t kSteps = 10;

std::vector<Device> all_devices() {
  std::vector<Device> devices = gpus();
  devices.insert(devices.begin(), Device{});
  return devices;
}

/// Does updates until `last`; the picture of a step depends on its number alone.
void train_until(Trainer& trainer, int64_t last) {
  while (trainer.steps() < last) {
    ModelInput input;
    input.images = Tensor::from(
        {1, 3, 32, 36},
        random_vector<float>(3 * 32 * 36, -1, 1, static_cast<uint64_t>(trainer.steps() + 40)));
    input.sizes = {{32, 36, 1, 1}};
    trainer.accumulate(input, {{{{4, 4, 18, 20}, {14, 10, 30, 26}}, {0, 2}}});
    trainer.update();
  }
  trainer.collect();
}

/// The trainer's checkpoint as a file has it; Trainer::checkpoint() itself gives views.
Checkpoint stored(const Trainer& trainer) {
  const TempDir folder;
  save_checkpoint(folder.path() / "a.h5", trainer.checkpoint(0, 0));
  return load_checkpoint(folder.path() / "a.h5");
}

std::vector<std::vector<float>> weights(Trainer& trainer) {
  std::vector<std::vector<float>> all;
  for (const Parameter& p : trainer.model().parameters().all())
    all.push_back(p.tensor.to_vector<float>());
  return all;
}

}  // namespace

TEST_CASE("A8 B1 each branch has its own method, rate, decay and schedule") {
  const Config config =
      parse_config(kConfig, "test",
                   {"optimizer.lr=0.01", "optimizer.rpn.method=adamw", "optimizer.rpn.lr=0.002",
                    "optimizer.rpn.weight_decay=0.1", "optimizer.rpn.schedule=cosine",
                    "optimizer.rpn.final_share=0.1", "optimizer.rpn.warmup_steps=2",
                    "optimizer.detector.method=nesterov", "optimizer.detector.schedule=polynomial",
                    "optimizer.detector.power=2", "optimizer.detector.bias_lr_factor=1"});
  const Trainer trainer(config, kClasses, kSteps);
  std::map<std::string, GroupSettings> groups;
  for (const auto& [name, settings] : trainer.optimizer_settings()) groups[name] = settings;
  using Method = GroupSettings::Method;
  CHECK(groups.at("backbone").method == Method::sgd);
  CHECK(groups.at("backbone").schedule.rule == ScheduleRule::step);
  CHECK(groups.at("backbone").schedule.base == 0.01);
  CHECK(groups.at("rpn biases").lr_factor == 2);
  CHECK(groups.at("backbone norms").lr_factor == 1);
  CHECK(groups.at("backbone norms").weight_decay == 0);
  CHECK(groups.at("rpn").method == Method::adamw);
  CHECK(groups.at("rpn").weight_decay == 0.1);
  CHECK(groups.at("rpn").schedule.text() == "cosine to x 0.1 at 10, warm-up 2 steps from x 0.1");
  CHECK(groups.at("rpn biases").weight_decay == 0);
  CHECK(groups.at("detector").method == Method::nesterov);
  CHECK(groups.at("detector").schedule.text() == "polynomial to x 0 at 10, power 2");
  CHECK(groups.at("detector biases").lr_factor == 1);
}

TEST_CASE("A8 a run with other rules per branch stops and goes on with the same bits") {
  const Config config = parse_config(
      kConfig, "test",
      {"optimizer.lr=0.01", "optimizer.schedule=cosine", "optimizer.warmup_steps=3",
       "optimizer.backbone.method=adam", "optimizer.backbone.lr=0.001",
       "optimizer.rpn.method=adamw", "optimizer.rpn.lr=0.001", "optimizer.detector.method=nesterov",
       "optimizer.detector.schedule=polynomial"});
  std::vector<std::vector<float>> on_cpu;
  for (const Device device : all_devices()) {
    INFO(device.name());
    Trainer straight(config, kClasses, kSteps, device), first(config, kClasses, kSteps, device);
    train_until(straight, kSteps);
    train_until(first, 4);
    const TempDir folder;
    save_checkpoint(folder.path() / "middle.h5", first.checkpoint(0, 0));
    Trainer resumed(config, kClasses, kSteps, device);
    resumed.restore(load_checkpoint(folder.path() / "middle.h5"));
    CHECK(resumed.learning_rates() == first.learning_rates());
    train_until(resumed, kSteps);
    CHECK(weights(resumed) == weights(straight));
    if (on_cpu.empty()) on_cpu = weights(straight);
    const auto here = weights(straight);
    for (size_t i = 0; i < here.size(); ++i) CHECK(relative_l2(here[i], on_cpu[i]) < 2e-4);
  }
}

TEST_CASE("A7 every loss trains, otherwise than the plain ones, the same on every device") {
  const std::vector<std::vector<std::string>> settings = {
      {"rpn.class_loss=focal"},
      {"rpn.class_loss=focal", "rpn.objectness=sigmoid", "rpn.normaliser=positives"},
      {"roi.class_loss=sigmoid"},
      {"roi.class_loss=focal", "roi.focal_alpha=-1", "roi.normaliser=positives"},
      {"rpn.box_loss=giou", "roi.box_loss=giou"},
      {"roi.box_loss=giou", "roi.class_agnostic=true"},
  };
  for (const std::vector<std::string>& changes : settings) {
    INFO(changes[0]);
    std::vector<std::string> all = {"optimizer.lr=0.01", "backbone.batch_norm=false"};
    all.insert(all.end(), changes.begin(), changes.end());
    const Config config = parse_config(kConfig, "test", all);
    Config plain = config;
    plain.model.rpn.class_loss = plain.model.roi.class_loss = "cross_entropy";
    plain.model.rpn.box_loss = plain.model.roi.box_loss = "smooth_l1";
    plain.model.rpn.normaliser = plain.model.roi.normaliser = "batch";
    Trainer with_plain(plain, kClasses, kSteps);
    train_until(with_plain, 3);
    std::vector<std::vector<float>> on_cpu;
    for (const Device device : all_devices()) {
      INFO(device.name());
      Trainer trainer(config, kClasses, kSteps, device);
      train_until(trainer, 3);
      const auto here = weights(trainer);
      CHECK(here != weights(with_plain));
      if (on_cpu.empty()) on_cpu = here;
      for (size_t i = 0; i < here.size(); ++i) CHECK(relative_l2(here[i], on_cpu[i]) < 2e-4);
    }
  }
}

TEST_CASE("a head trained one-vs-all scores by sigmoids, the same on every device") {
  const Config config = parse_config(
      kConfig, "test", {"roi.class_loss=sigmoid", "test.score=0.4", "backbone.batch_norm=false"});
  ModelInput input;
  input.images = Tensor::from({1, 3, 32, 36}, random_vector<float>(3 * 32 * 36, -1, 1, 8));
  input.sizes = {{32, 36, 1, 1}};
  std::vector<float> expected;
  for (const Device device : all_devices()) {
    INFO(device.name());
    const FasterRcnn model(config.model, 3, 5, DType::f32, true, device);
    std::vector<float> scores;
    const auto found = model.detect(input);
    for (const ScoredBox& box : found[0]) scores.push_back(box.score);
    REQUIRE(scores.size() > 5);  // three sigmoids of about a half: no softmax of four gives that
    if (expected.empty()) expected = scores;
    FRCNN_CHECK_SAME(scores, expected, 1e-5, 1e-6);
  }
}

TEST_CASE("moving averages: updated by their equation, used by validation, resumed bit by bit") {
  const Config plain = parse_config(kConfig, "test", {"optimizer.lr=0.05"});
  Config config = plain;
  config.train.ema = 0.5;
  for (const Device device : all_devices()) {
    INFO(device.name());
    Trainer without(plain, kClasses, kSteps, device), trainer(config, kClasses, kSteps, device);
    std::map<std::string, std::vector<double>> expected;
    for (const Parameter& p : trainer.model().parameters().all())
      if (p.trainable())
        for (const float v : p.tensor.to_vector<float>()) expected[p.name].push_back(v);
    CHECK(without.checkpoint(0, 0).averages.empty());
    Checkpoint middle;
    for (int64_t step = 1; step <= kSteps; ++step) {
      train_until(trainer, step);
      if (step == 4) middle = stored(trainer);
      const auto t = static_cast<double>(step);
      const double decay = std::min(0.5, (1 + t) / (10 + t));
      for (auto& [name, average] : expected) {
        const auto w = trainer.model().parameters().find(name)->tensor.to_vector<float>();
        for (size_t i = 0; i < w.size(); ++i)
          average[i] += (1 - decay) * (double(w[i]) - average[i]);
      }
    }
    const Checkpoint last = stored(trainer);
    REQUIRE(last.averages.size() == expected.size());
    for (const auto& [name, average] : expected) {
      const auto found = last.averages.at(name).to_vector<float>();
      FRCNN_CHECK_SAME(std::vector<double>(found.begin(), found.end()), average, 1e-4, 1e-6);
    }
    // Training itself does not see them.
    train_until(without, kSteps);
    CHECK(weights(without) == weights(trainer));
    // A validation sees them in place of the weights, and leaves no trace.
    const auto trained = weights(trainer);
    {
      const Trainer::Averaged averaged(trainer);
      CHECK(weights(trainer) != trained);
      FasterRcnn detector(config.model, 3, 1, DType::f32, true, device);
      load_parameters(detector, last, "last", CheckpointWeights::averaged);
      const auto& there = detector.parameters().all();
      for (size_t i = 0; i < there.size(); ++i)
        CHECK(there[i].tensor.to_vector<float>() == weights(trainer)[i]);
    }
    CHECK(weights(trainer) == trained);
    // A run that stopped after step 4 ends with the same weights and averages.
    Trainer resumed(config, kClasses, kSteps, device);
    resumed.restore(middle);
    train_until(resumed, kSteps);
    CHECK(weights(resumed) == trained);
    for (const auto& [name, tensor] : resumed.checkpoint(0, 0).averages)
      CHECK(tensor.to_vector<float>() == last.averages.at(name).to_vector<float>());
    CHECK_THROWS_WITH(without.restore(middle), mentions("averaged arrays, these settings need 0"));
  }
}

TEST_CASE("train.precision rounds the factors of training passes, the same on every device") {
  std::map<std::string, std::vector<std::vector<float>>> on_cpu;
  for (const std::string precision : {"f32", "tf32", "bf16"}) {
    const Config config = parse_config(
        kConfig, "test",
        {"optimizer.lr=0.01", "backbone.batch_norm=false", "backbone.tiny_channels=[8, 16]",
         "rpn.channels=16", "roi.hidden=[16]", "train.precision=" + precision});
    for (const Device device : all_devices()) {
      INFO(precision << " " << device.name());
      Trainer trainer(config, kClasses, kSteps, device);
      train_until(trainer, 3);
      auto& expected = on_cpu[precision];
      if (expected.empty()) expected = weights(trainer);
      const auto here = weights(trainer);
      for (size_t i = 0; i < here.size(); ++i) CHECK(relative_l2(here[i], expected[i]) < 2e-4);
      CHECK(gpu_math() == GpuMath::f32);
    }
  }
  CHECK(on_cpu["tf32"] != on_cpu["f32"]);
  CHECK(on_cpu["bf16"] != on_cpu["f32"]);
}
