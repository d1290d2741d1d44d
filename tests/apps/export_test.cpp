// frcnn export: what it writes comes back, and what it cannot do exactly is refused.
#include <fstream>
#include <iterator>

#include "apps/commands.h"
#include "model/faster_rcnn.h"
#include "model/options.h"
#include "tests/support/catch.h"
#include "tests/support/support.h"
#include "weights/checkpoint.h"
#include "weights/onnx/onnx_graph.h"
#include "weights/weight_file.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;

Config tiny_config() {
  Config config;
  ModelConfig& m = config.model;
  m.preprocess.rounding = "floor";
  m.preprocess.pad_multiple = 4;
  m.backbone.name = "tiny";
  m.backbone.frozen_until = "";
  m.backbone.tiny_channels = {4, 6};
  m.backbone.tiny_strides = {2, 2};
  m.rpn.channels = 6;
  m.rpn.test.min_size = 0;
  m.roi.hidden = {7, 7};
  m.roi.pooled_height = m.roi.pooled_width = 2;
  config.data.classes = {"cat", "dog"};
  return config;
}

fs::path write_model(const fs::path& folder, const Config& config) {
  const FasterRcnn model(config.model, 2);
  Checkpoint checkpoint;
  checkpoint.config = to_toml(config);
  checkpoint.classes = config.data.classes;
  for (const Parameter& p : model.parameters().all())
    (p.kind == ParameterKind::buffer ? checkpoint.buffers : checkpoint.parameters)
        .emplace(p.name, p.tensor);
  save_checkpoint(folder / "model.h5", checkpoint);
  return folder / "model.h5";
}

int run(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"frcnn"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  return run_program(static_cast<int>(argv.size()), argv.data());
}

TEST_CASE("a model exported as safetensors is imported as the same model", "[export]") {
  const test::TempDir folder;
  const fs::path model = write_model(folder.path(), tiny_config());
  const fs::path exported = folder.path() / "a.safetensors", again = folder.path() / "again.h5";
  REQUIRE(run({"export", model, "--format", "safetensors", "--out", exported}) == kDone);
  REQUIRE(run({"import", exported, "--out", again}) == kDone);
  const Checkpoint before = load_checkpoint(model), after = load_checkpoint(again);
  CHECK(after.config == before.config);
  CHECK(after.classes == before.classes);
  REQUIRE(after.parameters.size() == before.parameters.size());
  REQUIRE(after.buffers.size() == before.buffers.size());
  for (const auto& [name, tensor] : before.parameters)
    FRCNN_CHECK_SAME(after.parameters.at(name).to_vector<float>(), tensor.to_vector<float>(), 0, 0);
  for (const auto& [name, tensor] : before.buffers)
    FRCNN_CHECK_SAME(after.buffers.at(name).to_vector<float>(), tensor.to_vector<float>(), 0, 0);
}

TEST_CASE("export --format torchvision refuses what torchvision cannot follow, unless told",
          "[export]") {
  const test::TempDir folder;
  const fs::path out = folder.path() / "tv.safetensors";
  Config config = tiny_config();
  const std::vector<std::string> command = {
      "export", write_model(folder.path(), config), "--format", "torchvision", "--out", out};
  REQUIRE(run(command) == kDone);
  const auto file = WeightFile::open(out);
  CHECK(file->find("roi_heads.box_predictor.cls_score.weight") != nullptr);
  CHECK(file->find("rpn.head.conv.0.0.bias") != nullptr);
  fs::remove(out);

  config.model.rpn.test.min_size = 16;
  write_model(folder.path(), config);
  CHECK(run(command) == kFailed);
  CHECK_FALSE(fs::exists(out));
  std::vector<std::string> approximate = command;
  approximate.emplace_back("--approximate");
  CHECK(run(approximate) == kDone);
  CHECK(fs::exists(out));

  CHECK(run({"export", folder.path() / "model.h5", "--format", "cpp", "--out", out}) == kUsage);
  CHECK(run({"export", folder.path() / "absent.h5", "--format", "safetensors", "--out", out}) ==
        kFailed);
}

TEST_CASE("export --format onnx needs the size of the pictures, and other formats take none",
          "[export]") {
  const test::TempDir folder;
  const fs::path model = write_model(folder.path(), tiny_config()), out = folder.path() / "a.onnx";
  const auto with = [&](const std::string& format, const std::vector<std::string>& more) {
    std::vector<std::string> command = {"export", model, "--format", format, "--out", out};
    command.insert(command.end(), more.begin(), more.end());
    return run(command);
  };
  CHECK(with("onnx", {}) == kUsage);
  CHECK(with("onnx", {"--height", "100"}) == kUsage);
  CHECK(with("onnx", {"--dynamic", "--height", "100", "--width", "120"}) == kUsage);
  CHECK(with("safetensors", {"--dynamic"}) == kUsage);
  CHECK_FALSE(fs::exists(out));

  REQUIRE(with("onnx", {"--dynamic"}) == kDone);
  const OnnxGraph any = read_onnx(out);
  CHECK(any.inputs[0].dims == std::vector<int64_t>{1, 3, -1, -1});
  CHECK(any.outputs.size() == 3);
  REQUIRE(with("onnx", {"--height", "100", "--width", "120"}) == kDone);
  CHECK(read_onnx(out).inputs[0].dims == std::vector<int64_t>{1, 3, 100, 120});
}

}  // namespace
}  // namespace frcnn::apps
