#include "kernels/launch/parallel.h"
#include "kernels/launch/simd.h"
#include "kernels/optim/ema.h"

namespace frcnn::kernels::cpu {
namespace {

template <typename T>
FRCNN_SIMD void ema_range(int64_t begin, int64_t end, T rest, const T* w, T* average) {
  for (int64_t i = begin; i < end; ++i) average[i] += rest * (w[i] - average[i]);
}

}  // namespace

template <typename T>
void ema_step(int64_t count, double decay, int64_t t, const T* w, T* average) {
  const T rest = static_cast<T>(1 - ema_decay(decay, t));
  parallel_for(count, 16384,
               [&](int64_t begin, int64_t end) { ema_range(begin, end, rest, w, average); });
}

template void ema_step<float>(int64_t, double, int64_t, const float*, float*);
template void ema_step<double>(int64_t, double, int64_t, const double*, double*);

}  // namespace frcnn::kernels::cpu
