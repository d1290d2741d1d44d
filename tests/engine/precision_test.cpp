// Rounded factors: the numbers themselves, layers on the CPU against layers of rounded operands,
// and against the GPU's kernels that round by themselves.
#include <cmath>
#include <limits>

#include "engine/gpu_math.h"
#include "engine/ops/conv2d.h"
#include "engine/ops/linear.h"
#include "engine/tape.h"
#include "kernels/elementwise/round_factors.h"
#include "kernels/launch/check.h"
#include "tests/support/devices.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

std::vector<float> rounded(const std::vector<float>& x, kernels::FactorRounding rounding) {
  GuardedBuffer<float> y(x.size());
  kernels::cpu::round_factors(static_cast<int64_t>(x.size()), rounding, x.data(), y.data());
  CHECK(y.guards_intact());
  return {y.data(), y.data() + x.size()};
}

/// What a layer gives and the gradients of all that goes in.
struct Pass {
  std::vector<float> y, dx, dw, db;
};

Tensor leaf(const Shape& shape, uint64_t seed, Device device) {
  const auto count = static_cast<size_t>(shape.numel());
  Tensor x = Tensor::from(shape, random_vector<float>(count, -1, 1, seed)).to(device);
  x.set_requires_grad(true);
  return x;
}

/// layer(x, w, b) forward and backward with a fixed cotangent.
template <typename Layer>
Pass run(Tensor x, Tensor w, Tensor b, const Layer& layer) {
  Tape tape;
  Tensor y;
  {
    const Tape::Scope recording(tape);
    y = layer(x, w, b);
  }
  Tensor dy = Tensor::empty(y.shape(), DType::f32, y.device(), y.channel_block());
  dy.copy_from(
      Tensor::from(y.shape(), random_vector<float>(static_cast<size_t>(y.numel()), -1, 1, 99)));
  Pass pass;
  pass.y = y.to_vector<float>();
  tape.backward({{y, dy}});
  pass.dx = x.grad().to_vector<float>();
  pass.dw = w.grad().to_vector<float>();
  pass.db = b.grad().to_vector<float>();
  return pass;
}

Pass conv_pass(Device device) {
  return run(leaf({2, 16, 9, 11}, 1, device), leaf({24, 16, 3, 3}, 2, device),
             leaf({24}, 3, device), [](const Tensor& x, const Tensor& w, const Tensor& b) {
               Conv2dOptions options;
               options.pad_h = options.pad_w = 1;
               return conv2d(x, w, b, options);
             });
}
Pass linear_pass(Device device) {
  return run(leaf({20, 64}, 4, device), leaf({32, 64}, 5, device), leaf({32}, 6, device),
             [](const Tensor& x, const Tensor& w, const Tensor& b) {
               return linear(x, w, b, /*relu=*/false);
             });
}

}  // namespace

TEST_CASE("precision: factors are rounded to 10 and 7 bits of fraction") {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto tf32 =
      rounded({1, 1 + 0x1p-10f, 1 + 0x1p-11f, 1 + 0x1.8p-11f, -1 - 0x1p-11f, inf, nan},
              kernels::FactorRounding::tf32);
  FRCNN_CHECK_SAME(std::vector<float>(tf32.begin(), tf32.begin() + 5),
                   (std::vector<float>{1, 1 + 0x1p-10f, 1 + 0x1p-10f, 1 + 0x1p-10f, -1 - 0x1p-10f}),
                   0, 0);
  CHECK((tf32[5] == inf && std::isnan(tf32[6])));
  const auto bf16 =
      rounded({1, 1 + 0x1p-7f, 1 + 0x1p-8f, 1 + 0x1.8p-7f, -1 - 0x1.2p-8f, inf, nan, 0x1p-140f},
              kernels::FactorRounding::bf16);
  FRCNN_CHECK_SAME(std::vector<float>(bf16.begin(), bf16.begin() + 5),
                   (std::vector<float>{1, 1 + 0x1p-7f, 1, 1 + 0x1p-6f, -1 - 0x1p-7f}), 0, 0);
  CHECK((bf16[5] == inf && std::isnan(bf16[6]) && bf16[7] == 0));
}

TEST_CASE("precision: the scope ends, and f32 is what it was") {
  const auto before = conv_pass(Device{});
  {
    const PrecisionScope scope(GpuMath::bf16);
    CHECK((cpu_math() == GpuMath::bf16 && gpu_math() == GpuMath::bf16));
    CHECK(conv_pass(Device{}).y != before.y);
  }
  CHECK((cpu_math() == GpuMath::f32 && gpu_math() == GpuMath::f32));
  CHECK(conv_pass(Device{}).y == before.y);
  CHECK_THROWS_WITH(gpu_math_by_name("fp16", "train.precision"),
                    mentions("train.precision fp16: expected f32, tf32 or bf16"));
}

TEST_CASE("precision: the CPU's rounded layers equal the GPU's, forward and backward") {
  for (const Device device : gpus())
    for (const GpuMath math : {GpuMath::tf32, GpuMath::bf16}) {
      INFO(device.name() << " " << name_of(math));
      const Pass exact_conv = conv_pass(Device{}), exact_linear = linear_pass(Device{});
      const PrecisionScope scope(math);
      const double step = math == GpuMath::tf32 ? 0x1p-11 : 0x1p-8;
      for (const bool conv : {true, false}) {
        INFO((conv ? "conv2d" : "linear"));
        const Pass cpu = conv ? conv_pass(Device{}) : linear_pass(Device{});
        const Pass gpu = conv ? conv_pass(device) : linear_pass(device);
        const Pass& exact = conv ? exact_conv : exact_linear;
        const std::pair<std::vector<float> Pass::*, const char*> parts[] = {
            {&Pass::y, "y"}, {&Pass::dx, "dx"}, {&Pass::dw, "dw"}, {&Pass::db, "db"}};
        for (const auto& [part, name] : parts) {
          INFO(name);
          // Equal but for the order of float32 sums ...
          CHECK(relative_l2(cpu.*part, gpu.*part) < 1e-6);
          // ... and as far from float32 as rounding two factors goes; db is no product.
          const double from_exact = relative_l2(cpu.*part, exact.*part);
          if (part == &Pass::db)
            CHECK(from_exact < 1e-6);
          else
            CHECK((from_exact > step / 20 && from_exact < 2 * step));
        }
      }
    }
}
