#pragma once

#include <cstdint>

#include "kernels/launch/finite_flag.h"
#include "kernels/launch/gpu.h"
#include "kernels/optim/step_scalars.h"

namespace frcnn::kernels {

/// Stochastic gradient descent with momentum and L2 weight decay, torch's form. With loss gradient
/// g, weight w, velocity v (zero at the start):
///   g' = grad_scale * g + weight_decay * w
///   v  = momentum * v + g'
///   w -= lr * v                      or, with nesterov,  w -= lr * (g' + momentum * v)
/// Caffe keeps the learning rate inside the velocity: v = momentum * v + lr * g', w -= v. Both
/// agree while lr is constant; after lr drops by a factor, Caffe's velocity is still that of the
/// old rate.
struct SgdParams {
  double lr = 0.001;
  double momentum = 0.9;
  double weight_decay = 0.0005;
  double grad_scale = 1.0;  ///< e.g. 1 / images accumulated, or a clipping factor
  bool nesterov = false;
};

namespace cpu {

/// One step over a flat array, in one pass. Deterministic.
template <typename T>
void sgd_step(int64_t count, const SgdParams& params,
              const T* g,  // gradient
              T* w,        // weights, updated
              T* v);       // velocity, updated; may be nullptr when momentum is 0

}  // namespace cpu

/// The same on a GPU, every operation rounded by itself: all versions give the same bits, and the
/// CPU version too where it does not fuse products and sums (its vector code does on machines that
/// can; then the last bits differ). With `scalars` (device memory) their values multiply those of
/// `params`. With a flag in `finite`: nothing is changed after an earlier failure; an element whose
/// gradient is not finite is left as it is and noted.
enum class SgdVersion : uint8_t { naive, vector };
inline constexpr gpu::KernelVersion kSgdVersions[] = {
    {"naive", "one thread, one element"},
    {"vector", "one thread, 16 bytes of each array where all are aligned to them"},
};

namespace gpu {

template <Backend backend, typename T>
void sgd_step(Stream stream, int64_t count, const SgdParams& params,
              const T* g,  // gradient
              T* w,        // weights, updated
              T* v,        // velocity, updated; may be nullptr when momentum is 0
              const StepScalars* scalars = nullptr, const FiniteCheck& finite = {},
              SgdVersion version = SgdVersion::vector);

}  // namespace gpu
}  // namespace frcnn::kernels
