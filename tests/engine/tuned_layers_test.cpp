// Layers that choose among kernels by measuring, under emulation with seconds that the test hands
// out.
#if FRCNN_HAVE_EMULATION
#include <algorithm>
#include <filesystem>
#include <map>

#include "engine/gpu_math.h"
#include "engine/ops/conv2d.h"
#include "engine/ops/gpu_layers.h"
#include "engine/ops/linear.h"
#include "engine/recorded_step.h"
#include "engine/tape.h"
#include "engine/tuning.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

namespace fs = std::filesystem;

/// Tuning with seconds by the candidate's name; the rest take a second. The candidate `broken` is
/// not run, as if it wrote nothing.
struct FakeTuning {
  explicit FakeTuning(std::map<std::string, double> by_name, const fs::path& file = {},
                      GpuMath math = GpuMath::f32, const std::string& broken = {}) {
    set_gpu_math(math);
    TuningSettings tuning;
    tuning.measure = true;
    tuning.file = file.empty() ? dir.path() / "tuning.json" : file;
    tuning.program = "test";
    tuning.warn = [this](const std::string& text) { warnings.push_back(text); };
    tuning.stopwatch = [this, by_name, broken](const TuningKey& key, const std::string& name,
                                               const std::function<void()>& run) {
      if (name != broken) run();
      measured.push_back(key.text() + " | " + name);
      const auto found = by_name.find(name);
      return found == by_name.end() ? 1.0 : found->second;
    };
    set_tuning(tuning);
  }
  ~FakeTuning() {
    set_tuning({});
    set_gpu_math(GpuMath::f32);
  }
  FakeTuning(const FakeTuning&) = delete;
  FakeTuning& operator=(const FakeTuning&) = delete;

  size_t asked(const std::string& family, const std::string& candidate) const {
    return static_cast<size_t>(
        std::count_if(measured.begin(), measured.end(), [&](const std::string& text) {
          return text.starts_with(family) && text.ends_with("| " + candidate);
        }));
  }
  TempDir dir;
  std::vector<std::string> warnings, measured;
};

const Device kEmulated{Device::Type::emulated, 0};

Tensor numbers(const Shape& shape, uint64_t seed) {
  return Tensor::from(shape, random_vector<float>(static_cast<size_t>(shape.numel()), -1, 1, seed));
}

/// Output and gradients of a convolution and a dense layer, one after the other.
std::vector<float> pass_of_layers(Device device) {
  std::vector<Tensor> leaves;
  for (const Tensor& x : {numbers({1, 8, 12, 10}, 1), numbers({16, 8, 3, 3}, 2), numbers({16}, 3),
                          numbers({6, 40}, 4), numbers({24, 40}, 5), numbers({24}, 6)})
    leaves.push_back(x.to(device).set_requires_grad(true));
  Tape tape;
  Tensor y, z;
  {
    const Tape::Scope recording(tape);
    y = conv2d(leaves[0], leaves[1], leaves[2], Conv2dOptions::square(1, 1, true));
    z = linear(leaves[3], leaves[4], leaves[5], true);
  }
  tape.backward({{y, numbers(y.shape(), 7).to(device).to_block(y.channel_block())},
                 {z, numbers(z.shape(), 8).to(device)}});
  std::vector<float> all = y.to_vector<float>();
  const auto add = [&](const Tensor& x) {
    const std::vector<float> values = x.to_vector<float>();
    all.insert(all.end(), values.begin(), values.end());
  };
  add(z);
  for (const Tensor& leaf : leaves) add(leaf.grad());
  return all;
}

}  // namespace

TEST_CASE("autotune: layers take what was measured fastest, each pass by itself") {
  const std::vector<float> fixed = pass_of_layers(kEmulated);
  const FakeTuning tuning({{"winograd small", 0.5}, {"tiled large", 0.7}, {"registers", 0.5}});
  const std::vector<float> tuned = pass_of_layers(kEmulated);
  CHECK(relative_l2(tuned, fixed) < 1e-5);
  CHECK(tuned != fixed);  // Winograd's last bits are others
  const auto entries = read_tuning(tuning.dir.path() / "tuning.json").entries;
  std::map<std::string, std::string> chosen;
  for (const auto& [key, entry] : entries) chosen[key.substr(0, key.find(" f32"))] = entry.version;
  CHECK(chosen == std::map<std::string, std::string>{{"conv2d forward", "winograd small"},
                                                     {"conv2d backward_data", "winograd small"},
                                                     {"conv2d backward_weights", "tiled large"},
                                                     {"linear forward", "registers"},
                                                     {"linear backward_data", "registers"},
                                                     {"linear backward_weights", "registers"}});
  CHECK(tuning.asked("conv2d forward", "cublas_f32") == 1);
  CHECK(tuning.asked("conv2d", "mma_tf32 small") == 0);
  CHECK(tuning.warnings.empty());
  // The same again measures nothing and gives the same bits.
  const size_t measured = tuning.measured.size();
  CHECK(pass_of_layers(kEmulated) == tuned);
  CHECK(tuning.measured.size() == measured);
}

TEST_CASE("autotune: a file makes equal runs equal, whatever would be measured now") {
  const TempDir dir;
  const fs::path file = dir.path() / "tuning.json";
  std::vector<float> first;
  {
    const FakeTuning tuning({{"winograd large", 0.5}, {"split_k", 0.4}, {"tiled", 0.3}}, file);
    first = pass_of_layers(kEmulated);
  }
  const FakeTuning tuning({{"cublas_f32", 0.1}}, file);
  CHECK(pass_of_layers(kEmulated) == first);
  CHECK(tuning.measured.empty());
}

TEST_CASE("autotune: other arithmetic has other candidates and choices of its own") {
  const TempDir dir;
  const fs::path file = dir.path() / "tuning.json";
  const std::vector<float> fixed = pass_of_layers(kEmulated);
  {
    const FakeTuning tuning({{"mma_bf16 small", 0.1}}, file, GpuMath::tf32);
    CHECK(relative_l2(pass_of_layers(kEmulated), fixed) < 2e-3);
    CHECK(tuning.asked("conv2d forward tf32", "mma_tf32 small") == 1);
    CHECK(tuning.asked("conv2d forward tf32", "tiled small") == 1);
    CHECK(tuning.asked("conv2d", "mma_bf16 small") == 0);
  }
  const FakeTuning tuning({{"mma_bf16 small", 0.1}, {"mma_bf16", 0.1}}, file, GpuMath::bf16);
  const std::vector<float> rounded = pass_of_layers(kEmulated);
  CHECK(relative_l2(rounded, fixed) > 1e-4);
  CHECK(relative_l2(rounded, fixed) < 2e-2);
  CHECK(tuning.asked("conv2d forward bf16", "mma_bf16 small") == 1);
}

TEST_CASE("autotune: nothing is measured while a step is recorded, nor in a pause, nor when off") {
  const FakeTuning tuning({{"winograd small", 0.5}});
  {
    const TuningPause pause;
    pass_of_layers(kEmulated);
    CHECK(tuning.measured.empty());
  }
  const Tensor x = numbers({1, 8, 12, 10}, 1).to(kEmulated).to_block(8);
  const Tensor w = numbers({16, 8, 3, 3}, 2).to(kEmulated);
  Tensor y = Tensor::empty({1, 16, 12, 10}, DType::f32, kEmulated, 16);
  const auto work = [&] { y.copy_from(conv2d(x, w, Tensor(), Conv2dOptions::square(1, 1))); };
  RecordedSteps steps(kEmulated);
  std::vector<std::vector<float>> results;
  std::vector<size_t> measured;
  for (int i = 0; i < 3; ++i) {
    steps.run("step", work);
    results.push_back(y.to_vector<float>());
    measured.push_back(tuning.measured.size());
  }
  CHECK(measured[0] > 0);
  CHECK(measured[2] == measured[0]);
  CHECK(results[1] == results[0]);
  CHECK(results[2] == results[0]);

  // A shape that is first met while a step is recorded takes the fixed choice.
  RecordedSteps others(kEmulated);
  const Tensor wide = numbers({1, 8, 40, 50}, 1).to(kEmulated).to_block(8);
  bool recorded = false;
  const auto surprise = [&] {
    if (recorded) conv2d(wide, w, Tensor(), Conv2dOptions::square(1, 1));
  };
  others.run("step", surprise);
  recorded = true;
  CHECK_NOTHROW(others.run("step", surprise));
  CHECK(tuning.measured.size() == measured[0]);

  set_tuning({});
  CHECK(tuner_of(kEmulated) == nullptr);
  CHECK(tuner_of(Device{}) == nullptr);
}

TEST_CASE("autotune: a kernel that gives another result is not taken, however fast, and is named") {
  const FakeTuning tuning({{"winograd small", 0.1}, {"tiled large", 0.5}}, {}, GpuMath::f32,
                          "winograd small");
  const std::vector<float> fixed = [] {
    const TuningPause pause;
    return pass_of_layers(kEmulated);
  }();
  CHECK(relative_l2(pass_of_layers(kEmulated), fixed) < 1e-6);
  REQUIRE(tuning.warnings.size() == 2);  // forward and backward data
  CHECK_THAT(tuning.warnings[0],
             Catch::Matchers::Contains("winograd small gives another result than tiled"));
  for (const auto& [key, entry] : read_tuning(tuning.dir.path() / "tuning.json").entries)
    if (key.starts_with("conv2d")) CHECK(entry.version == "tiled large");
}

TEST_CASE("autotune: the name of the kernel that a layer would take") {
  kernels::Conv2dParams p;
  p.input = {1, 8, 12, 10, 8};
  p.out_channels = p.out_block = 16;
  p.pad_h = p.pad_w = 1;
  p.relu = true;
  const auto forward = kernels::LayerPass::forward_inference;
  CHECK(gpu_conv2d_kernel(kEmulated, p, forward) == "tiled");
  CHECK(gpu_linear_kernel(kEmulated, {6, 40, 24, true, true}, forward) == "split_k");
  const FakeTuning tuning({{"winograd small", 0.5}, {"registers", 0.5}});
  CHECK(gpu_conv2d_kernel(kEmulated, p, forward) == "tiled");
  CHECK(tuning.measured.empty());
  pass_of_layers(kEmulated);
  CHECK(gpu_conv2d_kernel(kEmulated, p, forward) == "winograd small");
  CHECK(gpu_linear_kernel(kEmulated, {6, 40, 24, true, true}, forward) == "registers");
}

TEST_CASE("autotune: a run's folder keeps its choices under emulation with a clock") {
  const TempDir dir;
  const fs::path run = dir.path() / "run" / "tuning.json";
  std::vector<float> first;
  {
    const FakeTuning tuning({{"winograd small", 0.5}, {"registers", 0.5}});
    keep_run_tuning(kEmulated, run, false);
    first = pass_of_layers(kEmulated);
    CHECK(read_tuning(run).entries.size() == 6);
  }
  const FakeTuning tuning({{"tiled small", 0.5}, {"tiled", 0.5}});
  keep_run_tuning(kEmulated, run, true);
  CHECK(pass_of_layers(kEmulated) == first);
  CHECK(tuning.measured.empty());
  keep_run_tuning(Device{}, run, true);  // nothing to do on the CPU
}
#endif
