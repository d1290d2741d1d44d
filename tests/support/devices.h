#pragma once

#include <vector>

#include "engine/device.h"

namespace frcnn::test {

/// Devices other than the CPU that this program can use here: the emulation where it is built in,
/// and the first GPU where there is one.
inline std::vector<Device> gpus() {
  std::vector<Device> devices;
#if FRCNN_HAVE_EMULATION
  devices.push_back(choose_device("emulated").device);
#endif
  const Device automatic = choose_device("auto").device;
  if (automatic.is_gpu()) devices.push_back(automatic);
  return devices;
}

/// The CPU and what gpus() gives.
inline std::vector<Device> cpu_and_gpus() {
  std::vector<Device> devices = {Device{}};
  for (const Device device : gpus()) devices.push_back(device);
  return devices;
}

}  // namespace frcnn::test
