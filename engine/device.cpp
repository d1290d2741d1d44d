#include "engine/device.h"

#include <charconv>
#include <map>
#include <mutex>

#include "engine/dispatch.h"
#include "engine/gpu_self_test.h"
#include "kernels/launch/parallel.h"

namespace frcnn {
namespace {

using kernels::Backend;

[[maybe_unused]] std::string gpu_text(const kernels::gpu::DeviceInfo& info) {
  return fmt::format("{}, {:.0f} GB, compute capability {}.{}", info.name,
                     static_cast<double>(info.memory_bytes) / 1e9, info.compute_capability / 10,
                     info.compute_capability % 10);
}

/// Number of usable GPUs of this build; `why` tells the reason for 0.
int cuda_devices([[maybe_unused]] std::string* why) {
#if FRCNN_HAVE_CUDA
  return kernels::gpu::device_count<Backend::cuda>(why);
#else
  *why = "this build has no CUDA kernels (FRCNN_CUDA=ON)";
  return 0;
#endif
}

Device cuda_device(const std::string& text) {
  Device device{Device::Type::cuda, 0};
  if (text.size() > 4) {
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + 5, end, device.index);
    if (text[4] != ':' || error != std::errc() || stop != end || device.index < 0)
      throw UsageError(fmt::format("--device {}: expected cuda or cuda:<number>", text));
  }
  std::string why;
  const int count = cuda_devices(&why);
  check(count > 0, "--device {}: there is no GPU to run on: {}", text, why);
  check(device.index < count, "--device {}: there {} (cuda:0 to cuda:{})", text,
        count == 1 ? "is one GPU" : fmt::format("are {} GPUs", count), count - 1);
  gpu_self_test(device);
  return device;
}

}  // namespace

int cuda_device_count() {
  std::string why;
  return cuda_devices(&why);
}

std::string Device::name() const {
  switch (type) {
    case Type::cpu:
      return "cpu";
    case Type::cuda:
      return fmt::format("cuda:{}", index);
    case Type::emulated:
      break;
  }
  return "emulated";
}

DeviceChoice choose_device(const std::string& text) {
  if (text == "cpu") return {Device{}, "asked for"};
  if (text == "emulated") {
#if FRCNN_HAVE_EMULATION
    return {Device{Device::Type::emulated, 0}, "asked for"};
#else
    fail("--device emulated: this build has no emulation (FRCNN_EMULATION=ON)");
#endif
  }
  if (text == "auto") {
    std::string why;
    if (cuda_devices(&why) > 0) return {cuda_device("cuda"), "auto: the first GPU"};
    return {Device{}, "auto: " + why};
  }
  if (text.starts_with("cuda")) return {cuda_device(text), "asked for"};
  throw UsageError(
      fmt::format("--device {}: expected auto, cpu, cuda, cuda:<number> or emulated", text));
}

std::string describe(Device device) {
  if (!device.is_gpu()) {
    const int threads = kernels::num_threads();
    return fmt::format("cpu, {} thread{}", threads, threads == 1 ? "" : "s");
  }
  std::string text;
  with_gpu(device, [&](auto on) {
    text = gpu_text(kernels::gpu::device_info<decltype(on)::backend>(device.index));
  });
  return device.name() + " " + text;
}

void synchronize(Device device) {
  if (!device.is_gpu()) return;
  with_gpu(device, [](auto on) { kernels::gpu::synchronize<decltype(on)::backend>(on.stream); });
}

kernels::gpu::Stream current_stream(Device device) {
  // One stream for each device and thread, made at first use and kept for the program's life.
  thread_local std::map<int, kernels::gpu::Stream> streams;
  if (device.type != Device::Type::cuda) return nullptr;
  const auto found = streams.find(device.index);
  if (found != streams.end()) return found->second;
#if FRCNN_HAVE_CUDA
  kernels::gpu::set_device<Backend::cuda>(device.index);
  return streams[device.index] = kernels::gpu::create_stream<Backend::cuda>();
#else
  fail_without_backend(device);
#endif
}

void fail_without_backend(Device device) {
  fail("[device] {}: this build has no kernels for it", device.name());
}

}  // namespace frcnn
