#include "kernels/losses/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "kernels/launch/parallel.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr int64_t kBlock = 1024;  // rows summed by one piece, whatever the number of threads

/// Writes exp(x - max) of one row to `p` (unless nullptr); returns max and the sum.
template <typename T>
std::pair<double, double> exponentials(int64_t classes, const T* x, T* p) {
  const double most = static_cast<double>(*std::max_element(x, x + classes));
  double sum = 0;
  for (int64_t c = 0; c < classes; ++c) {
    const double e = std::exp(static_cast<double>(x[c]) - most);
    sum += e;
    if (p) p[c] = static_cast<T>(e);
  }
  return {most, sum};
}

template <typename T>
void softmax_row(int64_t classes, const T* x, T* p) {
  const auto [most, sum] = exponentials(classes, x, p);
  (void)most;
  for (int64_t c = 0; c < classes; ++c) p[c] = static_cast<T>(static_cast<double>(p[c]) / sum);
}

}  // namespace

template <typename T>
void softmax(int64_t rows, int64_t classes, const T* logits, T* p) {
  parallel_for(rows, kBlock, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      softmax_row(classes, logits + r * classes, p + r * classes);
  });
}

template <typename T>
double softmax_cross_entropy_forward(int64_t rows, int64_t classes, const T* logits,
                                     const int32_t* labels, T* probabilities) {
  return parallel_reduce<double>(rows, kBlock, [&](int64_t begin, int64_t end) {
    double total = 0;
    for (int64_t r = begin; r < end; ++r) {
      const T* x = logits + r * classes;
      if (probabilities) softmax_row(classes, x, probabilities + r * classes);
      if (labels[r] < 0) continue;
      const auto [most, sum] = exponentials<T>(classes, x, nullptr);
      total += std::log(sum) - (static_cast<double>(x[labels[r]]) - most);
    }
    return total;
  });
}

template <typename T>
void softmax_cross_entropy_backward(int64_t rows, int64_t classes, double scale,
                                    const T* probabilities, const int32_t* labels, T* dlogits) {
  const T factor = static_cast<T>(scale);
  parallel_for(rows, kBlock, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* p = probabilities + r * classes;
      T* d = dlogits + r * classes;
      if (labels[r] < 0) {
        std::fill(d, d + classes, T(0));
        continue;
      }
      for (int64_t c = 0; c < classes; ++c) d[c] = factor * (p[c] - (c == labels[r] ? T(1) : T(0)));
    }
  });
}

template <typename T>
void sigmoid(int64_t count, const T* x, T* y) {
  parallel_for(count, 4 * kBlock, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = T(1) / (T(1) + std::exp(-x[i]));
  });
}

template <typename T>
double sigmoid_cross_entropy_forward(int64_t count, const T* logits, const int32_t* labels) {
  return parallel_reduce<double>(count, 4 * kBlock, [&](int64_t begin, int64_t end) {
    double total = 0;
    for (int64_t i = begin; i < end; ++i) {
      if (labels[i] < 0) continue;
      const double x = static_cast<double>(logits[i]);
      total +=
          (x > 0 || std::isnan(x) ? x : 0.0) - x * labels[i] + std::log1p(std::exp(-std::abs(x)));
    }
    return total;
  });
}

template <typename T>
void sigmoid_cross_entropy_backward(int64_t count, double scale, const T* logits,
                                    const int32_t* labels, T* dlogits) {
  const T factor = static_cast<T>(scale);
  parallel_for(count, 4 * kBlock, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      dlogits[i] =
          labels[i] < 0
              ? T(0)
              : factor * (T(1) / (T(1) + std::exp(-logits[i])) - static_cast<T>(labels[i]));
  });
}

#define FRCNN_INSTANTIATE(T)                                                                   \
  template void softmax<T>(int64_t, int64_t, const T*, T*);                                    \
  template double softmax_cross_entropy_forward<T>(int64_t, int64_t, const T*, const int32_t*, \
                                                   T*);                                        \
  template void softmax_cross_entropy_backward<T>(int64_t, int64_t, double, const T*,          \
                                                  const int32_t*, T*);                         \
  template void sigmoid<T>(int64_t, const T*, T*);                                             \
  template double sigmoid_cross_entropy_forward<T>(int64_t, const T*, const int32_t*);         \
  template void sigmoid_cross_entropy_backward<T>(int64_t, double, const T*, const int32_t*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
