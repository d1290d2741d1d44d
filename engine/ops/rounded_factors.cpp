#include "engine/ops/rounded_factors.h"

#include "engine/dispatch.h"
#include "kernels/elementwise/round_factors.h"

namespace frcnn {

bool rounds_factors(const Tensor& x) {
  return cpu_math() != GpuMath::f32 && !x.device().is_gpu() && x.dtype() == DType::f32;
}

Tensor rounded_factors(const Tensor& x) {
  if (!rounds_factors(x)) return x;
  const auto rounding =
      cpu_math() == GpuMath::tf32 ? kernels::FactorRounding::tf32 : kernels::FactorRounding::bf16;
  Tensor y = empty_like(x);
  kernels::cpu::round_factors(static_cast<int64_t>(x.stored_bytes() / sizeof(float)), rounding,
                              x.data<float>(), y.data<float>());
  return y;
}

}  // namespace frcnn
