#include "apps/program_device.h"

#include <optional>
#include <utility>

#include "engine/memory.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

struct Request {
  std::string text = "auto";
  size_t memory_limit = 0;
  std::optional<DeviceChoice> choice;
};
Request& request() {
  static Request instance;
  return instance;
}
std::optional<GpuMath>& math_request() {
  static std::optional<GpuMath> instance;
  return instance;
}

std::string& cpu_math_request() {
  static std::string instance = "f32";
  return instance;
}

std::vector<std::string>& inherited() {
  static std::vector<std::string> instance;
  return instance;
}

}  // namespace

const std::string& requested_device() {
  return request().text;
}

void set_inherited_arguments(std::vector<std::string> arguments) {
  inherited() = std::move(arguments);
}

const std::vector<std::string>& inherited_arguments() {
  return inherited();
}

void request_device(const std::string& text, size_t memory_limit) {
  request() = {text, memory_limit, std::nullopt};
}

void request_gpu_math(const std::string& name) {
  math_request() = name.empty() ? std::nullopt : std::optional(gpu_math_by_name(name));
  set_gpu_math(math_request().value_or(GpuMath::f32));
}

std::optional<GpuMath> requested_gpu_math() {
  return math_request();
}

void request_cpu_math(const std::string& name) {
  if (name != "f32" && name != "bf16")
    throw UsageError(fmt::format("--cpu-math {}: expected f32 or bf16", name));
  cpu_math_request() = name;
}

const std::string& requested_cpu_math() {
  return cpu_math_request();
}

const DeviceChoice& program_device() {
  Request& r = request();
  if (!r.choice) {
    r.choice = choose_device(r.text);
    if (r.memory_limit > 0) CachingAllocator::of(r.choice->device).set_limit(r.memory_limit);
  }
  return *r.choice;
}

}  // namespace frcnn::apps
