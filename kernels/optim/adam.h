#pragma once

#include <cstdint>

#include "kernels/launch/finite_flag.h"
#include "kernels/launch/gpu.h"
#include "kernels/optim/step_scalars.h"

namespace frcnn::kernels {

/// Adam (Kingma and Ba, ICLR 2015, algorithm 1) and AdamW (Loshchilov and Hutter, ICLR 2019),
/// torch's form. With step t = 1, 2, ... and moments m, v (zero at the start):
///   g' = grad_scale * g + (decoupled ? 0 : weight_decay * w)
///   w  = w - (decoupled ? lr * weight_decay * w : 0)
///   m  = beta1 * m + (1 - beta1) * g'
///   v  = beta2 * v + (1 - beta2) * g'^2
///   w -= lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + epsilon)
struct AdamParams {
  double lr = 0.001;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  double grad_scale = 1.0;
  bool decoupled = false;  ///< true: AdamW
};

namespace cpu {

/// Step number `t` (the first is 1) over a flat array, in one pass. Deterministic.
template <typename T>
void adam_step(int64_t count, const AdamParams& params, int64_t t,
               const T* g,  // gradient
               T* w,        // weights, updated
               T* m,        // first moment, updated
               T* v);       // second moment, updated

}  // namespace cpu

/// The same on a GPU, every operation rounded by itself: all versions give the same bits, and the
/// CPU version too where it does not fuse products and sums (its vector code does on machines that
/// can; then the last bits differ). With `scalars` (device memory) their values multiply those of
/// `params` and scalars->step is t. With a flag in `finite`: nothing is changed after an earlier
/// failure; an element whose gradient is not finite is left as it is and noted.
enum class AdamVersion : uint8_t { naive, vector };
inline constexpr gpu::KernelVersion kAdamVersions[] = {
    {"naive", "one thread, one element"},
    {"vector", "one thread, 16 bytes of each array where all are aligned to them"},
};

namespace gpu {

template <Backend backend, typename T>
void adam_step(Stream stream, int64_t count, const AdamParams& params, int64_t t,
               const T* g,  // gradient
               T* w,        // weights, updated
               T* m,        // first moment, updated
               T* v,        // second moment, updated
               const StepScalars* scalars = nullptr, const FiniteCheck& finite = {},
               AdamVersion version = AdamVersion::vector);

}  // namespace gpu
}  // namespace frcnn::kernels
