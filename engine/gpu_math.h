#pragma once

#include <cstdint>

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

}  // namespace frcnn
