#pragma once

#include "kernels/launch/finite_flag.h"
#include "kernels/launch/gpu.cuh"

namespace frcnn::kernels::gpu {

template <typename T>
__device__ inline bool is_finite(T x) {
  return x - x == T(0);  // infinity - infinity and NaN - NaN are NaN
}

/// The number that stands for entry `index` of this check.
__device__ inline uint64_t finite_key(const FiniteCheck& check, int64_t index) {
  return FiniteFlag::pack(check.step != nullptr ? *check.step : check.step_value, check.number,
                          index);
}

/// Notes that entry `index` is not finite.
__device__ inline void note_not_finite(const FiniteCheck& check, int64_t index) {
  if (check.flag == nullptr) return;
  static_assert(sizeof(unsigned long long) == sizeof(uint64_t));
  atomicMin(reinterpret_cast<unsigned long long*>(&check.flag->first),
            static_cast<unsigned long long>(finite_key(check, index)));
}

/// Whether an earlier step, or an earlier check of this step, has failed.
__device__ inline bool failed_before(const FiniteCheck& check) {
  return check.flag != nullptr && check.flag->first < finite_key(check, 0);
}

}  // namespace frcnn::kernels::gpu
