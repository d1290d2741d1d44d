#include "kernels/optim/adam.h"

#include <cmath>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"
#include "kernels/launch/simd.h"

namespace frcnn::kernels::cpu {
namespace {

/// The factors of one step, in T.
template <typename T>
struct Factors {
  T keep, decay, grad_scale, beta1, rest1, beta2, rest2, step, root, epsilon;
};

template <typename T>
FRCNN_SIMD void adam_range(int64_t begin, int64_t end, const Factors<T>& factors, const T* g, T* w,
                           T* m, T* v) {
  const Factors<T> f = factors;
  for (int64_t i = begin; i < end; ++i) {
    const T gradient = f.grad_scale * g[i] + f.decay * w[i];
    const T first = f.beta1 * m[i] + f.rest1 * gradient;
    const T second = f.beta2 * v[i] + f.rest2 * gradient * gradient;
    m[i] = first;
    v[i] = second;
    w[i] = f.keep * w[i] - f.step * first / (std::sqrt(second) * f.root + f.epsilon);
  }
}

}  // namespace

template <typename T>
void adam_step(int64_t count, const AdamParams& p, int64_t t, const T* g, T* w, T* m, T* v) {
  check(t >= 1, "[adam] expected step number 1 or later, got {}", t);
  const double steps = static_cast<double>(t);
  const double correction1 = 1 - std::pow(p.beta1, steps);
  const double correction2 = 1 - std::pow(p.beta2, steps);
  const Factors<T> factors = {static_cast<T>(p.decoupled ? 1 - p.lr * p.weight_decay : 1.0),
                              static_cast<T>(p.decoupled ? 0.0 : p.weight_decay),
                              static_cast<T>(p.grad_scale),
                              static_cast<T>(p.beta1),
                              static_cast<T>(1 - p.beta1),
                              static_cast<T>(p.beta2),
                              static_cast<T>(1 - p.beta2),
                              static_cast<T>(p.lr / correction1),
                              static_cast<T>(1 / std::sqrt(correction2)),
                              static_cast<T>(p.epsilon)};
  parallel_for(count, 16384,
               [&](int64_t begin, int64_t end) { adam_range(begin, end, factors, g, w, m, v); });
}

template void adam_step<float>(int64_t, const AdamParams&, int64_t, const float*, float*, float*,
                               float*);
template void adam_step<double>(int64_t, const AdamParams&, int64_t, const double*, double*,
                                double*, double*);

}  // namespace frcnn::kernels::cpu
