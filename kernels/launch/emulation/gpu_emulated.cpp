#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels/launch/check.h"
#include "kernels/launch/emulation/emulation.h"
#include "kernels/launch/gpu.h"

namespace frcnn::kernels::gpu {
namespace {
struct Counters {
  std::atomic<int64_t> replayed{0}, replays{0}, to_device{0}, to_host{0}, waits{0};
};
Counters& counters() {
  static Counters instance;
  return instance;
}
constexpr Backend kEmulated = Backend::emulated;
}  // namespace

template <>
int device_count<kEmulated>(std::string* /*why*/) {
  return 1;
}
template <>
DeviceInfo device_info<kEmulated>(int index) {
  check(index == 0, "[emulation] no device {}: there is only device 0", index);
  DeviceInfo info;
  info.name = "emulation of CUDA on the CPU";
  info.multiprocessors = 4;
  info.compute_capability = 90;
  info.memory_bytes = info.free_bytes = size_t{4} << 30;
  info.shared_bytes_per_block = size_t{227} << 10;
  return info;
}
template <>
void set_device<kEmulated>(int index) {
  device_info<kEmulated>(index);
}

// Exact sizes, so that AddressSanitizer sees an access beyond the end; filled with NaN.
template <>
void* allocate<kEmulated>(size_t bytes) {
  if (bytes == 0) return nullptr;
  void* memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
#if defined(__SANITIZE_ADDRESS__)
  std::free(memory);
  if (posix_memalign(&memory, 256, bytes) != 0) memory = nullptr;
#endif
  check(memory != nullptr, "[emulation] no memory for {} bytes", bytes);
  std::memset(memory, 0xFF, bytes);
  return memory;
}
template <>
void release<kEmulated>(void* memory) noexcept {
  std::free(memory);
}
template <>
void* allocate_pinned<kEmulated>(size_t bytes) {
  return allocate<kEmulated>(bytes);
}
template <>
void release_pinned<kEmulated>(void* memory) noexcept {
  std::free(memory);
}

namespace {
/// Does the work, or leaves it to the graph that is being recorded.
template <typename Work>
void now_or_recorded(const Work& work) {
  if (!emulation::recorded(work)) work();
}
void refuse_while_recording(const char* what) {
  check(!emulation::is_recording(), "[emulation] {} while a graph is recorded: it waits", what);
}
}  // namespace

template <>
void copy_to_device<kEmulated>(Stream /*stream*/, void* device, const void* host, size_t bytes) {
  now_or_recorded([=] {
    if (bytes > 0) std::memcpy(device, host, bytes);
    ++counters().to_device;
  });
}
template <>
void copy_to_host<kEmulated>(Stream /*stream*/, void* host, const void* device, size_t bytes) {
  refuse_while_recording("copy_to_host");
  if (bytes > 0) std::memcpy(host, device, bytes);
  ++counters().to_host;
  ++counters().waits;
}
template <>
void copy_on_device<kEmulated>(Stream /*stream*/, void* target, const void* source, size_t bytes) {
  now_or_recorded([=] {
    if (bytes > 0) std::memmove(target, source, bytes);
  });
}
template <>
void fill_bytes<kEmulated>(Stream /*stream*/, void* device, int value, size_t bytes) {
  now_or_recorded([=] {
    if (bytes > 0) std::memset(device, value, bytes);
  });
}
template <>
void synchronize<kEmulated>(Stream /*stream*/) {
  refuse_while_recording("synchronize");
  ++counters().waits;
}
template <>
Stream create_stream<kEmulated>() {
  return nullptr;
}
template <>
void destroy_stream<kEmulated>(Stream /*stream*/) noexcept {}

template <>
Activity activity<kEmulated>() {
  const Counters& c = counters();
  return {emulation::launches(), c.replayed, c.replays, c.to_device, c.to_host, c.waits};
}

// Everything is done when a call returns: a point is always passed.
template <>
struct Event<kEmulated>::State {};
template <>
Event<kEmulated>::Event() : state_(new State) {}
template <>
Event<kEmulated>::~Event() {
  delete state_;
}
template <>
void Event<kEmulated>::record(Stream /*stream*/) {
  refuse_while_recording("Event::record");
}
template <>
void Event<kEmulated>::wait() {}

template <>
struct Graph<kEmulated>::State {
  std::vector<std::function<void()>> work;
};
template <>
Graph<kEmulated>::Graph(Stream /*stream*/, const std::function<void()>& body)
    : state_(new State{emulation::record(body)}) {}
template <>
Graph<kEmulated>::~Graph() {
  delete state_;
}
template <>
void Graph<kEmulated>::replay(Stream /*stream*/) const {
  const int64_t before = emulation::launches();
  for (const auto& work : state_->work) work();
  counters().replayed += emulation::launches() - before;
  ++counters().replays;
}

template <>
struct StreamTimer<kEmulated>::State {
  std::chrono::steady_clock::time_point began;
};
template <>
StreamTimer<kEmulated>::StreamTimer(Stream /*stream*/) : state_(new State) {}
template <>
StreamTimer<kEmulated>::~StreamTimer() {
  delete state_;
}
template <>
void StreamTimer<kEmulated>::start() {
  state_->began = std::chrono::steady_clock::now();
}
template <>
double StreamTimer<kEmulated>::stop() {
  ++counters().waits;
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - state_->began).count();
}

}  // namespace frcnn::kernels::gpu
