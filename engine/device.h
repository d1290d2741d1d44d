#pragma once

#include <cstdint>
#include <string>

namespace frcnn {

/// Where a tensor's memory is. `index` counts the devices of one type.
struct Device {
  /// emulated: the GPU kernels run on the CPU (kernels/launch/emulation), for tests; its memory is
  /// treated like a GPU's.
  enum class Type : uint8_t { cpu, cuda, emulated };
  Type type = Type::cpu;
  int index = 0;
  constexpr bool operator==(const Device&) const = default;
  /// Runs kernels::gpu functions.
  constexpr bool is_gpu() const { return type != Type::cpu; }
  /// "cpu", "cuda:0" or "emulated".
  std::string name() const;
};

/// A device and how it came to be chosen, for a line of the program's output.
struct DeviceChoice {
  Device device;
  std::string reason;  ///< "asked for", "auto: no GPU (CUDA driver version is insufficient ...)"
};

/// "auto", "cpu", "cuda", "cuda:1" or "emulated". auto is the first GPU of a build with CUDA on a
/// machine that has one, otherwise the CPU. Throws UsageError for other words, Error when the
/// device asked for is not there or not in this build.
DeviceChoice choose_device(const std::string& text);

/// Usable GPUs: 0 in a build without CUDA.
int cuda_device_count();

/// One line: "cuda:0 NVIDIA H100, 80 GB, compute capability 9.0" or "cpu, 2 threads".
std::string describe(Device device);

/// Waits for everything that was started on the device; nothing on the CPU.
void synchronize(Device device);

}  // namespace frcnn
