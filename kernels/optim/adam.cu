#include "kernels/optim/adam.h"

#include "kernels/launch/finite_flag.cuh"
#include "kernels/launch/host_device.h"
#include "kernels/launch/pack.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;

/// The factors of one step, in T.
template <typename T>
struct Factors {
  T keep, decay, grad_scale, beta1, rest1, beta2, rest2, step, root, epsilon;
};

template <typename T>
FRCNN_HOST_DEVICE Factors<T> factors_of(const AdamParams& p, double lr, double grad_scale,
                                        int64_t t) {
  const double steps = static_cast<double>(t);
  const double correction1 = 1 - std::pow(p.beta1, steps);
  const double correction2 = 1 - std::pow(p.beta2, steps);
  const double lost = lr * p.weight_decay;  // by decoupled decay
  return {static_cast<T>(p.decoupled ? 1 - lost : 1.0),
          static_cast<T>(p.decoupled ? 0.0 : p.weight_decay),
          static_cast<T>(grad_scale),
          static_cast<T>(p.beta1),
          static_cast<T>(1 - p.beta1),
          static_cast<T>(p.beta2),
          static_cast<T>(1 - p.beta2),
          static_cast<T>(lr / correction1),
          static_cast<T>(1 / std::sqrt(correction2)),
          static_cast<T>(p.epsilon)};
}

template <typename T>
__device__ void update(const Factors<T>& f, T g, T& w, T& m, T& v) {
  const T gradient = add_rn(mul_rn(f.grad_scale, g), mul_rn(f.decay, w));
  m = add_rn(mul_rn(f.beta1, m), mul_rn(f.rest1, gradient));
  v = add_rn(mul_rn(f.beta2, v), mul_rn(mul_rn(f.rest2, gradient), gradient));
  const T root = add_rn(mul_rn(std::sqrt(v), f.root), f.epsilon);
  w = sub_rn(mul_rn(f.keep, w), div_rn(mul_rn(f.step, m), root));
}

template <typename T>
struct Bucket {
  const T* g;
  T *w, *m, *v;
  FiniteCheck finite;
};

/// Elements [i, i + N), read and written with one instruction per array.
template <int N, typename T>
__device__ void update_pack(const Factors<T>& factors, const Bucket<T>& bucket, int64_t i) {
  const Pack<T, N> g = load_pack<N>(bucket.g + i);
  Pack<T, N> w = load_pack<N>(bucket.w + i), m = load_pack<N>(bucket.m + i),
             v = load_pack<N>(bucket.v + i);
  for (int k = 0; k < N; ++k) {
    if (bucket.finite.flag != nullptr && !is_finite(g.v[k]))
      note_not_finite(bucket.finite, i + k);
    else
      update(factors, g.v[k], w.v[k], m.v[k], v.v[k]);
  }
  store_pack(bucket.w + i, w);
  store_pack(bucket.m + i, m);
  store_pack(bucket.v + i, v);
}

/// `given` are the factors as the host knows them; with scalars one thread of each block works them
/// out anew, because powers in double are dear.
template <int N, typename T>
__global__ void adam_kernel(int64_t count, const AdamParams params, const Factors<T> given,
                            const StepScalars* scalars, const Bucket<T> bucket) {
  FRCNN_SHARED(Factors<T>, own, [1]);
  if (failed_before(bucket.finite)) return;
  Factors<T> factors = given;
  if (scalars != nullptr) {
    if (threadIdx.x == 0)
      own[0] =
          factors_of<T>(params, params.lr * scalars->lr,
                        params.grad_scale * (scalars->grad_scale * scalars->clip), scalars->step);
    __syncthreads();
    factors = own[0];
  }
  const int64_t packs = count / N;
  for (int64_t i = grid_first(); i < packs; i += grid_step())
    update_pack<N>(factors, bucket, i * N);
  for (int64_t i = packs * N + grid_first(); i < count; i += grid_step())
    update_pack<1>(factors, bucket, i);
}

}  // namespace

template <Backend backend, typename T>
void adam_step(Stream stream, int64_t count, const AdamParams& params, int64_t t, const T* g, T* w,
               T* m, T* v, const StepScalars* scalars, const FiniteCheck& finite,
               AdamVersion version) {
  constexpr int64_t kMostBlocks = 2048;  // each works the factors out once
  constexpr int kPack = Pack<T>::kSize;
  check(t >= 1 || scalars != nullptr, "[adam] expected step number 1 or later, got {}", t);
  const bool vector = version == AdamVersion::vector && aligned_to(16, g, w, m, v);
  const int64_t items = vector ? ceil_div(count, kPack) : count;
  launch({"adam_step", blocks_for(items, kThreads, kMostBlocks), kThreads, 0, stream},
         vector ? adam_kernel<kPack, T> : adam_kernel<1, T>, count, params,
         factors_of<T>(params, params.lr, params.grad_scale, t), scalars,
         Bucket<T>{g, w, m, v, finite});
}

#define FRCNN_INSTANTIATE(T)                                                                      \
  template void adam_step<kBackend, T>(Stream, int64_t, const AdamParams&, int64_t, const T*, T*, \
                                       T*, T*, const StepScalars*, const FiniteCheck&,            \
                                       AdamVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
