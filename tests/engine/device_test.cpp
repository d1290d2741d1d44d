// The engine on a GPU (under emulation where there is none) against the engine on the CPU.
#include "engine/device.h"

#include "engine/gpu_math.h"
#include "engine/gpu_self_test.h"
#include "engine/memory.h"
#include "engine/ops/conv2d.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/linear.h"
#include "engine/ops/norm.h"
#include "engine/ops/pooling.h"
#include "engine/tape.h"
#include "tests/engine/device_agreement.h"

using namespace frcnn;
using namespace frcnn::test;
using Catch::Matchers::Contains;

TEST_CASE("device: the words of --device") {
  CHECK(choose_device("cpu").device == Device{});
  CHECK(choose_device("cpu").reason == "asked for");
  CHECK_THROWS_WITH(choose_device("gpu"), Contains("expected auto, cpu, cuda"));
  CHECK_THROWS_AS(choose_device("cuda:x"), UsageError);
  const DeviceChoice automatic = choose_device("auto");
  CHECK(automatic.reason.starts_with("auto: "));
  if (!automatic.device.is_gpu()) {
    CHECK_THROWS_WITH(choose_device("cuda"), Contains("there is no GPU to run on"));
    CHECK(describe(automatic.device).starts_with("cpu, "));
  } else {
    CHECK_THROWS_WITH(choose_device("cuda:99"), Contains("--device cuda:99"));
  }
}

TEST_CASE("device: the self-test passes, and names the operation that differs") {
  for (const Device device : gpus()) {
    for (const GpuMath math : {GpuMath::f32, GpuMath::tf32, GpuMath::bf16}) {
      set_gpu_math(math);
      CHECK_NOTHROW(gpu_self_test(device));
      CHECK(gpu_math() == math);
    }
    set_gpu_math(GpuMath::f32);
    // The CPU adds the same products in another order.
    CHECK_THROWS_WITH(gpu_self_test(device, 0),
                      Contains(device.name() + ": the self-test of conv2d gives another result"));
  }
}

TEST_CASE("device: tensors keep their values across devices, types and formats") {
  for (const Device device : gpus()) {
    const Tensor x = random_tensor({2, 5, 3, 4}, 1);
    const Tensor y = x.to(device);
    CHECK(y.device() == device);
    CHECK(y.to_vector<float>() == x.to_vector<float>());
    CHECK(y.to_block(8).to_vector<float>() == x.to_vector<float>());
    CHECK(x.to_block(5).to(device).to_vector<float>() == x.to_vector<float>());
    CHECK(y.to(DType::f64).to(DType::i32).to_vector<int32_t>() ==
          x.to(DType::f64).to(DType::i32).to_vector<int32_t>());
    Tensor z = Tensor::zeros({3}, DType::i64, device);
    CHECK(z.to_vector<int64_t>() == std::vector<int64_t>{0, 0, 0});
    z.fill(7);
    CHECK(z.rows(1, 1).item() == 7);
    Tensor back = Tensor::empty(x.shape());
    back.copy_from(y.to_block(5));
    CHECK(back.to_vector<float>() == x.to_vector<float>());
  }
}

TEST_CASE("device: convolution and dense layers, forward and backward") {
  for (const bool use_relu : {false, true}) {
    check_devices_agree(
        [&](const auto& in) {
          return conv2d(in[0], in[1], in[2], Conv2dOptions::square(1, 1, use_relu));
        },
        {random_tensor({2, 3, 7, 9}, 1), random_tensor({6, 3, 3, 3}, 2), random_tensor({6}, 3)});
    check_devices_agree(
        [&](const auto& in) {
          return conv2d(in[0], in[1], in[2], Conv2dOptions::square(2, 2, use_relu));
        },
        {random_tensor({1, 10, 11, 8}, 1), random_tensor({20, 10, 5, 5}, 2),
         random_tensor({20}, 3)});
    check_devices_agree(
        [&](const auto& in) { return linear(in[0], in[1], in[2], use_relu); },
        {random_tensor({5, 33}, 1), random_tensor({17, 33}, 2), random_tensor({17}, 3)});
  }
}

TEST_CASE("device: elementwise operations, layouts, rows") {
  check_devices_agree([](const auto& in) { return relu(add(in[0], in[1])); },
                      {random_tensor({3, 5}, 1), random_tensor({3, 5}, 2)}, 0, 0);
  check_devices_agree([](const auto& in) { return add(relu(in[0]), in[0]); },
                      {random_tensor({9}, 1)}, 0, 0);
  check_devices_agree(
      [](const auto& in) {
        return dropout(in[0], 0.4, {1, 6, 2});
      },
      {random_tensor({41}, 1)}, 0, 0);
  check_devices_agree([](const auto& in) { return relu(convert_block(in[0], 8)); },
                      {random_tensor({2, 11, 2, 3}, 1)}, 0, 0);
  check_devices_agree([](const auto& in) { return map_to_rows(in[0], 4); },
                      {random_tensor({2, 12, 2, 3}, 1)}, 0, 0);
  check_devices_agree(
      [](const auto& in) {
        return slice_rows(reshape(in[0], {6, 4}), 2, 3);
      },
      {random_tensor({2, 12}, 1)}, 0, 0);
  check_devices_agree(
      [](const auto& in) {
        return weighted_sum({in[0], in[1]}, {0.25, 3});
      },
      {random_tensor({1}, 1), random_tensor({1}, 2)}, 1e-6, 1e-6);
}

TEST_CASE("device: pooling and RoI layers") {
  const Tensor x = random_tensor({2, 6, 9, 8}, 1);
  check_devices_agree(
      [](const auto& in) {
        return max_pool2d(in[0], kernels::MaxPoolParams::square(3, 2, 1, true));
      },
      {x}, 0, 0);
  check_devices_agree([](const auto& in) { return adaptive_max_pool2d(in[0], 4, 3); }, {x}, 0, 0);
  const std::vector<float> rows = {0, 0, 0, 40, 50, 1, 8, 16, 60, 64, 1, 30, 2, 33, 90};
  const auto rois = [&](const Tensor& like) { return Tensor::from({3, 5}, rows, like.device()); };
  check_devices_agree(
      [&](const auto& in) {
        return roi_pool(in[0], rois(in[0]), {3, 2, 1.0 / 8, 1.0 / 8});
      },
      {x}, 0, 0);
  check_devices_agree(
      [&](const auto& in) {
        return roi_align(in[0], rois(in[0]), {3, 2, 1.0 / 8, 1.0 / 8, 2, true});
      },
      {x});
}

TEST_CASE("device: normalisation") {
  const Tensor x = random_tensor({2, 6, 9, 8}, 1);
  check_devices_agree([](const auto& in) { return lrn(in[0], {3, 5e-5, 0.75, 1}); }, {x});
  for (const bool training : {false, true})
    check_devices_agree(
        [&](const auto& in) {
          BatchNormTensors bn{in[1], in[2], Tensor::zeros({6}, DType::f32, in[0].device()),
                              Tensor::zeros({6}, DType::f32, in[0].device())};
          bn.running_var.fill(0.5);
          return batch_norm(in[0], bn, {1e-5, 0.1, true}, training);
        },
        {x, random_tensor({6}, 5, 0.5, 1.5), random_tensor({6}, 6)}, 1e-5, 2e-5);
}

TEST_CASE("memory pool: its blocks serve nobody else until it ends") {
  std::vector<Device> devices = gpus();
  devices.push_back(Device{});
  for (const Device device : devices) {
    INFO(device.name());
    const int64_t size = 123457;  // a size that no other test keeps
    const void* first = nullptr;
    Tensor outside;
    {
      const MemoryPool pool(device);
      {
        const MemoryPool::Scope scope(pool);
        const Tensor a = Tensor::empty({size}, DType::f64, device);
        first = a.raw();
      }
      outside = Tensor::empty({size}, DType::f64, device);
      CHECK(outside.raw() != first);
      {
        const MemoryPool::Scope scope(pool);
        const Tensor again = Tensor::empty({size}, DType::f64, device);
        CHECK(again.raw() == first);
      }
    }
    const Tensor after = Tensor::empty({size}, DType::f64, device);
    CHECK(after.raw() == first);
  }
}
