// The search for the first number that is not finite, and capsules that repeat it.
#include "model/nan_capsule.h"

#include <cmath>
#include <limits>

#include "tests/support/devices.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Config small(double lr = 0.01, double lambda = 1) {
  Config config;
  config.model.backbone.name = "tiny";
  config.model.backbone.frozen_until = "conv1";
  config.model.backbone.tiny_channels = {4, 6, 6};
  config.model.backbone.tiny_strides = {2, 2, 1};
  config.model.backbone.batch_norm = false;
  config.model.anchors.sizes = {8, 16};
  config.model.anchors.rounding = "none";
  config.model.rpn.channels = 5;
  config.model.rpn.batch = 32;
  config.model.rpn.only_inside = false;
  config.model.rpn.train = {100, 20, 0.7, 2};
  config.model.roi.pooled_height = config.model.roi.pooled_width = 2;
  config.model.roi.hidden = {7};
  config.model.roi.batch = 8;
  config.optimizer.lr = lr;
  config.model.rpn.lambda = config.model.roi.lambda = lambda;
  config.train.batch = 2;
  config.train.iter_size = 2;
  return config;
}

ModelInput pictures(uint64_t seed) {
  const int64_t h = 32, w = 40;
  ModelInput input;
  input.images =
      Tensor::from({2, 3, h, w}, random_vector<float>(static_cast<size_t>(6 * h * w), -1, 1, seed));
  input.sizes = {{h, w, 1, 1, h, w}, {h, w - 8, 1, 1, h, w - 8}};
  input.names = {fmt::format("a{}", seed), fmt::format("b{}", seed)};
  return input;
}
const std::vector<GroundTruth> kTruth = {{{{4, 4, 18, 20}, {14, 10, 30, 26}}, {0, 2}},
                                         {{{2, 6, 12, 20}}, {1}}};

NanCapsule capsule_of(const Trainer& trainer, const std::string& message) {
  NanCapsule capsule;
  capsule.state = trainer.checkpoint(0, 0);
  capsule.device = "cpu";
  capsule.message = message;
  for (const KeptPass& kept : trainer.kept_passes())
    capsule.passes.push_back(
        {kept.step, kept.input, kept.truth, kept.input.names, {"first.png", "second.png"}});
  return capsule;
}

/// Through a file and back.
NanCapsule stored(const NanCapsule& capsule) {
  const TempDir dir;
  save_capsule(dir.path() / "x.capsule.h5", capsule);
  return load_capsule(dir.path() / "x.capsule.h5");
}

/// One update of two passes; the message of the NonFiniteError, "" when there is none.
std::string update(Trainer& trainer, const ModelInput& first, const ModelInput& second) {
  try {
    trainer.accumulate(first, kTruth);
    trainer.accumulate(second, kTruth);
    trainer.update();
  } catch (const NonFiniteError& error) {
    return error.what();
  }
  return "";
}

Tensor weights(Trainer& trainer, const std::string& name) {
  const Parameter* p = trainer.model().parameters().find(name);
  REQUIRE(p != nullptr);
  return p->tensor;
}

const std::vector<std::string> kClasses = {"a", "b", "c"};

}  // namespace

TEST_CASE("NaN capsule: a weight that is NaN is named, with the state of the step") {
  Trainer trainer(small(), kClasses, 10);
  CHECK(update(trainer, pictures(1), pictures(2)).empty());
  Tensor w = weights(trainer, "rpn.conv.weight");
  w.data<float>()[7] = kNan;
  w.bump_version();
  const std::string message = update(trainer, pictures(3), pictures(4));
  CHECK_THAT(message, Catch::Matchers::Contains("step 2"));
  const NanCapsule capsule = stored(capsule_of(trainer, message));
  CHECK(capsule.step() == 2);
  CHECK(capsule.message == message);
  const auto found = replay(capsule);
  REQUIRE(found);
  CHECK(found->what.phase == "weights before the step");
  CHECK(found->what.layer == "rpn.conv.weight");
  CHECK(found->what.nan == 1);
  CHECK(found->what.infinite == 0);
  CHECK(found->what.min < 0);
  // The same without the file.
  CHECK(replay(capsule_of(trainer, ""))->what == found->what);
}

TEST_CASE("NaN capsule: a picture with an infinite value is named") {
  Trainer trainer(small(), kClasses, 10);
  ModelInput bad = pictures(4);
  bad.images.data<float>()[3 * 32 * 40 + 5] = kInf;  // of the second picture
  CHECK(!update(trainer, pictures(3), bad).empty());
  const NanCapsule capsule = stored(capsule_of(trainer, "x"));
  REQUIRE(capsule.passes.size() == 2);
  const auto found = replay(capsule);
  REQUIRE(found);
  CHECK(found->pass == 1);
  CHECK(found->what.phase == "input");
  CHECK(found->what.infinite == 1);
  CHECK(found->what.images == std::vector<size_t>{1});
  CHECK(
      describe(capsule, *found) ==
      "input: batch, pixels: 1 of 7680 values are not finite (0 NaN, 1 infinite; the others from " +
          fmt::format("{:.6g} to {:.6g}", found->what.min, found->what.max) +
          "); image b4 (second.png); step 1");
}

TEST_CASE("NaN capsule: an operation that overflows is named with its layer, frozen ones too") {
  for (const std::string layer : {"backbone.conv1", "backbone.conv3", "rpn.conv", "head.fc6"}) {
    INFO(layer);
    Trainer trainer(small(), kClasses, 10);
    Tensor w = weights(trainer, layer + ".weight");
    for (float& x : w.span<float>()) x = 3e38F;
    w.bump_version();
    CHECK(!update(trainer, pictures(3), pictures(4)).empty());
    const auto found = replay(stored(capsule_of(trainer, "x")));
    REQUIRE(found);
    CHECK(found->what.phase == "forward");
    CHECK(found->what.op == (layer == "head.fc6" ? "linear" : "conv2d"));
    CHECK(found->what.layer == layer);
    CHECK(found->what.tensor == "output");
    CHECK(found->what.infinite + found->what.nan > 0);
    CHECK(found->pass == 0);
  }
}

TEST_CASE("NaN capsule: an absurd learning rate stops the next step at its first overflow") {
  Trainer trainer(small(10, 1e12), kClasses, 10);
  std::string message;
  for (int step = 0; step < 4 && message.empty(); ++step)
    message = update(trainer, pictures(3), pictures(4));
  REQUIRE(!message.empty());
  const NanCapsule capsule = stored(capsule_of(trainer, message));
  const auto found = replay(capsule);
  REQUIRE(found);
  CHECK(!found->what.layer.empty());
  CHECK(!found->what.string().empty());
  // Weights that became infinite are not saved as a checkpoint.
  Trainer other(small(), kClasses, 10);
  other.check_finite(other.checkpoint(0, 0));
  weights(other, "head.cls.bias").fill(kInf);
  CHECK_THROWS_WITH(other.check_finite(other.checkpoint(0, 0)),
                    Catch::Matchers::Contains("head.cls.bias"));
}

TEST_CASE("NaN capsule: a GPU's run is noticed where it is collected, and repeated on the CPU") {
  for (const Device device : gpus()) {
    INFO(device.name());
    Trainer trainer(small(10, 1e12), kClasses, 10, device);
    std::string message;
    try {
      for (int step = 0; step < 4; ++step) CHECK(update(trainer, pictures(3), pictures(4)).empty());
      trainer.collect();
    } catch (const NonFiniteError& error) {
      message = error.what();
    }
    CHECK_THAT(message, Catch::Matchers::Contains("step"));
    const NanCapsule capsule = stored(capsule_of(trainer, message));
    CHECK(capsule.passes.size() == 8);
    const auto found = replay(capsule);
    REQUIRE(found);
    CHECK(!found->what.layer.empty());
  }
}

TEST_CASE("NaN capsule: gradients that overflow are named in the backward pass") {
  Config config = small();
  config.model.rpn.lambda = 1e38;  // the loss stays finite, its gradients do not
  config.model.rpn.box_loss = "mse";
  config.model.roi.lambda = 0;
  Trainer trainer(config, kClasses, 10);
  Tensor w = weights(trainer, "rpn.box.weight");
  for (float& x : w.span<float>()) x *= 1e-3F;
  Tensor conv = weights(trainer, "backbone.conv3.weight");
  for (float& x : conv.span<float>()) x *= 1e3F;
  w.bump_version();
  conv.bump_version();
  const std::string message = update(trainer, pictures(3), pictures(4));
  if (message.empty()) return;  // finite after all: nothing to be named
  const auto found = replay(stored(capsule_of(trainer, message)));
  REQUIRE(found);
  CHECK((found->what.phase == "backward" || found->what.phase == "forward" ||
         found->what.phase == "gradients"));
}

TEST_CASE("NaN capsule: a sound step is repeated without a finding; other files are refused") {
  Trainer trainer(small(), kClasses, 10);
  CHECK(update(trainer, pictures(1), pictures(2)).empty());
  Trainer before(small(), kClasses, 10);  // the state before that step
  NanCapsule capsule = capsule_of(before, "nothing");
  capsule.passes = capsule_of(trainer, "").passes;
  CHECK(!replay(stored(capsule)));
  // Its watched passes compute what unwatched ones do.
  NonFiniteSearch search(before.model());
  before.watch_tapes([&](Tape& tape) { search.attach(tape); });
  CHECK(update(before, pictures(1), pictures(2)).empty());
  for (const Parameter& p : trainer.model().parameters().all())
    CHECK(p.tensor.to_vector<float>() == weights(before, p.name).to_vector<float>());

  const TempDir dir;
  save_checkpoint(dir.path() / "model.h5", trainer.checkpoint(0, 0));
  CHECK_THROWS_WITH(load_capsule(dir.path() / "model.h5"), Catch::Matchers::Contains("model.h5"));
  CHECK_THROWS_AS(load_capsule(dir.path() / "none.h5"), Error);
}
