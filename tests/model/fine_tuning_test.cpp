// Fine-tuning as in the paper: backbone, fc6 and fc7 from a classification net, the first layers
// frozen, a rate for each branch.
#include <cmath>

#include "kernels/launch/check.h"
#include "model/trainer.h"
#include "tests/model/weight_import_support.h"
#include "tests/support/catch.h"

namespace frcnn {
namespace {

/// A classification net of Keras around the tiny backbone: conv1, conv2, fc1, fc2, predictions.
std::vector<test::KerasArray> classification_net() {
  std::vector<test::KerasArray> arrays;
  uint64_t seed = 100;
  const auto add = [&](const std::string& layer, const Shape& kernel) {
    const auto values = [&](const Shape& shape) {
      return test::random_vector<float>(static_cast<size_t>(shape.numel()), -0.3, 0.3, ++seed);
    };
    const Shape bias{kernel[-1]};
    arrays.push_back({layer, "kernel", kernel, values(kernel)});
    arrays.push_back({layer, "bias", bias, values(bias)});
  };
  add("conv1", {3, 3, 3, 4});
  add("conv2", {3, 3, 4, 6});
  add("fc1", {24, 8});
  add("fc2", {8, 7});
  add("predictions", {7, 10});
  return arrays;
}

Config fine_tuning(const std::filesystem::path& weights) {
  Config config;
  ModelConfig& model = config.model;
  model.backbone.name = "tiny";
  model.backbone.tiny_channels = {4, 6};
  model.backbone.tiny_strides = {2, 2};
  model.backbone.batch_norm = false;
  model.backbone.frozen_until = "conv1";
  model.backbone.weights = weights;
  model.anchors.sizes = {16, 32};
  model.anchors.ratios = {1};
  model.anchors.rounding = "none";
  model.rpn.channels = 5;
  model.rpn.batch = 32;
  model.rpn.train = {100, 20, 0.7, 2};
  model.roi.pooled_height = model.roi.pooled_width = 2;
  model.roi.hidden = {8, 7};
  model.roi.dropout = 0;
  model.roi.batch = 16;
  config.optimizer.lr = 0.001;
  config.optimizer.backbone.lr = 0.0001;
  config.optimizer.weight_decay = 0;
  config.optimizer.momentum = 0;
  config.train.iter_size = 1;
  return config;
}

std::vector<float> values_of(Trainer& trainer, const std::string& name) {
  return trainer.model().parameters().find(name)->tensor.to_vector<float>();
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - b[i], 2);
  return std::sqrt(sum);
}

TEST_CASE(
    "fine-tuning: backbone, fc6 and fc7 start from the file, frozen layers stay, rates differ") {
  const test::TempDir dir;
  const auto arrays = classification_net();
  test::write_keras(dir.path() / "net.h5", arrays);
  const Config config = fine_tuning(dir.path() / "net.h5");
  Trainer trainer(config, {"a", "b"}, 10);

  REQUIRE(trainer.import_log().size() == 1);
  CHECK_THAT(trainer.import_log()[0],
             test::mentions("4 arrays of the backbone, 4 of the head (fc6 fc7), 2 left out"));
  const auto start = [&] {
    std::map<std::string, std::vector<float>> values;
    for (const Parameter& p : trainer.model().parameters().all())
      values[p.name] = p.tensor.to_vector<float>();
    return values;
  }();
  CHECK(start.at("backbone.conv1.bias") == arrays[1].values);
  // fc1 of Keras runs over (row, column, channel), fc6 over (channel, row, column).
  const std::vector<float>& fc6 = start.at("head.fc6.weight");
  for (size_t o = 0; o < 8; ++o)
    for (size_t c = 0; c < 6; ++c)
      for (size_t cell = 0; cell < 4; ++cell)
        CHECK(fc6[o * 24 + c * 4 + cell] == arrays[4].values[(cell * 6 + c) * 8 + o]);
  CHECK(start.at("head.fc7.bias") == arrays[7].values);

  for (const auto& [name, rate] : trainer.learning_rates()) {
    if (name == "backbone") CHECK(rate == Approx(0.0001));
    if (name == "backbone biases") CHECK(rate == Approx(0.0002));
    if (name == "rpn" || name == "detector") CHECK(rate == Approx(0.001));
  }

  ModelInput input;
  input.images =
      Tensor::from(Shape{1, 3, 64, 96}, test::random_vector<float>(3 * 64 * 96, -60, 60, 7));
  input.sizes = {{64, 96, 1, 1}};
  GroundTruth truth;
  truth.boxes = {{10, 10, 30, 30}, {40, 20, 80, 60}};
  truth.labels = {0, 1};
  trainer.accumulate(input, {truth});
  trainer.update();

  // Frozen: the same bits.
  CHECK(values_of(trainer, "backbone.conv1.weight") == start.at("backbone.conv1.weight"));
  CHECK(values_of(trainer, "backbone.conv1.bias") == start.at("backbone.conv1.bias"));
  for (const char* name : {"backbone.conv2.weight", "rpn.conv.weight", "head.fc6.weight",
                           "head.fc7.weight", "head.cls.weight", "head.box.weight"}) {
    INFO(name);
    CHECK(distance(values_of(trainer, name), start.at(name)) > 0);
  }
  // Without momentum and decay a step is rate times gradient: ten times the backbone's rate moves
  // it ten times as far.
  Config faster = config;
  faster.optimizer.backbone.lr = 0.001;
  Trainer other(faster, {"a", "b"}, 10);
  other.accumulate(input, {truth});
  other.update();
  const double slow =
      distance(values_of(trainer, "backbone.conv2.weight"), start.at("backbone.conv2.weight"));
  const double fast =
      distance(values_of(other, "backbone.conv2.weight"), start.at("backbone.conv2.weight"));
  CHECK(fast / slow == Approx(10).epsilon(0.01));
  CHECK(values_of(other, "head.fc6.weight") == values_of(trainer, "head.fc6.weight"));
}

TEST_CASE("fine-tuning: a head of another size keeps its initial values, and the log says so") {
  const test::TempDir dir;
  test::write_keras(dir.path() / "net.h5", classification_net());
  Config config = fine_tuning(dir.path() / "net.h5");
  config.model.roi.hidden = {9, 7};
  const Trainer trainer(config, {"a"}, 10);
  CHECK_THAT(trainer.import_log()[0], test::mentions("4 arrays of the backbone, 6 left out"));
  config.model.preprocess.channels = "rgb";
  CHECK_NOTHROW(Trainer(config, {"a"}, 10));  // nothing tells the pictures of this net
}

}  // namespace
}  // namespace frcnn
