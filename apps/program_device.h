#pragma once

#include <cstddef>
#include <string>

#include "engine/device.h"

namespace frcnn::apps {

/// Keeps what --device and --mem-limit said until a command computes something.
void request_device(const std::string& text, size_t memory_limit);

/// The device of this run of the program: chosen, and its memory limited, at the first call. Throws
/// as choose_device() does.
const DeviceChoice& program_device();

}  // namespace frcnn::apps
