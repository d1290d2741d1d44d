// A detector on a backbone imported from ONNX: training, checkpoints without the file, devices.
#include <cmath>
#include <fstream>

#include "model/detector.h"
#include "model/faster_rcnn.h"
#include "model/options.h"
#include "model/trainer.h"
#include "tests/model/network_support.h"
#include "tests/model/small_detector.h"
#include "tests/support/devices.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

namespace fs = std::filesystem;

/// A config of a network of tests/golden/onnx.h5, written to a file of its own.
struct Setting {
  TempDir dir;
  fs::path file;
  Config config;

  explicit Setting(const std::string& network, const std::vector<std::string>& more = {}) {
    file = dir.path() / "net.onnx";
    std::ofstream(file, std::ios::binary) << onnx_bytes(network);
    std::vector<std::string> overrides = {"backbone.name=onnx",
                                          "backbone.onnx=\"" + file.string() + "\""};
    overrides.insert(overrides.end(), more.begin(), more.end());
    config = parse_config(kSmallToml, "test", overrides);
  }
};

ModelInput picture(uint64_t seed) {
  const int64_t h = 64, w = 88;
  ModelInput input;
  input.images =
      Tensor::from({1, 3, h, w}, random_vector<float>(static_cast<size_t>(3 * h * w), -1, 1, seed));
  input.sizes = {{h, w, 1, 1}};
  return input;
}
std::vector<GroundTruth> objects() {
  return {{{{4, 6, 30, 28}, {20, 20, 60, 58}}, {0, 2}}};
}

std::vector<double> train(Trainer& trainer, int steps, Device device = {}) {
  std::vector<double> losses;
  for (int step = 0; step < steps; ++step) {
    trainer.accumulate(picture(static_cast<uint64_t>(step % 4)), objects());
    const StepStats stats = trainer.update();
    losses.push_back(device.is_gpu() ? trainer.collect().total : stats.total);
  }
  return losses;
}

const std::vector<std::string> kClasses = {"a", "b", "c"};

}  // namespace

TEST_CASE("A2 backbone onnx: begins with the file's weights; stride, channels and map size") {
  const Setting setting("exported/mobile_script");
  const FasterRcnn model(setting.config.model, 3);
  const BackboneSpec& spec = model.backbone_spec();
  CHECK(spec.stride() == 16);
  CHECK(spec.out_channels() == 8);
  CHECK(spec.receptive_field() == 31);
  CHECK(spec.receptive_field(3) == 31 + 2 * 16);
  CHECK(spec.map_size(64, 88) == std::array<int64_t, 2>{4, 6});
  const Tensor map = model.features(picture(1).images, false);
  CHECK(map.shape() == Shape{1, 8, 4, 6});
  const RunningNetwork direct(import_onnx(onnx_graph("exported/mobile_script"), ""));
  CHECK(map.to_vector<float>() == direct.forward(picture(1).images).to_vector<float>());
  CHECK(model.parameters().find("backbone.features.features.0.Conv.weight") != nullptr);
}

TEST_CASE("A2 backbone onnx: a detector on top learns, and its checkpoint needs no file") {
  for (const std::string network : {"exported/mobile_dynamo", "exported/residual_script_norm"}) {
    const bool residual = network == "exported/residual_script_norm";
    const Setting setting(network, residual ? std::vector<std::string>{"backbone.cut=/Relu_1"}
                                            : std::vector<std::string>{});
    INFO(network);
    Trainer trainer(setting.config, kClasses, 60);
    const std::vector<double> losses = train(trainer, 40);
    CHECK(losses[36] + losses[37] + losses[38] + losses[39] <
          0.8 * (losses[0] + losses[1] + losses[2] + losses[3]));

    const fs::path file = setting.dir.path() / "model.h5";
    save_checkpoint(file, trainer.checkpoint(0, 0));
    fs::remove(setting.file);
    const Detector detector = Detector::load(file);
    const Tensor x = picture(9).images;
    CHECK(detector.model().features(x, false).to_vector<float>() ==
          trainer.model().features(x, false).to_vector<float>());
    CHECK(detector.model().backbone_spec().stride() == (residual ? 2 : 16));

    // The run goes on with the same numbers as if it had not been interrupted.
    const Checkpoint checkpoint = load_checkpoint(file);
    Config config = setting.config;
    CHECK_THROWS_WITH(Trainer(config, kClasses, 60), mentions("net.onnx: cannot be read"));
    take_network(config.model, checkpoint, "model.h5");
    Trainer resumed(config, kClasses, 60);
    resumed.restore(checkpoint);
    CHECK(train(resumed, 4) == train(trainer, 4));
    Checkpoint without = checkpoint;
    without.network.clear();
    CHECK_THROWS_WITH(take_network(config.model, without, "model.h5"),
                      mentions("model.h5: lacks the definition of its imported backbone"));
  }
}

TEST_CASE("A2 backbone onnx: nodes up to frozen_until are not trained, their statistics stay") {
  const std::string network = "exported/residual_script_norm";
  const Setting setting(network, {"backbone.cut=/Relu_1", "backbone.frozen_until=/Relu"});
  Trainer trainer(setting.config, kClasses, 60);
  const auto values = [&](const std::string& name) {
    const Parameter* p = trainer.model().parameters().find("backbone." + name);
    REQUIRE(p != nullptr);
    return p->tensor.to_vector<float>();
  };
  const std::vector<std::string> frozen = {"a.Conv.weight", "na.BatchNormalization.weight",
                                           "na.BatchNormalization.running_mean"};
  const std::vector<std::string> trained = {"b.Conv.weight", "p.Conv.weight",
                                            "nb.BatchNormalization.bias",
                                            "nb.BatchNormalization.running_var"};
  std::map<std::string, std::vector<float>> before;
  for (const auto* names : {&frozen, &trained})
    for (const std::string& name : *names) before[name] = values(name);
  train(trainer, 2);
  for (const std::string& name : frozen) CHECK(values(name) == before[name]);
  for (const std::string& name : trained) CHECK(values(name) != before[name]);

  const Setting wrong(network, {"backbone.cut=/Relu_1", "backbone.frozen_until=conv2_2"});
  CHECK_THROWS_WITH(FasterRcnn(wrong.config.model, 3),
                    mentions("backbone.frozen_until: net.onnx has no node \"conv2_2\"") &&
                        mentions("its layers are a.Conv, b.Conv, p.Conv"));
}

TEST_CASE("A2 backbone onnx: batch norm with stored statistics where the config says so") {
  const Setting setting("exported/residual_script_norm",
                        {"backbone.cut=/Relu_1", "backbone.batch_norm_mode=frozen"});
  Trainer trainer(setting.config, kClasses, 60);
  const Tensor mean =
      trainer.model().parameters().find("backbone.na.BatchNormalization.running_mean")->tensor;
  const std::vector<float> before = mean.to_vector<float>();
  train(trainer, 2);
  CHECK(mean.to_vector<float>() == before);
}

TEST_CASE("A2 backbone onnx: training on a GPU in recorded steps follows the CPU") {
  for (const std::string network :
       {"exported/mobile_script", "exported/mixed_script", "exported/residual_script_norm"}) {
    const std::string cut =
        network == "exported/mobile_script" ? "" : onnx_graph(network).outputs[0].name;
    const Setting setting(network, {"backbone.cut=" + cut});
    Trainer cpu(setting.config, kClasses, 60);
    const std::vector<double> expected = train(cpu, 4);
    for (const Device device : gpus()) {
      INFO(network << " on " << describe(device));
      Trainer gpu(setting.config, kClasses, 60, device);
      FRCNN_CHECK_SAME(train(gpu, 4, device), expected, 1e-3, 1e-3);
    }
  }
}

TEST_CASE("backbone onnx: networks that give no map for a detector are refused") {
  const Setting four("nodes/relu", {"backbone.cut=Relu"});
  CHECK_THROWS_WITH(FasterRcnn(four.config.model, 3),
                    mentions("takes pictures of 4 channels, a detector's have 3"));
  const Setting rows("exported/mobile_script", {"backbone.cut=/head/head.1/Gemm"});
  CHECK_THROWS_WITH(FasterRcnn(rows.config.model, 3), mentions("is no map (N, C, H, W)"));
  CHECK_THROWS_WITH(parse_config("[backbone]\nname = \"onnx\"\n", "test"),
                    mentions("needs backbone.onnx"));
  CHECK_THROWS_WITH(parse_config("[backbone]\ncut = \"a\"\n", "test"),
                    mentions("are for backbone.name = \"onnx\", not for \"vgg16\""));
}
