#include <chrono>
#include <cstring>
#include <new>

#include "apps/ops/desk.h"

namespace frcnn::apps::ops {
namespace {

class CpuMemory : public Memory {
 public:
  void* allocate(size_t bytes) override {
    return bytes == 0 ? nullptr : ::operator new (bytes, std::align_val_t{64});
  }
  void release(void* memory) override { ::operator delete (memory, std::align_val_t{64}); }
  void upload(void* device, const void* host, size_t bytes) override {
    if (bytes > 0) std::memcpy(device, host, bytes);
  }
  void download(void* host, const void* device, size_t bytes) override {
    if (bytes > 0) std::memcpy(host, device, bytes);
  }
  void fill(void* device, int byte, size_t bytes) override {
    if (bytes > 0) std::memset(device, byte, bytes);
  }
  void wait() override {}
  double seconds(const std::function<void()>& body) override {
    const auto begin = std::chrono::steady_clock::now();
    body();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
};

#if FRCNN_HAVE_CUDA || FRCNN_HAVE_EMULATION
namespace gpu = kernels::gpu;

template <kernels::Backend backend>
class GpuMemory : public Memory {
 public:
  void* allocate(size_t bytes) override { return gpu::allocate<backend>(bytes); }
  void release(void* memory) override { gpu::release<backend>(memory); }
  void upload(void* device, const void* host, size_t bytes) override {
    if (bytes > 0) gpu::copy_to_device<backend>(nullptr, device, host, bytes);
  }
  void download(void* host, const void* device, size_t bytes) override {
    if (bytes > 0) gpu::copy_to_host<backend>(nullptr, host, device, bytes);
  }
  void fill(void* device, int byte, size_t bytes) override {
    if (bytes > 0) gpu::fill_bytes<backend>(nullptr, device, byte, bytes);
  }
  void wait() override { gpu::synchronize<backend>(nullptr); }
  double seconds(const std::function<void()>& body) override {
    gpu::StreamTimer<backend> timer(nullptr);
    timer.start();
    body();
    return timer.stop();
  }
};
#endif

}  // namespace

std::string unavailable(Device device) {
  if (device == Device::cpu) return "";
  if (device == Device::emulated) {
#if FRCNN_HAVE_EMULATION
    return "";
#else
    return "this build has no emulation (configure with -DFRCNN_EMULATION=ON)";
#endif
  }
#if FRCNN_HAVE_CUDA
  std::string why;
  if (gpu::device_count<kernels::Backend::cuda>(&why) > 0) return "";
  return "no GPU can be used: " + why;
#else
  return "this build has no CUDA (configure with -DFRCNN_CUDA=ON)";
#endif
}

Memory& memory_of(Device device) {
  const std::string why = unavailable(device);
  check(why.empty(), "--device {}: {}", device_name(device), why);
  static CpuMemory cpu;
#if FRCNN_HAVE_CUDA
  static GpuMemory<kernels::Backend::cuda> cuda;
  if (device == Device::cuda) return cuda;
#endif
#if FRCNN_HAVE_EMULATION
  static GpuMemory<kernels::Backend::emulated> emulated;
  if (device == Device::emulated) return emulated;
#endif
  return cpu;
}

}  // namespace frcnn::apps::ops
