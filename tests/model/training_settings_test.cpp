// What [optimizer] and [train] say about the update of the weights, on every device: methods and
// schedules per branch, and runs that stop and go on.
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
