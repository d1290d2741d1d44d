#include <bit>

#include "kernels/elementwise/round_factors.h"
#include "kernels/launch/bfloat16.h"
#include "kernels/launch/parallel.h"

namespace frcnn::kernels::cpu {
namespace {

float to_tf32(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const bool finite = (bits & 0x7F800000u) != 0x7F800000u;
  return finite ? std::bit_cast<float>((bits + 0x1000u) & 0xFFFFE000u) : value;
}

}  // namespace

void round_factors(int64_t count, FactorRounding rounding, const float* x, float* y) {
  parallel_for(count, 16384, [&](int64_t begin, int64_t end) {
    if (rounding == FactorRounding::tf32)
      for (int64_t i = begin; i < end; ++i) y[i] = to_tf32(x[i]);
    else
      for (int64_t i = begin; i < end; ++i) y[i] = static_cast<float>(Bfloat16(x[i]));
  });
}

}  // namespace frcnn::kernels::cpu
