// A whole detector on a GPU (under emulation where there is none) against the CPU.
#include <cmath>

#include "engine/device.h"
#include "engine/memory.h"
#include "kernels/launch/gpu.h"
#include "model/faster_rcnn.h"
#include "model/options.h"
#include "model/trainer.h"
#include "tests/model/small_detector.h"
#include "tests/support/devices.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

/// kSmallToml with pictures in pairs, two passes per update, dropout and clipped gradients.
Config config_with(const std::vector<std::string>& settings) {
  std::vector<std::string> all = {"backbone.batch_norm=false", "roi.dropout=0.2",
                                  "optimizer.clip_norm=5", "train.batch=2", "train.iter_size=2"};
  all.insert(all.end(), settings.begin(), settings.end());
  return parse_config(kSmallToml, "test", all);
}

/// Two pictures of noise; `wide` makes another shape of input.
ModelInput pictures(bool wide, uint64_t seed) {
  const int64_t h = 64, w = wide ? 96 : 72;
  ModelInput input;
  input.images =
      Tensor::from({2, 3, h, w}, random_vector<float>(static_cast<size_t>(6 * h * w), -1, 1, seed));
  input.sizes = {{h, w, 1, 1}, {h, w - 8, 1, 1}};
  return input;
}
std::vector<GroundTruth> objects() {
  return {{{{4, 6, 30, 28}, {20, 20, 60, 58}}, {0, 2}}, {{{10, 8, 40, 44}}, {1}}};
}

/// Losses of every update of a run of 6 on inputs of two shapes, and the weights it ends with. The
/// seed of the pictures is one for which no activation hangs on the last bit at a ReLU's kink.
struct Run {
  std::vector<double> losses;
  std::vector<std::vector<float>> weights;
  std::vector<std::string> names;
};
Run train(const Config& config, Device device) {
  Trainer trainer(config, {"a", "b", "c"}, 8, device);
  Run run;
  for (int step = 0; step < 6; ++step) {
    for (int pass = 0; pass < config.train.iter_size; ++pass)
      trainer.accumulate(pictures(step % 2 == 1, static_cast<uint64_t>(500 + 10 * step + pass)),
                         objects());
    const StepStats stats = trainer.update();
    const StepStats seen = device.is_gpu() ? trainer.collect() : stats;
    CHECK(seen.updates == 1);
    CHECK(seen.step == step + 1);
    for (const double value :
         {seen.total, seen.rpn_class, seen.rpn_box, seen.roi_class, seen.roi_box, seen.grad_norm})
      run.losses.push_back(value);
  }
  for (const Parameter& p : trainer.model().parameters().all()) {
    run.weights.push_back(p.tensor.to_vector<float>());
    run.names.push_back(p.name);
  }
  return run;
}

}  // namespace

TEST_CASE("device: six updates with two shapes of input follow the CPU's losses and weights") {
  for (const std::string method : {"sgd", "adam"})
    for (const std::string objectness : {"softmax", "sigmoid"}) {
      const std::string norm = objectness == "softmax" ? "false" : "true";
      Config config = config_with({"optimizer.method=" + method, "rpn.objectness=" + objectness,
                                   "backbone.batch_norm=" + norm});
      if (method == "adam") config.optimizer.lr = 0.001;
      const Run expected = train(config, Device{});
      for (const Device device : gpus()) {
        INFO(device.name() << " " << method << " " << objectness);
        const Run actual = train(config, device);
        FRCNN_CHECK_SAME(actual.losses, expected.losses, 1e-4, 1e-5);
        for (size_t i = 0; i < expected.weights.size(); ++i) {
          INFO(expected.names[i]);
          CHECK(relative_l2(actual.weights[i], expected.weights[i]) < 2e-4);
        }
        // The same run again gives the same bits.
        const Run again = train(config, device);
        CHECK(again.losses == actual.losses);
        CHECK(again.weights == actual.weights);
      }
    }
}

TEST_CASE("device: detections equal the CPU's") {
  for (const std::string agnostic : {"false", "true"}) {
    const Config config = config_with({"test.score=0.2", "roi.class_agnostic=" + agnostic});
    const FasterRcnn on_cpu(config.model, 3, 5);
    const auto expected = on_cpu.detect(pictures(false, 3));
    REQUIRE(!expected[0].empty());
    for (const Device device : gpus()) {
      INFO(device.name());
      const FasterRcnn model(config.model, 3, 5, DType::f32, true, device);
      model.detect(pictures(false, 4));                     // as it comes
      const auto other = model.detect(pictures(false, 5));  // recorded, with other pictures
      CHECK(other.size() == 2);
      const auto found = model.detect(pictures(false, 3));  // replayed
      REQUIRE(found.size() == expected.size());
      for (size_t n = 0; n < found.size(); ++n) {
        REQUIRE(found[n].size() == expected[n].size());
        for (size_t i = 0; i < found[n].size(); ++i) {
          CHECK(found[n][i].label == expected[n][i].label);
          CHECK(std::abs(found[n][i].score - expected[n][i].score) < 1e-5f);
          CHECK(std::abs(found[n][i].box.x1 - expected[n][i].box.x1) < 1e-3f);
          CHECK(std::abs(found[n][i].box.y2 - expected[n][i].box.y2) < 1e-3f);
        }
      }
    }
  }
}

TEST_CASE("device: recorded detections follow weights and thresholds that change") {
  const Config config = config_with({"train.iter_size=1", "test.score=0.2"});
  for (const Device device : gpus()) {
    Trainer on_cpu(config, {"a", "b", "c"}, 8), trainer(config, {"a", "b", "c"}, 8, device);
    const auto scores = [&](FasterRcnn& model) {
      std::vector<float> values;
      for (const auto& image : model.detect(pictures(true, 7)))
        for (const ScoredBox& box : image) values.push_back(box.score);
      return values;
    };
    for (int step = 0; step < 4; ++step) {
      FRCNN_CHECK_SAME(scores(trainer.model()), scores(on_cpu.model()), 1e-4, 1e-5);
      for (Trainer* each : {&on_cpu, &trainer}) {
        each->accumulate(pictures(false, static_cast<uint64_t>(900 + step)), objects());
        each->update();
      }
    }
    TestConfig test = config.model.test;
    test.max_detections = 1;
    trainer.model().set_test(test);
    CHECK(trainer.model().detect(pictures(true, 7))[0].size() == 1);
  }
}

#if FRCNN_HAVE_EMULATION
TEST_CASE("device: between two log points nothing waits for the device") {
  using kernels::Backend;
  const Config config = config_with({"train.iter_size=1"});
  Trainer trainer(config, {"a", "b", "c"}, 100, choose_device("emulated").device);
  const auto before = kernels::gpu::activity<Backend::emulated>();
  for (int step = 0; step < 5; ++step) {
    trainer.accumulate(pictures(false, static_cast<uint64_t>(step)), objects());
    CHECK(trainer.update().updates == 0);
  }
  const auto after = kernels::gpu::activity<Backend::emulated>();
  CHECK(after.to_host == before.to_host);
  CHECK(after.waits == before.waits);
  CHECK(after.launches > before.launches);
  CHECK(trainer.collect().updates == 5);
  CHECK(trainer.collect().updates == 0);
}

TEST_CASE("device: a training step is graphs alone: one for each pass, one for the update") {
  using kernels::Backend;
  for (const int passes : {1, 3})
    for (const char* clip : {"0.0", "5.0"}) {
      const Config config = config_with(
          {fmt::format("train.iter_size={}", passes), fmt::format("optimizer.clip_norm={}", clip)});
      Trainer trainer(config, {"a", "b", "c"}, 100, choose_device("emulated").device);
      const auto step = [&](uint64_t seed) {
        for (int pass = 0; pass < passes; ++pass)
          trainer.accumulate(pictures(false, 10 * seed + static_cast<uint64_t>(pass)), objects());
        trainer.update();
      };
      step(1);  // as it comes; with three passes, the third repeats the second: recorded
      step(2);  // the first pass and the update are recorded
      trainer.collect();
      const auto before = kernels::gpu::activity<Backend::emulated>();
      for (uint64_t seed = 3; seed < 6; ++seed) step(seed);
      const auto after = kernels::gpu::activity<Backend::emulated>();
      INFO(passes << " passes, clip_norm " << clip);
      CHECK(after.launches > before.launches);
      CHECK(after.launches - before.launches == after.replayed - before.replayed);
      CHECK(after.replays - before.replays == 3 * (passes + 1));
      CHECK(trainer.collect().updates == 3);
    }
}

TEST_CASE("device: a loss that is not finite is reported at the next log point") {
  const Config config = config_with({"train.iter_size=1"});
  Trainer trainer(config, {"a", "b", "c"}, 100, choose_device("emulated").device);
  ModelInput broken = pictures(false, 1);
  broken.images.data<float>()[100] = std::nanf("");
  trainer.accumulate(broken, objects());
  trainer.update();
  CHECK_THROWS_WITH(trainer.collect(), Catch::Matchers::Contains("steps 1 to 1: the loss"));
}

TEST_CASE("device: a checkpoint of one device goes on on another") {
  const Config config = config_with({"train.iter_size=1"});
  const auto steps = [&](Trainer& trainer, int from, int to) {
    for (int step = from; step < to; ++step) {
      trainer.accumulate(pictures(false, static_cast<uint64_t>(step)), objects());
      trainer.update();
    }
  };
  Trainer straight(config, {"a", "b", "c"}, 8), first(config, {"a", "b", "c"}, 8);
  steps(straight, 0, 6);
  steps(first, 0, 3);
  Trainer second(config, {"a", "b", "c"}, 8, choose_device("emulated").device);
  second.restore(first.checkpoint(0, 0));
  steps(second, 3, 6);
  const auto& expected = straight.model().parameters().all();
  const auto& actual = second.model().parameters().all();
  for (size_t i = 0; i < expected.size(); ++i)
    CHECK(relative_l2(actual[i].tensor.to_vector<float>(), expected[i].tensor.to_vector<float>()) <
          2e-4);
}
#endif
