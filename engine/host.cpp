#include "engine/host.h"

#include <algorithm>
#include <fstream>
#include <string>

#include "engine/dispatch.h"
#include "engine/memory.h"

namespace frcnn {
namespace {

/// The number behind `key` in a file of "key value" lines; of the first line for an empty key.
std::optional<size_t> number_in(const char* file, const std::string& key) {
  std::ifstream in(file);
  std::string word;
  size_t value = 0;
  if (key.empty()) return in >> value ? std::optional(value) : std::nullopt;
  while (in >> word)
    if (word == key) return in >> value ? std::optional(value) : std::nullopt;
  return std::nullopt;
}

std::optional<size_t> host_memory() {
  std::optional<size_t> free = number_in("/proc/meminfo", "MemAvailable:");
  if (free) *free *= 1024;
  // Control groups, version 2; "max" is no number. Cached files would be given up.
  const auto most = number_in("/sys/fs/cgroup/memory.max", "");
  const auto used = number_in("/sys/fs/cgroup/memory.current", "");
  if (most && used) {
    const size_t files = number_in("/sys/fs/cgroup/memory.stat", "inactive_file").value_or(0);
    const size_t held = *used - std::min(*used, files);
    const size_t left = *most - std::min(*most, held);
    free = free ? std::min(*free, left) : left;
  }
  return free;
}

}  // namespace

size_t process_peak() {
  return 1024 * number_in("/proc/self/status", "VmHWM:").value_or(0);
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (const size_t colon = line.find(": ");
        line.starts_with("model name") && colon != std::string::npos)
      return line.substr(colon + 2);
  return "of unknown name";
}

std::optional<size_t> available_memory(Device device) {
  std::optional<size_t> system;
  with_device(device, [&](auto on) {
    if constexpr (decltype(on)::gpu)
      system = kernels::gpu::device_info<decltype(on)::backend>(device.index).free_bytes;
    else
      system = host_memory();
  });
  if (device.type == Device::Type::emulated) system = host_memory();
  const MemoryStats stats = CachingAllocator::of(device).stats();
  if (system) *system += stats.reserved - stats.in_use;
  if (stats.limit > 0) {
    const size_t left = stats.limit - std::min(stats.limit, stats.in_use);
    system = system ? std::min(*system, left) : left;
  }
  return system;
}

}  // namespace frcnn
