#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/launch/gpu.h"
#include "tests/support/support.h"

#if FRCNN_HAVE_EMULATION
#include "kernels/launch/emulation/emulation.h"
#endif

namespace frcnn::test {

template <kernels::Backend b>
struct On {
  static constexpr kernels::Backend backend = b;
};

/// Calls body(On<backend>{}) for each backend that this program has: once on a GPU, where there is
/// one, and under emulation once per thread schedule. Results that depend on the order of threads
/// differ in one of them.
template <typename Body>
void for_backends(const Body& body) {
#if FRCNN_HAVE_EMULATION
  using kernels::emulation::Schedule;
  for (const Schedule schedule : {Schedule::in_order, Schedule::reversed, Schedule::random}) {
    INFO("emulated, schedule " << static_cast<int>(schedule));
    const kernels::emulation::Scope scope({schedule, 7, schedule != Schedule::reversed});
    body(On<kernels::Backend::emulated>{});
  }
#endif
#if FRCNN_HAVE_CUDA
  if (kernels::gpu::device_count<kernels::Backend::cuda>() > 0) {
    INFO("cuda");
    body(On<kernels::Backend::cuda>{});
  }
#endif
}

/// An array in device memory: filled from the host, or poisoned with NaN. On a GPU with guard
/// bands, under emulation of the exact size, which AddressSanitizer watches.
template <kernels::Backend backend, typename T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t size) : size_(size) {
    const size_t bytes = (size_ + 2 * kGuard) * sizeof(T);
    memory_ = static_cast<T*>(kernels::gpu::allocate<backend>(bytes));
    kernels::gpu::fill_bytes<backend>(nullptr, memory_, 0xFF, bytes);
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    kernels::gpu::copy_to_device<backend>(nullptr, data(), values.data(), size_ * sizeof(T));
  }
  ~DeviceArray() { kernels::gpu::release<backend>(memory_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return memory_ + kGuard; }
  size_t size() const { return size_; }
  void zero() { kernels::gpu::fill_bytes<backend>(nullptr, data(), 0, size_ * sizeof(T)); }

  /// The values, after all work of the default stream; checks the guards.
  std::vector<T> host() const {
    std::vector<T> all(size_ + 2 * kGuard);
    if (!all.empty())
      kernels::gpu::copy_to_host<backend>(nullptr, all.data(), memory_, all.size() * sizeof(T));
    const auto* bytes = reinterpret_cast<const unsigned char*>(all.data());
    const size_t guard = kGuard * sizeof(T);
    const auto intact = [](unsigned char byte) { return byte == 0xFF; };
    CHECK(std::all_of(bytes, bytes + guard, intact));
    CHECK(std::all_of(bytes + guard + size_ * sizeof(T), bytes + 2 * guard + size_ * sizeof(T),
                      intact));
    return {all.begin() + kGuard, all.begin() + static_cast<std::ptrdiff_t>(kGuard + size_)};
  }
  /// The values as double, for comparisons.
  std::vector<double> values() const {
    const std::vector<T> v = host();
    return {v.begin(), v.end()};
  }

 private:
  static constexpr size_t kGuard = backend == kernels::Backend::cuda ? 64 : 0;
  size_t size_;
  T* memory_ = nullptr;
};

}  // namespace frcnn::test
