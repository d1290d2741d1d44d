#include "kernels/optim/ema.h"

#include "kernels/launch/check.h"
#include "kernels/launch/finite_flag.cuh"
#include "kernels/launch/pack.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;

template <int N, typename T>
__device__ void update_pack(T rest, const T* w, T* average) {
  const Pack<T, N> now = load_pack<N>(w);
  Pack<T, N> mean = load_pack<N>(average);
  for (int k = 0; k < N; ++k)
    mean.v[k] = add_rn(mean.v[k], mul_rn(rest, sub_rn(now.v[k], mean.v[k])));
  store_pack(average, mean);
}

template <int N, typename T>
__global__ void ema_kernel(int64_t count, double decay, int64_t t, const StepScalars* scalars,
                           const T* w, T* average, const FiniteCheck finite) {
  if (failed_before(finite)) return;
  const T rest = static_cast<T>(1 - ema_decay(decay, scalars != nullptr ? scalars->step : t));
  const int64_t packs = count / N;
  for (int64_t i = grid_first(); i < packs; i += grid_step())
    update_pack<N>(rest, w + i * N, average + i * N);
  for (int64_t i = packs * N + grid_first(); i < count; i += grid_step())
    update_pack<1>(rest, w + i, average + i);
}

}  // namespace

template <Backend backend, typename T>
void ema_step(Stream stream, int64_t count, double decay, int64_t t, const T* w, T* average,
              const StepScalars* scalars, const FiniteCheck& finite, EmaVersion version) {
  constexpr int kPack = Pack<T>::kSize;
  check(t >= 1 || scalars != nullptr, "[ema] expected step number 1 or later, got {}", t);
  const bool vector = version == EmaVersion::vector && aligned_to(16, w, average);
  const int64_t items = vector ? ceil_div(count, kPack) : count;
  launch({"ema_step", blocks_for(items, kThreads), kThreads, 0, stream},
         vector ? ema_kernel<kPack, T> : ema_kernel<1, T>, count, decay, t, scalars, w, average,
         finite);
}

#define FRCNN_INSTANTIATE(T)                                                          \
  template void ema_step<kBackend, T>(Stream, int64_t, double, int64_t, const T*, T*, \
                                      const StepScalars*, const FiniteCheck&, EmaVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
