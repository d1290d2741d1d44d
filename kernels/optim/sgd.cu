#include "kernels/optim/sgd.h"

#include "kernels/launch/finite_flag.cuh"
#include "kernels/launch/pack.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;

enum class Rule : uint8_t { plain, momentum, nesterov };

/// The factors of one step, in T.
template <typename T>
struct Factors {
  T lr, momentum, decay, grad_scale;
};

template <typename T>
__device__ Factors<T> factors_of(const SgdParams& p, const StepScalars* scalars) {
  double lr = p.lr, grad_scale = p.grad_scale;
  if (scalars != nullptr) {
    lr *= scalars->lr;
    grad_scale *= scalars->grad_scale * scalars->clip;
  }
  return {static_cast<T>(lr), static_cast<T>(p.momentum), static_cast<T>(p.weight_decay),
          static_cast<T>(grad_scale)};
}

template <Rule rule, typename T>
__device__ void update(const Factors<T>& f, T g, T& w, T& v) {
  const T gradient = add_rn(mul_rn(f.grad_scale, g), mul_rn(f.decay, w));
  T step = gradient;
  if constexpr (rule != Rule::plain) {
    v = add_rn(mul_rn(f.momentum, v), gradient);
    step = rule == Rule::nesterov ? add_rn(gradient, mul_rn(f.momentum, v)) : v;
  }
  w = sub_rn(w, mul_rn(f.lr, step));
}

template <typename T>
struct Bucket {
  const T* g;
  T *w, *v;
  FiniteCheck finite;
};

/// Elements [i, i + N), read and written with one instruction per array.
template <Rule rule, int N, typename T>
__device__ void update_pack(const Factors<T>& factors, const Bucket<T>& bucket, int64_t i) {
  const Pack<T, N> g = load_pack<N>(bucket.g + i);
  Pack<T, N> w = load_pack<N>(bucket.w + i), v{};
  if constexpr (rule != Rule::plain) v = load_pack<N>(bucket.v + i);
  for (int k = 0; k < N; ++k) {
    if (bucket.finite.flag != nullptr && !is_finite(g.v[k]))
      note_not_finite(bucket.finite, i + k);
    else
      update<rule>(factors, g.v[k], w.v[k], v.v[k]);
  }
  store_pack(bucket.w + i, w);
  if constexpr (rule != Rule::plain) store_pack(bucket.v + i, v);
}

template <Rule rule, int N, typename T>
__global__ void sgd_kernel(int64_t count, const SgdParams params, const StepScalars* scalars,
                           const Bucket<T> bucket) {
  if (failed_before(bucket.finite)) return;
  const Factors<T> factors = factors_of<T>(params, scalars);
  const int64_t packs = count / N;
  for (int64_t i = grid_first(); i < packs; i += grid_step())
    update_pack<rule, N>(factors, bucket, i * N);
  for (int64_t i = packs * N + grid_first(); i < count; i += grid_step())
    update_pack<rule, 1>(factors, bucket, i);
}

template <int N, typename T>
auto kernel_of(const SgdParams& params, const T* v) {
  return v == nullptr      ? sgd_kernel<Rule::plain, N, T>
         : params.nesterov ? sgd_kernel<Rule::nesterov, N, T>
                           : sgd_kernel<Rule::momentum, N, T>;
}

}  // namespace

template <Backend backend, typename T>
void sgd_step(Stream stream, int64_t count, const SgdParams& params, const T* g, T* w, T* v,
              const StepScalars* scalars, const FiniteCheck& finite, SgdVersion version) {
  check(v != nullptr || params.momentum == 0, "[sgd] expected a velocity array with momentum {}",
        params.momentum);
  constexpr int kPack = Pack<T>::kSize;
  const bool vector = version == SgdVersion::vector && aligned_to(16, g, w, v);
  launch({"sgd_step", blocks_for(vector ? ceil_div(count, kPack) : count, kThreads), kThreads, 0,
          stream},
         vector ? kernel_of<kPack>(params, v) : kernel_of<1>(params, v), count, params, scalars,
         Bucket<T>{g, w, v, finite});
}

#define FRCNN_INSTANTIATE(T)                                                               \
  template void sgd_step<kBackend, T>(Stream, int64_t, const SgdParams&, const T*, T*, T*, \
                                      const StepScalars*, const FiniteCheck&, SgdVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
