#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/launch/gpu.h"

namespace frcnn::kernels {

/// What a loss or its gradient is multiplied by on a GPU: a number, times another in device memory
/// where that is known to the device alone (1 / samples, or the gradient that comes from above).
struct LossScale {
  double value = 1;
  const double* device = nullptr;  ///< device memory, or nullptr: 1

  LossScale(double value_ = 1, const double* device_ = nullptr)  // NOLINT: a number is a scale
      : value(value_), device(device_) {}
};

namespace gpu {

/// Device memory that the sum of a loss needs. It must be zero at its first use, and is left so;
/// losses that share it must be in one stream.
inline constexpr size_t kLossWorkspace = 8 * 1024 + 16;

/// *scale = numerator / max(1, the sum of n counts, `stride` apart): the mean over samples whose
/// number the device alone knows; with no sample the sums are 0 and not 0 / 0.
template <Backend backend>
void loss_scale(Stream stream, double numerator, int64_t n, const int32_t* counts, double* scale,
                int64_t stride = 1);

}  // namespace gpu
}  // namespace frcnn::kernels
