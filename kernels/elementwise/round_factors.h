#pragma once

#include <cstdint>

namespace frcnn::kernels {

/// How a GPU's tensor cores round float32 factors before they multiply them.
enum class FactorRounding : uint8_t {
  tf32,  ///< 10 bits of fraction, to nearest, ties away from zero (cvt.rna.tf32.f32)
  bf16,  ///< 7 bits of fraction, to nearest, ties to even (Bfloat16)
};

namespace cpu {

/// y[i] = x[i] rounded, as a float32 number; infinities and NaN stay. y may be x. With it the CPU
/// takes the products that a GPU takes with its tensor cores; there is nothing faster about it. A
/// GPU has no such pass: its kernels round where they load.
void round_factors(int64_t count, FactorRounding rounding, const float* x, float* y);

}  // namespace cpu
}  // namespace frcnn::kernels
