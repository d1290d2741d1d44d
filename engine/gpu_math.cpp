#include "engine/gpu_math.h"

#include <atomic>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

std::atomic<GpuMath> g_math{GpuMath::f32};      // NOLINT: one setting of the program
std::atomic<GpuMath> g_cpu_math{GpuMath::f32};  // NOLINT: the same
constexpr const char* kNames[] = {"f32", "tf32", "bf16"};

}  // namespace

GpuMath gpu_math() {
  return g_math;
}
void set_gpu_math(GpuMath math) {
  g_math = math;
}

const char* name_of(GpuMath math) {
  return kNames[static_cast<size_t>(math)];
}
GpuMath gpu_math_by_name(const std::string& name, const std::string& key) {
  for (const GpuMath math : {GpuMath::f32, GpuMath::tf32, GpuMath::bf16})
    if (name == name_of(math)) return math;
  throw UsageError(fmt::format("{} {}: expected f32, tf32 or bf16", key, name));
}

GpuMath cpu_math() {
  return g_cpu_math;
}

PrecisionScope::PrecisionScope(GpuMath math) : gpu_before_(g_math), cpu_before_(g_cpu_math) {
  g_math = math;
  g_cpu_math = math;
}
PrecisionScope::~PrecisionScope() {
  g_math = gpu_before_;
  g_cpu_math = cpu_before_;
}

}  // namespace frcnn
