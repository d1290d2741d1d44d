#pragma once

#include <cstdint>

#include "kernels/launch/finite_flag.h"
#include "kernels/launch/gpu.h"
#include "kernels/launch/host_device.h"
#include "kernels/optim/step_scalars.h"

namespace frcnn::kernels {

/// The decay of an exponential moving average after update number t (the first is 1):
///   min(decay, (1 + t) / (10 + t))
/// so that the first updates count for more and the average forgets where it began (the warm-up of
/// tf.train.ExponentialMovingAverage).
FRCNN_HOST_DEVICE inline double ema_decay(double decay, int64_t t) {
  const double early = (1 + static_cast<double>(t)) / (10 + static_cast<double>(t));
  return early < decay ? early : decay;
}

namespace cpu {

/// average += (1 - ema_decay(decay, t)) * (w - average), the factor rounded to T. Deterministic.
template <typename T>
void ema_step(int64_t count, double decay, int64_t t,
              const T* w,   // weights after update t
              T* average);  // updated

}  // namespace cpu

/// The same on a GPU, every operation rounded by itself: both versions give the same bits, and the
/// CPU version too where it does not fuse products and sums. With `scalars` (device memory)
/// scalars->step is t. With a flag in `finite`: nothing is changed after an earlier failure.
enum class EmaVersion : uint8_t { naive, vector };
inline constexpr gpu::KernelVersion kEmaVersions[] = {
    {"naive", "one thread, one element"},
    {"vector", "one thread, 16 bytes of each array where both are aligned to them"},
};

namespace gpu {

template <Backend backend, typename T>
void ema_step(Stream stream, int64_t count, double decay, int64_t t,
              const T* w,  // weights
              T* average,  // updated
              const StepScalars* scalars = nullptr, const FiniteCheck& finite = {},
              EmaVersion version = EmaVersion::vector);

}  // namespace gpu
}  // namespace frcnn::kernels
