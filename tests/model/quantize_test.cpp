#include "model/quantize.h"

#include <cmath>

#include "kernels/launch/check.h"
#include "model/detector.h"
#include "model/input.h"
#include "model/options.h"
#include "model/trainer.h"
#include "tests/model/small_detector.h"
#include "tests/support/devices.h"
#include "weights/weight_file.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

/// A checkpoint of a detector with random weights, as a training of no steps gives it.
Checkpoint untrained(const std::vector<std::string>& settings = {}) {
  Config config = parse_config(kSmallToml, "test", settings);
  Trainer trainer(config, {"a", "b"}, 10);
  return trainer.checkpoint(0, 0);
}

std::vector<uint8_t> picture(uint64_t seed) {
  std::vector<uint8_t> rgb;
  for (const double v : random_vector<double>(64 * 80 * 3, 0, 256, seed))
    rgb.push_back(static_cast<uint8_t>(v));
  return rgb;
}

Checkpoint quantized(const std::filesystem::path& file, const Checkpoint& checkpoint) {
  save_checkpoint(file, checkpoint);
  const Detector detector = Detector::load(file);
  const Calibration calibration(detector.model(), int8_layers(detector.model(), {}));
  for (uint64_t seed = 1; seed <= 3; ++seed) detector.detect(picture(seed).data(), 80, 64);
  return quantize(checkpoint, calibration, {RangeRule::Kind::max, 100}, 3);
}

Tensor features(const Detector& detector) {
  const auto rgb = picture(4);
  return detector.model().features(
      make_input(rgb.data(), 80, 64, detector.config().model.preprocess).images, false);
}

}  // namespace

TEST_CASE("8-bit models: all layers but the first and the predictors, a fourth of the bytes") {
  const TempDir dir;
  for (const bool norm : {false, true}) {
    const Checkpoint f32 = untrained({norm ? "backbone.batch_norm=true" : "train.seed=1"});
    const Checkpoint int8 = quantized(dir.path() / "f32.h5", f32);
    CHECK(int8.optimizer.empty());
    CHECK(int8.format_version() == 2);
    for (const auto& [name, tensor] : int8.parameters) {
      const bool integer = name == "backbone.conv2.weight" || name == "backbone.conv3.weight" ||
                           name == "rpn.conv.weight" || name == "head.fc6.weight";
      INFO(name);
      CHECK(tensor.dtype() == (integer ? DType::i8 : DType::f32));
      CHECK(int8.int8.tensors.contains(name + ".scales") == integer);
    }
    save_checkpoint(dir.path() / "int8.h5", int8);
    const Detector exact = Detector::load(dir.path() / "f32.h5"),
                   integers = Detector::load(dir.path() / "int8.h5"),
                   rounded = Detector::load(dir.path() / "int8.h5", {}, {}, /*as_float=*/true);
    CHECK(exact.precision() == "f32");
    CHECK(integers.precision() == "int8 (4 of 9 layers; max over 3 pictures)");
    CHECK(rounded.precision() ==
          "int8 (4 of 9 layers; max over 3 pictures), computed in float32 here");
    const auto expected = features(exact).to_vector<float>();
    CHECK(relative_l2(features(integers).to_vector<float>(), expected) < 0.05);
    CHECK(relative_l2(features(rounded).to_vector<float>(), expected) < 0.02);
    CHECK(relative_l2(features(integers).to_vector<float>(), expected) > 0);
    CHECK(!integers.detect(picture(9).data(), 80, 64).empty());
  }
}

TEST_CASE("8-bit convolutions of a graph of layers take their batch norms along") {
  const TempDir dir;
  const Checkpoint f32 = untrained({"backbone.name=resnet18_v2"});
  save_checkpoint(dir.path() / "int8.h5", quantized(dir.path() / "f32.h5", f32));
  const Detector exact = Detector::load(dir.path() / "f32.h5"),
                 integers = Detector::load(dir.path() / "int8.h5");
  const auto expected = features(exact).to_vector<float>();
  const double apart = relative_l2(features(integers).to_vector<float>(), expected);
  CHECK(apart < 0.1);
  CHECK(apart > 0);
}

TEST_CASE("8-bit models are computed in float32 on a GPU") {
  const TempDir dir;
  save_checkpoint(dir.path() / "int8.h5", quantized(dir.path() / "f32.h5", untrained()));
  const Detector host = Detector::load(dir.path() / "int8.h5", {}, {}, /*as_float=*/true);
  for (const Device device : gpus()) {
    const Detector there = Detector::load(dir.path() / "int8.h5", {}, device);
    CHECK(there.precision().ends_with("computed in float32 here"));
    FRCNN_CHECK_SAME(features(there).to_vector<float>(), features(host).to_vector<float>(), 1e-4,
                     1e-4);
  }
}

TEST_CASE("8-bit models can be neither trained nor quantised again, nor imported") {
  const TempDir dir;
  const Checkpoint f32 = untrained(), int8 = quantized(dir.path() / "f32.h5", f32);
  save_checkpoint(dir.path() / "int8.h5", int8);
  Trainer trainer(parse_config(kSmallToml, "test"), {"a", "b"}, 10);
  const char* refusal =
      "holds 8-bit weights for inference (`frcnn quantize`) and cannot be trained";
  CHECK_THROWS_WITH(trainer.restore(int8), Catch::Contains(refusal));
  CHECK_THROWS_WITH(trainer.begin_from({{"backbone.", &int8}}), Catch::Contains(refusal));
  const std::string file = (dir.path() / "int8.h5").string();
  CHECK_THROWS_WITH(
      Trainer(parse_config(kSmallToml, "test", {"backbone.weights=" + file}), {"a", "b"}, 10),
      Catch::Contains("8-bit weight for inference"));
  CHECK_THROWS_WITH(require_float(int8, "x", "be quantised again"),
                    Catch::Contains("cannot be quantised again"));
  CHECK_THROWS_WITH(Detector::load(file).use_bf16(), Catch::Contains("the model is int8"));
}

TEST_CASE("8-bit models with missing or wrong parts are refused") {
  const TempDir dir;
  const Checkpoint int8 = quantized(dir.path() / "f32.h5", untrained());
  const auto refuses = [&](const auto& change, const char* message) {
    Checkpoint broken = int8;
    change(broken);
    save_checkpoint(dir.path() / "broken.h5", broken);
    CHECK_THROWS_WITH(Detector::load(dir.path() / "broken.h5"), Catch::Contains(message));
  };
  refuses([](Checkpoint& c) { c.int8.tensors.erase("head.fc6.weight.scales"); },
          "int8/head.fc6.weight.scales is missing");
  refuses([](Checkpoint& c) { c.int8.tensors.at("head.fc6.weight.scales") = Tensor::zeros({3}); },
          "expected one scale for each of 16 outputs");
  refuses(
      [](Checkpoint& c) {
        c.int8.tensors.at("head.fc6.weight.input") =
            Tensor::from({2}, std::vector<double>{std::nan(""), 0});
      },
      "expected a scale above 0");
  refuses(
      [](Checkpoint& c) {
        c.parameters.at("head.fc6.weight") = Tensor::from({16, 3}, std::vector<int8_t>(48, 1));
      },
      "head.fc6.weight has shape (16, 3), the model needs");
}

TEST_CASE("bf16 detectors are near float32 ones") {
  if (!kernels::cpu::has_bf16()) return;
  const TempDir dir;
  save_checkpoint(dir.path() / "f32.h5", untrained({"backbone.batch_norm=true"}));
  Detector detector = Detector::load(dir.path() / "f32.h5");
  const auto expected = features(detector).to_vector<float>();
  detector.use_bf16();
  CHECK(detector.precision() == "bf16");
  CHECK(relative_l2(features(detector).to_vector<float>(), expected) < 0.02);
}

TEST_CASE("layers to keep in float32 are named, or refused") {
  const TempDir dir;
  save_checkpoint(dir.path() / "f32.h5", untrained());
  const Detector detector = Detector::load(dir.path() / "f32.h5");
  CHECK(int8_layers(detector.model(), {"backbone.*"}) ==
        std::vector<std::string>{"rpn.conv.weight", "head.fc6.weight"});
  CHECK(int8_layers(detector.model(), {"head.fc6", "rpn.conv"}).size() == 2);
  CHECK_THROWS_WITH(int8_layers(detector.model(), {"head.fc9"}),
                    Catch::Contains("--keep head.fc9: no layer"));
}

TEST_CASE("ranges: max, percentile and entropy of known values") {
  ValueHistogram all;
  std::vector<float> values;
  for (int i = 1; i <= 10000; ++i) values.push_back(static_cast<float>(i) / 10000);
  all.add(std::span(values).first(5000));
  all.add(std::span(values).last(5000));  // the range doubles
  CHECK(all.count() == 10000);
  CHECK(!all.has_negative());
  CHECK(all.limit({RangeRule::Kind::max, 100}, 255) == Approx(1));
  CHECK(all.limit({RangeRule::Kind::percentile, 90}, 255) == Approx(0.9).margin(0.001));
  // Even values: cutting any off loses more than coarser steps.
  CHECK(all.limit({RangeRule::Kind::entropy, 100}, 255) > 0.9);
  // One value far out among many that are mostly small: max keeps it, the others do not.
  ValueHistogram tail;
  for (float& v : values) v = -std::log(1.0001f - v);
  tail.add(values);
  tail.add(std::vector<float>{-1000});
  CHECK(tail.has_negative());
  CHECK(tail.limit({RangeRule::Kind::max, 100}, 127) == 1000);
  CHECK(tail.limit({RangeRule::Kind::percentile, 99.9}, 127) < 10);
  CHECK(tail.limit({RangeRule::Kind::entropy, 100}, 127) < 100);
  ValueHistogram zeros;
  zeros.add(std::vector<float>(10, 0.0f), 4);
  CHECK(zeros.count() == 6);
  CHECK(zeros.limit({}, 255) == 0);
  CHECK_THROWS_WITH(zeros.add(std::vector<float>{std::nanf("")}), Catch::Contains("not finite"));
}
