#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "engine/device.h"

namespace frcnn {

/// Bytes that tensors of this program could still take on the device: what its allocator keeps for
/// reuse and what the system has left, or what --mem-limit leaves of them. On the CPU the system's
/// are MemAvailable of /proc/meminfo, or less where a control group (a container) has a limit; on a
/// GPU its free memory. nullopt where the system does not tell.
std::optional<size_t> available_memory(Device device);

/// Most memory that this process has held in RAM so far, bytes (VmHWM of proc(5)); 0 where the
/// system does not tell.
size_t process_peak();

/// The processor's model, e.g. "AMD EPYC 9B14"; "of unknown name" where the system does not tell.
std::string processor_name();

}  // namespace frcnn
