#pragma once

#include <cstdint>
#include <string>

namespace frcnn {

/// How products of convolutions and dense layers are taken on a GPU; sums are float32 in all.
enum class GpuMath : uint8_t {
  f32,   ///< float32 factors
  tf32,  ///< tensor cores, factors rounded to 10 bits of fraction
  bf16,  ///< tensor cores, factors rounded to 7 bits of fraction
};

/// Of the whole program; f32 at the start. Set it before a model runs.
GpuMath gpu_math();
void set_gpu_math(GpuMath math);
const char* name_of(GpuMath math);
/// "f32", "tf32" or "bf16"; UsageError for other words, naming `key`.
GpuMath gpu_math_by_name(const std::string& name, const std::string& key = "--gpu-math");

/// The same on the CPU, where rounded factors are an emulation
/// (kernels/elementwise/round_factors.h) that shows what a GPU's tensor cores would do to a
/// training, and is slower than f32. f32 unless a PrecisionScope says otherwise.
GpuMath cpu_math();

/// Sets gpu_math() and cpu_math() while it lives, for the passes of a training.
class PrecisionScope {
 public:
  explicit PrecisionScope(GpuMath math);
  ~PrecisionScope();
  PrecisionScope(const PrecisionScope&) = delete;
  PrecisionScope& operator=(const PrecisionScope&) = delete;

 private:
  GpuMath gpu_before_, cpu_before_;
};

}  // namespace frcnn
