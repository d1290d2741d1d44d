#include "engine/gpu_self_test.h"

#include <cmath>
#include <functional>
#include <vector>

#include "engine/dispatch.h"
#include "engine/gpu_math.h"
#include "engine/ops/conv2d.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/linear.h"
#include "engine/ops/losses.h"
#include "engine/ops/norm.h"
#include "engine/ops/pooling.h"
#include "engine/tape.h"
#include "engine/tuning.h"
#include "kernels/boxes/nms.h"
#include "kernels/random/philox.h"

namespace frcnn {
namespace {

Tensor numbers(const Shape& shape, uint64_t step) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = 2 * kernels::random_uniform({7, kernels::kStreamTest, step}, i) - 1;
  return Tensor::from(shape, values);
}

using Operation = std::function<Tensor(const std::vector<Tensor>&)>;

/// The result and the gradients of all inputs, one after the other.
std::vector<double> outcome(const Operation& operation, const std::vector<Tensor>& inputs,
                            Device device) {
  std::vector<Tensor> leaves;
  for (const Tensor& input : inputs)
    leaves.push_back(input.clone().to(device).set_requires_grad(true));
  Tape tape;
  Tensor y;
  {
    const Tape::Scope recording(tape);
    y = operation(leaves);
  }
  const Tensor dy = numbers(y.shape(), 99).to(y.dtype()).to(device).to_block(y.channel_block());
  tape.backward({{y, dy}});
  const std::vector<double> result = y.to(DType::f64).to_vector<double>();
  std::vector<double> all(result.begin(), result.end());
  for (const Tensor& leaf : leaves)
    if (leaf.grad())
      for (const double v : leaf.grad().to(DType::f64).to_vector<double>()) all.push_back(v);
  return all;
}

void compare(const char* name, Device device, const std::vector<double>& actual,
             const std::vector<double>& expected, double tolerance) {
  bool same = actual.size() == expected.size();
  size_t at = 0;
  for (; same && at < expected.size(); ++at)
    same = std::abs(actual[at] - expected[at]) <= tolerance * (1 + std::abs(expected[at]));
  check(same,
        "[device] {}: the self-test of {} gives another result than the CPU; is this build for "
        "another architecture, or the driver or the device at fault? Use --device cpu meanwhile",
        device.name(), name);
}

void compare_suppression(Device device, double tolerance) {
  const Tensor corners = numbers({200, 2}, 21), sides = numbers({200, 2}, 22);
  std::vector<float> boxes;
  for (size_t i = 0; i < 200; ++i) {
    const float x = 50 * corners.data<float>()[2 * i], y = 50 * corners.data<float>()[2 * i + 1];
    const float w = 22 + 20 * sides.data<float>()[2 * i],
                h = 22 + 20 * sides.data<float>()[2 * i + 1];
    boxes.insert(boxes.end(), {x, y, x + w, y + h});
  }
  std::vector<int64_t> expected(200);
  const int64_t n =
      kernels::cpu::nms_sorted<float>(200, 0.5, 200, boxes.data(), nullptr, expected.data());
  expected.resize(static_cast<size_t>(n));
  const Tensor on_device = Tensor::from({200, 4}, boxes, device);
  Tensor kept = Tensor::empty({200}, DType::i32, device);
  Tensor count = Tensor::empty({1}, DType::i32, device);
  with_gpu(device, [&](auto on) {
    constexpr auto kBackend = decltype(on)::backend;
    const kernels::Segments segments{1, 200};
    constexpr auto kVersion = kernels::NmsVersion::windows;
    Tensor work = Tensor::empty(
        {static_cast<int64_t>(kernels::gpu::nms_workspace<kBackend>(segments, kVersion))},
        DType::u8, device);
    kernels::gpu::nms_sorted<kBackend>(on.stream, segments, 0.5, 200, on_device.data<float>(),
                                       nullptr, nullptr, kept.data<int32_t>(),
                                       count.data<int32_t>(), work.raw(), kVersion);
  });
  std::vector<double> actual;
  for (const int32_t i : kept.to_vector<int32_t>())
    if (i >= 0) actual.push_back(i);
  compare("nms", device, actual, {expected.begin(), expected.end()}, tolerance);
}

struct Case {
  const char* name;
  Operation operation;
  std::vector<Tensor> inputs;
};

/// Products, where --gpu-math changes them. Without a ReLU: rounding would move its kink.
std::vector<Case> products() {
  return {{"conv2d",
           [](const auto& in) { return conv2d(in[0], in[1], in[2], Conv2dOptions::square(1, 1)); },
           {numbers({2, 16, 9, 10}, 1), numbers({24, 16, 3, 3}, 2), numbers({24}, 3)}},
          {"linear",
           [](const auto& in) { return linear(in[0], in[1], in[2], false); },
           {numbers({5, 70}, 4), numbers({33, 70}, 5), numbers({33}, 6)}}};
}

/// gpu_math() as it was, at the end.
class MathScope {
 public:
  explicit MathScope(GpuMath math) : before_(gpu_math()) { set_gpu_math(math); }
  ~MathScope() { set_gpu_math(before_); }
  MathScope(const MathScope&) = delete;
  MathScope& operator=(const MathScope&) = delete;

 private:
  GpuMath before_;
};

}  // namespace

void gpu_self_test(Device device, double tolerance) {
  const TuningPause fixed_kernels;
  const std::vector<float> rows = {0, 1, 2, 40, 50, 1, 8, 16, 60, 44};
  const std::vector<int32_t> classes = {0, 3, -1, 2, 1};
  const auto rois = [&](const Tensor& like) { return Tensor::from({2, 5}, rows, like.device()); };
  const std::vector<Case> cases = {
      {"conv2d",
       [](const auto& in) {
         return conv2d(in[0], in[1], in[2], Conv2dOptions::square(1, 1, true));
       },
       {numbers({2, 16, 9, 10}, 1), numbers({24, 16, 3, 3}, 2), numbers({24}, 3)}},
      {"linear",
       [](const auto& in) { return linear(in[0], in[1], in[2], true); },
       {numbers({5, 70}, 4), numbers({33, 70}, 5), numbers({33}, 6)}},
      {"max_pool",
       [](const auto& in) { return max_pool2d(in[0], {}); },
       {numbers({1, 5, 8, 6}, 7)}},
      {"batch_norm",
       [](const auto& in) {
         const Device where = in[0].device();
         BatchNormTensors bn{in[1], in[2], Tensor::zeros({5}, DType::f32, where),
                             Tensor::zeros({5}, DType::f32, where)};
         return batch_norm(in[0], bn, {}, true);
       },
       {numbers({2, 5, 7, 6}, 8), numbers({5}, 9), numbers({5}, 10)}},
      {"roi_pool",
       [&](const auto& in) {
         return roi_pool(in[0], rois(in[0]), {3, 3, 0.125, 0.125});
       },
       {numbers({2, 6, 9, 8}, 11)}},
      {"roi_align",
       [](const auto& in) {
         return roi_align(in[0], in[1], {3, 3, 0.125, 0.125, 2, true});
       },
       {numbers({2, 6, 9, 8}, 12), Tensor::from({2, 5}, rows)}},
      {"precise_roi",
       [](const auto& in) {
         return precise_roi(in[0], in[1], {3, 3, 0.125, 0.125});
       },
       {numbers({2, 6, 9, 8}, 17), Tensor::from({2, 5}, rows)}},
      {"softmax_cross_entropy",
       [&](const auto& in) {
         return softmax_cross_entropy(in[0], Tensor::from({5}, classes, in[0].device()), 5.0);
       },
       {numbers({5, 4}, 13)}},
      {"box_loss",
       [&](const auto& in) {
         const Device where = in[0].device();
         return box_regression_loss(in[0], numbers({5, 4}, 14).to(where),
                                    Tensor::from({5}, classes, where), BoxLoss::smooth_l1, 1.0,
                                    5.0);
       },
       {numbers({5, 4}, 15)}},
      {"dropout",
       [](const auto& in) {
         return dropout(in[0], 0.5, kernels::RandomKey{1, 2, 3});
       },
       {numbers({77}, 16)}},
  };
  const auto run = [&](const std::vector<Case>& list, double allowed) {
    for (const Case& c : list)
      compare(c.name, device, outcome(c.operation, c.inputs, device),
              outcome(c.operation, c.inputs, Device{}), allowed);
  };
  // Up to 180 products of numbers below 1, whose factors are rounded: 64 times the spacing of tf32
  // or bfloat16 is far above what that adds up to, and far below a wrong number.
  if (gpu_math() != GpuMath::f32)
    run(products(), gpu_math() == GpuMath::tf32 ? 64 * 0x1p-11 : 64 * 0x1p-8);
  const MathScope exact(GpuMath::f32);
  run(cases, tolerance);
  compare_suppression(device, tolerance);
}

}  // namespace frcnn
