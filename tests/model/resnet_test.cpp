// The built-in ResNet-18 v2 against PyTorch (tests/golden/make_resnet.py), as a backbone.
#include <cmath>

#include "model/detector.h"
#include "model/export_onnx.h"
#include "model/export_safetensors.h"
#include "model/faster_rcnn.h"
#include "model/options.h"
#include "model/trainer.h"
#include "tests/support/devices.h"
#include "tests/support/support.h"
#include "weights/onnx/onnx_graph.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

/// The formula of make_resnet.py.
std::vector<double> formula(const std::string& name, const Shape& shape) {
  int64_t letters = 0;
  for (const char c : name) letters += c;
  const bool vector = shape.rank() == 1;
  const bool around_one = name.ends_with("running_var") || (name.ends_with("weight") && vector);
  const double spread = std::sqrt(4.0 / static_cast<double>(vector ? 1 : shape.numel() / shape[0]));
  std::vector<double> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) {
    const double wave = std::sin(1.7 * static_cast<double>(i) + static_cast<double>(letters % 97));
    values[i] = around_one ? 1 + 0.3 * wave : vector ? 0.2 * wave : wave * spread;
  }
  return values;
}

BackboneConfig resnet(const std::string& frozen_until = "") {
  BackboneConfig config;
  config.name = "resnet18_v2";
  config.frozen_until = frozen_until;
  return config;
}

Config small_detector(const std::vector<std::string>& more = {}) {
  std::vector<std::string> settings = {"backbone.name=resnet18_v2",
                                       "backbone.frozen_until=\"\"",
                                       "preprocess.shorter_side=64",
                                       "anchors.sizes=[32, 64]",
                                       "rpn.channels=16",
                                       "rpn.train.post_nms=20",
                                       "rpn.test.post_nms=5",
                                       "roi.pooled_height=2",
                                       "roi.pooled_width=2",
                                       "roi.hidden=[16, 16]",
                                       "roi.batch=8",
                                       "roi.dropout=0",
                                       "train.iter_size=1"};
  settings.insert(settings.end(), more.begin(), more.end());
  return parse_config("", "test", settings);
}

ModelInput picture() {
  ModelInput input;
  input.images = Tensor::from({1, 3, 64, 96}, random_vector<float>(3 * 64 * 96, -1, 1, 5));
  input.sizes = {{64, 96, 1, 1}};
  return input;
}
std::vector<GroundTruth> objects() {
  return {{{{4, 6, 40, 38}, {30, 10, 90, 60}}, {0, 1}}};
}
const std::vector<std::string> kClasses = {"a", "b"};

}  // namespace

TEST_CASE("B5: ResNet-18 v2 has stride 32 and 512 channels; 256x256 gives 8x8") {
  const BackboneSpec spec = backbone_spec(resnet());
  CHECK(spec.stride() == 32);
  CHECK(spec.out_channels() == 512);
  CHECK(spec.map_size(256, 256) == std::array<int64_t, 2>{8, 8});
  // 7 + 2*2 of the pooling, then 16 3x3 convolutions: 4 at stride 4, 1 + 3 at 4, 8; 8, 16; 16, 32.
  CHECK(spec.receptive_field() == 11 + 2 * (4 * 4 + 4 + 3 * 8 + 8 + 3 * 16 + 16 + 3 * 32));
  Parameters parameters(1, DType::f32, /*fill=*/false);
  const Backbone backbone(spec, resnet(), parameters);
  CHECK(parameters.count() == golden_i64("resnet", "parameters").values[0]);
  CHECK(parameters.count() == 11174854);
}

TEST_CASE("B5: ResNet-18 v2 computes what PyTorch computes with the same weights") {
  Parameters parameters(1, DType::f64, /*fill=*/false);
  const Backbone backbone(backbone_spec(resnet()), resnet(), parameters);
  for (const Parameter& p : parameters.all()) {
    Tensor tensor = p.tensor;
    tensor.copy_from(
        Tensor::from(p.tensor.shape(),
                     formula(p.name.substr(std::string("backbone.").size()), p.tensor.shape())));
    tensor.bump_version();
  }
  std::vector<double> values(2 * 3 * 64 * 96);
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(0.37 * static_cast<double>(i));
  const Tensor images = Tensor::from({2, 3, 64, 96}, values);
  const Tensor stored = backbone.forward(images, /*training=*/false);
  REQUIRE(stored.shape() == Shape{2, 512, 2, 3});
  FRCNN_CHECK_SAME(stored.to_vector<double>(), golden_f64("resnet", "stored").values, 1e-9, 1e-9);
  const Tensor batch = backbone.forward(images, /*training=*/true);
  FRCNN_CHECK_SAME(batch.to_vector<double>(), golden_f64("resnet", "batch").values, 1e-9, 1e-9);
  FRCNN_CHECK_SAME(parameters.find("backbone.norm5.running_mean")->tensor.to_vector<double>(),
                   golden_f64("resnet", "running_mean").values, 1e-9, 1e-9);
}

TEST_CASE("B5: ResNet-18 v2 is frozen by layer or by stage; the input's norm never learns") {
  const auto trainable = [](const std::string& until, const std::string& name) {
    Parameters parameters(1, DType::f32, /*fill=*/false);
    const Backbone backbone(backbone_spec(resnet()), resnet(until), parameters);
    const Parameter* p = parameters.find("backbone." + name);
    REQUIRE(p != nullptr);
    return p->trainable();
  };
  CHECK_FALSE(trainable("", "input_norm.weight"));
  CHECK(trainable("", "conv0.weight"));
  CHECK_FALSE(trainable("conv0", "conv0.weight"));
  CHECK(trainable("conv0", "norm0.weight"));
  CHECK_FALSE(trainable("stage1", "stage1.unit2.conv2.weight"));
  CHECK(trainable("stage1", "stage2.unit1.norm1.weight"));
  CHECK_FALSE(trainable("norm5", "stage4.unit1.shortcut.weight"));
  CHECK_THROWS_WITH(trainable("conv2_2", "conv0.weight"),
                    mentions("resnet18_v2 has no node \"conv2_2\""));
}

TEST_CASE("B5: a detector on ResNet-18 v2 trains, is saved and loaded, and is exported") {
  const Config config = small_detector();
  Trainer trainer(config, kClasses, 10);
  const auto value = [&](const char* name) {
    return trainer.model().parameters().find(name)->tensor.to_vector<float>();
  };
  const auto conv = value("backbone.conv0.weight"), scale = value("backbone.input_norm.weight");
  const auto mean = value("backbone.input_norm.running_mean");
  trainer.accumulate(picture(), objects());
  CHECK(std::isfinite(trainer.update().total));
  CHECK(value("backbone.conv0.weight") != conv);
  CHECK(value("backbone.input_norm.weight") == scale);
  CHECK(value("backbone.input_norm.running_mean") != mean);

  const TempDir dir;
  save_checkpoint(dir.path() / "model.h5", trainer.checkpoint(0, 0));
  const Detector detector = Detector::load(dir.path() / "model.h5");
  const Tensor x = picture().images;
  CHECK(detector.model().features(x, false).to_vector<float>() ==
        trainer.model().features(x, false).to_vector<float>());

  const OnnxWriter writer = onnx_model(trainer.model(), config, kClasses, {64, 96, "1"});
  const OnnxGraph graph = parse_onnx(writer.bytes(), "resnet.onnx");
  CHECK(graph.initialisers.contains("backbone.stage4.unit2.conv2.weight"));
  CHECK_THROWS_WITH(
      torchvision_model(trainer.model(), config, kClasses, "1"),
      mentions("backbone.name = \"resnet18_v2\": torchvision has no class for this backbone"));
}

TEST_CASE("B5: training ResNet-18 v2 on a GPU in recorded steps follows the CPU") {
  const Config config = small_detector();
  const auto losses = [&](Device device) {
    Trainer trainer(config, kClasses, 10, device);
    std::vector<double> all;
    for (int step = 0; step < 3; ++step) {
      trainer.accumulate(picture(), objects());
      const StepStats stats = trainer.update();
      all.push_back(device.is_gpu() ? trainer.collect().total : stats.total);
    }
    return all;
  };
  const std::vector<double> expected = losses(Device{});
  for (const Device device : gpus()) {
    INFO(describe(device));
    FRCNN_CHECK_SAME(losses(device), expected, 2e-3, 2e-3);
  }
}
