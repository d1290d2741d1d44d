// Reference dense layer: the equation of linear.h as plain loops.
#include "kernels/linear/linear.h"

#include "kernels/launch/parallel.h"

namespace frcnn::kernels::cpu {

template <typename T>
void linear_forward_reference(const LinearParams& p, const T* x, const T* w, const T* b, T* y) {
  parallel_for(p.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t o = 0; o < p.out; ++o) {
        double sum = b ? double(b[o]) : 0.0;
        for (int64_t i = 0; i < p.in; ++i) sum += double(x[r * p.in + i]) * double(w[o * p.in + i]);
        y[r * p.out + o] = static_cast<T>(p.relu && sum < 0 ? 0.0 : sum);
      }
  });
}

template <typename T>
void linear_backward_data_reference(const LinearParams& p, const T* dy, const T* w, T* dx) {
  parallel_for(p.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t i = 0; i < p.in; ++i) dx[r * p.in + i] = T(0);
      for (int64_t o = 0; o < p.out; ++o)
        for (int64_t i = 0; i < p.in; ++i) dx[r * p.in + i] += dy[r * p.out + o] * w[o * p.in + i];
    }
  });
}

template <typename T>
void linear_backward_weights_reference(const LinearParams& p, const T* x, const T* dy, T* dw,
                                       T* db) {
  parallel_for(p.out, 1, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      double bias = 0;
      for (int64_t i = 0; i < p.in; ++i) dw[o * p.in + i] = T(0);
      for (int64_t r = 0; r < p.rows; ++r) {
        bias += double(dy[r * p.out + o]);
        for (int64_t i = 0; i < p.in; ++i) dw[o * p.in + i] += dy[r * p.out + o] * x[r * p.in + i];
      }
      if (db) db[o] = static_cast<T>(bias);
    }
  });
}

#define FRCNN_INSTANTIATE(T)                                                                      \
  template void linear_forward_reference<T>(const LinearParams&, const T*, const T*, const T*,    \
                                            T*);                                                  \
  template void linear_backward_data_reference<T>(const LinearParams&, const T*, const T*, T*);   \
  template void linear_backward_weights_reference<T>(const LinearParams&, const T*, const T*, T*, \
                                                     T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
