// GPU kernels on random cases against the CPU: under emulation, and on a GPU where there is one.
// Each operation is a case of its own, so that ctest spreads them.
#include "apps/ops/compare.h"
#include "tests/support/support.h"

#if FRCNN_HAVE_EMULATION || FRCNN_HAVE_CUDA

namespace frcnn::apps::ops {
namespace {

void compare_everywhere(const std::string& name, const std::string& version, int64_t cases) {
  for (const Device device : {Device::emulated, Device::cuda}) {
    if (!unavailable(device).empty()) continue;
    const auto list = compare_devices(operation(name), Device::cpu, device, version, cases, 1);
    REQUIRE(!list.empty());
    for (const Comparison& c : list) {
      INFO(name << " " << c.version << " on " << device_name(device) << ": " << c.reason);
      CHECK(c.failure == "");
      CHECK(c.cases == cases);
    }
  }
}

TEST_CASE("GPU and CPU agree on random cases: convolution, naive") {
  compare_everywhere("conv2d", "naive", 200);
}
TEST_CASE("GPU and CPU agree on random cases: convolution, tiled") {
  compare_everywhere("conv2d", "tiled", 200);
}
TEST_CASE("GPU and CPU agree on random cases: convolution, tf32") {
  compare_everywhere("conv2d", "mma_tf32", 200);
}
TEST_CASE("GPU and CPU agree on random cases: convolution, bfloat16") {
  compare_everywhere("conv2d", "mma_bf16", 200);
}
TEST_CASE("GPU and CPU agree on random cases: convolution, Winograd") {
  compare_everywhere("conv2d", "winograd", 200);
}
TEST_CASE("GPU and CPU agree on random cases: convolution, depthwise") {
  compare_everywhere("conv2d", "depthwise", 200);
}
TEST_CASE("GPU and CPU agree on random cases: convolution by im2col") {
  for (const char* version : {"cublas_f32", "cublas_tf32", "cublas_bf16"})
    compare_everywhere("conv2d", version, 20);
}

void compare_operations(const std::vector<std::string>& names, int64_t cases) {
  for (const std::string& name : names) compare_everywhere(name, "", cases);
}
TEST_CASE("GPU and CPU agree on random cases: RoI pooling") {
  compare_operations({"roi_pool"}, 200);
}
TEST_CASE("GPU and CPU agree on random cases: RoIAlign") {
  compare_operations({"roi_align"}, 200);
}
TEST_CASE("GPU and CPU agree on random cases: suppression and matching") {
  compare_operations({"nms", "iou_match"}, 200);
}
TEST_CASE("GPU and CPU agree on random cases: box losses") {
  compare_operations({"box_loss"}, 200);
}
TEST_CASE("GPU and CPU agree on random cases: softmax losses") {
  compare_operations({"softmax_cross_entropy"}, 200);
}
TEST_CASE("GPU and CPU agree on random cases: sigmoid losses") {
  compare_operations({"sigmoid_cross_entropy"}, 200);
}

TEST_CASE("GPU and CPU agree on random cases: every other operation") {
  for (const Operation& op : operations())
    if (op.on_gpu && op.name != "conv2d") compare_everywhere(op.name, "", 12);
}

}  // namespace
}  // namespace frcnn::apps::ops

#endif
