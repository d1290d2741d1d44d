#include "kernels/optim/sgd.h"

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"
#include "kernels/launch/simd.h"

namespace frcnn::kernels::cpu {
namespace {

template <typename T, bool kNesterov>
FRCNN_SIMD void momentum_range(int64_t begin, int64_t end, T lr, T momentum, T decay, T grad_scale,
                               const T* g, T* w, T* v) {
  for (int64_t i = begin; i < end; ++i) {
    const T gradient = grad_scale * g[i] + decay * w[i];
    const T velocity = momentum * v[i] + gradient;
    v[i] = velocity;
    w[i] -= lr * (kNesterov ? gradient + momentum * velocity : velocity);
  }
}

template <typename T>
FRCNN_SIMD void plain_range(int64_t begin, int64_t end, T lr, T decay, T grad_scale, const T* g,
                            T* w) {
  for (int64_t i = begin; i < end; ++i) w[i] -= lr * (grad_scale * g[i] + decay * w[i]);
}

}  // namespace

template <typename T>
void sgd_step(int64_t count, const SgdParams& p, const T* g, T* w, T* v) {
  check(v != nullptr || p.momentum == 0, "[sgd] expected a velocity array with momentum {}",
        p.momentum);
  const T lr = static_cast<T>(p.lr), momentum = static_cast<T>(p.momentum);
  const T decay = static_cast<T>(p.weight_decay), grad_scale = static_cast<T>(p.grad_scale);
  parallel_for(count, 16384, [&](int64_t begin, int64_t end) {
    if (!v)
      plain_range(begin, end, lr, decay, grad_scale, g, w);
    else if (p.nesterov)
      momentum_range<T, true>(begin, end, lr, momentum, decay, grad_scale, g, w, v);
    else
      momentum_range<T, false>(begin, end, lr, momentum, decay, grad_scale, g, w, v);
  });
}

template void sgd_step<float>(int64_t, const SgdParams&, const float*, float*, float*);
template void sgd_step<double>(int64_t, const SgdParams&, const double*, double*, double*);

}  // namespace frcnn::kernels::cpu
