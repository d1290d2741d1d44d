#include "engine/gpu_math.h"

#include <atomic>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

std::atomic<GpuMath> g_math{GpuMath::f32};  // NOLINT: one setting of the program
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
GpuMath gpu_math_by_name(const std::string& name) {
  for (const GpuMath math : {GpuMath::f32, GpuMath::tf32, GpuMath::bf16})
    if (name == name_of(math)) return math;
  throw UsageError(fmt::format("--gpu-math {}: expected f32, tf32 or bf16", name));
}

}  // namespace frcnn
