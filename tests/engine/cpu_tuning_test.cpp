// The measured choice between direct convolution and Winograd on the CPU.
#include <algorithm>
#include <filesystem>

#include "engine/ops/conv2d.h"
#include "engine/tape.h"
#include "engine/tuning.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

namespace fs = std::filesystem;
using kernels::ConvAlgorithm;

/// Tuning of the CPU with seconds by the candidate's name.
class HandedOutTimes {
 public:
  HandedOutTimes(const fs::path& file, double direct, double winograd, bool cpu = true) {
    TuningSettings tuning;
    tuning.measure = true;
    tuning.cpu = cpu;
    tuning.file = file;
    tuning.program = "test";
    tuning.stopwatch = [=, this](const TuningKey& key, const std::string& name,
                                 const std::function<void()>& run) {
      run();
      measured.push_back(key.family.substr(0, key.family.find(' ', 7)) + " " + name);
      return name == "direct" ? direct : winograd;
    };
    set_tuning(tuning);
  }
  ~HandedOutTimes() { set_tuning({}); }
  HandedOutTimes(const HandedOutTimes&) = delete;
  HandedOutTimes& operator=(const HandedOutTimes&) = delete;
  std::vector<std::string> measured;
};

/// Output, gradient of the input, gradients of weights and bias.
std::vector<std::vector<float>> pass(ConvAlgorithm algorithm) {
  const auto numbers = [](const Shape& shape, uint64_t seed) {
    return Tensor::from(shape,
                        random_vector<float>(static_cast<size_t>(shape.numel()), -1, 1, seed));
  };
  Tensor x = numbers({1, 64, 16, 20}, 1).set_requires_grad(true);
  Tensor w = numbers({64, 64, 3, 3}, 2).set_requires_grad(true);
  Tensor b = numbers({64}, 3).set_requires_grad(true);
  Conv2dOptions options = Conv2dOptions::square(1, 1, true);
  options.algorithm = algorithm;
  Tape tape;
  Tensor y;
  {
    Tape::Scope recording(tape);
    y = conv2d(x, w, b, options);
  }
  tape.backward({{y, numbers(y.shape(), 4).to_block(y.channel_block())}});
  return {y.to_vector<float>(), x.grad().to_vector<float>(), w.grad().to_vector<float>(),
          b.grad().to_vector<float>()};
}

/// oneDNN has Winograd for AVX-512 only: elsewhere both forms are the same plan.
bool has_winograd() {
  kernels::Conv2dParams p;
  p.input = {1, 64, 16, 20, 16};
  p.out_channels = 64;
  p.out_block = 16;
  p.pad_h = p.pad_w = 1;
  p.algorithm = ConvAlgorithm::winograd;
  if (kernels::cpu::preferred_channel_block() != 16) return false;
  return kernels::cpu::conv2d_plan(p, kernels::LayerPass::forward_training)
             ->implementation()
             .find("wino") != std::string::npos;
}

}  // namespace

TEST_CASE("CPU tuning: every pass of a convolution takes the form that was faster") {
  if (!has_winograd()) return;
  const auto direct = pass(ConvAlgorithm::direct), winograd = pass(ConvAlgorithm::winograd);
  REQUIRE(direct[0] != winograd[0]);  // other last bits, so that the tests below tell them apart
  TempDir dir;
  const fs::path file = dir.path() / "tuning.json";
  {
    const HandedOutTimes times(file, 1, 2);
    CHECK(pass(ConvAlgorithm::automatic) == direct);
    CHECK(times.measured.size() == 6);
    CHECK(std::ranges::count(times.measured, "conv2d forward winograd") == 1);
    CHECK(std::ranges::count(times.measured, "conv2d backward_data direct") == 1);
    CHECK(std::ranges::count(times.measured, "conv2d backward_weights direct") == 1);
  }
  {  // remembered, whatever would be measured now
    const HandedOutTimes times(file, 2, 1);
    CHECK(pass(ConvAlgorithm::automatic) == direct);
    CHECK(pass(ConvAlgorithm::winograd) == winograd);  // asked for by name
    CHECK(times.measured.empty());
  }
  {
    const HandedOutTimes times(dir.path() / "other.json", 2, 1);
    CHECK(pass(ConvAlgorithm::automatic) == winograd);
  }
}

TEST_CASE("CPU tuning: off unless it is asked for, and a resumed run keeps its choices") {
  if (!has_winograd()) return;
  const auto direct = pass(ConvAlgorithm::direct), winograd = pass(ConvAlgorithm::winograd);
  TempDir dir;
  const fs::path file = dir.path() / "tuning.json", run = dir.path() / "run.json";
  {
    const HandedOutTimes times(file, 1, 2, /*cpu=*/false);
    CHECK(tuner_of(Device{}) == nullptr);
    CHECK(pass(ConvAlgorithm::automatic) == winograd);  // the rule, from 64 channels on
    keep_run_tuning(Device{}, run, /*resume=*/true);
    CHECK(tuner_of(Device{}) == nullptr);
    CHECK_FALSE(fs::exists(run));
  }
  {
    const HandedOutTimes times(file, 1, 2);
    keep_run_tuning(Device{}, run, /*resume=*/true);
    CHECK(pass(ConvAlgorithm::automatic) == direct);
    CHECK(fs::exists(run));
  }
  {  // without the option, without the machine's file
    fs::remove(file);
    const HandedOutTimes times(file, 2, 1, /*cpu=*/false);
    keep_run_tuning(Device{}, run, /*resume=*/true);
    CHECK(pass(ConvAlgorithm::automatic) == direct);
    CHECK(times.measured.empty());
  }
  CHECK(pass(ConvAlgorithm::automatic) == winograd);
}
