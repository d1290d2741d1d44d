#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/gpu_math.h"

namespace frcnn::apps {

/// Keeps what --device and --mem-limit said until a command computes something.
void request_device(const std::string& text, size_t memory_limit);

/// The device of this run of the program: chosen, and its memory limited, at the first call. Throws
/// as choose_device() does.
const DeviceChoice& program_device();

/// Keeps what --gpu-math said, or that it said nothing, and sets gpu_math().
void request_gpu_math(const std::string& name);
/// What --gpu-math said; nullopt where it was not given, so that train.precision counts.
std::optional<GpuMath> requested_gpu_math();

/// Keeps what --cpu-math said: "f32" or "bf16"; UsageError for other words.
void request_cpu_math(const std::string& name);
/// "f32" where it was not given.
const std::string& requested_cpu_math();

/// What --device said, "auto" where it was not given.
const std::string& requested_device();

/// The other options of the whole program that a program started by this one needs to compute
/// alike: --gpu-math, --tuning and --mem-limit, so far as they were given.
void set_inherited_arguments(std::vector<std::string> arguments);
const std::vector<std::string>& inherited_arguments();

}  // namespace frcnn::apps
