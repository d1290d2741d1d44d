#include "kernels/losses/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr int64_t kBlock = 1024;  // rows summed by one piece, whatever the number of threads

/// A row's maximum and the sum of exp(x - maximum).
struct RowSum {
  double most, sum;
};

/// Sums a row and writes its softmax to `p` (unless nullptr; may be x).
template <typename T>
RowSum softmax_row(int64_t classes, const T* x, T* p) {
  RowSum row{static_cast<double>(*std::max_element(x, x + classes)), 0};
  for (int64_t c = 0; c < classes; ++c) {
    const double e = std::exp(static_cast<double>(x[c]) - row.most);
    row.sum += e;
    if (p) p[c] = static_cast<T>(e);
  }
  if (p)
    for (int64_t c = 0; c < classes; ++c)
      p[c] = static_cast<T>(static_cast<double>(p[c]) / row.sum);
  return row;
}

void check_label(int32_t label, int64_t classes, int64_t row) {
  check(label < classes, "[cross_entropy] expected labels below {}, got {} in row {}", classes,
        label, row);
}

/// sigmoid(x) in double.
double probability(double x) {
  return 1 / (1 + std::exp(-x));
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
                                     const int32_t* labels, T* probabilities, const T* row_weights,
                                     T* row_losses, const Focal& focal) {
  return parallel_reduce<double>(rows, kBlock, [&](int64_t begin, int64_t end) {
    double total = 0;
    for (int64_t r = begin; r < end; ++r) {
      const T* x = logits + r * classes;
      T* p = probabilities ? probabilities + r * classes : nullptr;
      double loss = 0;
      if (labels[r] >= 0) {
        check_label(labels[r], classes, r);
        const double chosen = static_cast<double>(x[labels[r]]);
        const RowSum row = softmax_row(classes, x, p);
        loss = std::log(row.sum) - (chosen - row.most);
        if (!focal.plain())
          loss = focal.loss(labels[r] > 0, 1 - std::exp(chosen - row.most) / row.sum, loss);
        if (row_weights) loss *= static_cast<double>(row_weights[r]);
      } else if (p) {
        softmax_row(classes, x, p);
      }
      if (row_losses) row_losses[r] = static_cast<T>(loss);
      total += loss;
    }
    return total;
  });
}

template <typename T>
void softmax_cross_entropy_backward(int64_t rows, int64_t classes, double scale,
                                    const T* probabilities, const int32_t* labels, T* dlogits,
                                    const T* row_weights, const Focal& focal) {
  parallel_for(rows, kBlock, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* p = probabilities + r * classes;
      T* d = dlogits + r * classes;
      if (labels[r] < 0) {
        std::fill(d, d + classes, T(0));
        continue;
      }
      check_label(labels[r], classes, r);
      T factor = static_cast<T>(scale) * (row_weights ? row_weights[r] : T(1));
      if (!focal.plain()) {
        const double chosen = static_cast<double>(p[labels[r]]);
        factor *= static_cast<T>(focal.slope(labels[r] > 0, chosen, 1 - chosen));
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
double sigmoid_cross_entropy_forward(int64_t count, const T* logits, const int32_t* labels,
                                     const Focal& focal) {
  return parallel_reduce<double>(count, 4 * kBlock, [&](int64_t begin, int64_t end) {
    double total = 0;
    for (int64_t i = begin; i < end; ++i) {
      if (labels[i] < 0) continue;
      check_label(labels[i], 2, i);
      const double x = static_cast<double>(logits[i]);
      const double entropy =
          (x > 0 || std::isnan(x) ? x : 0.0) - x * labels[i] + std::log1p(std::exp(-std::abs(x)));
      total += focal.plain()
                   ? entropy
                   : focal.loss(labels[i] > 0, probability(labels[i] > 0 ? -x : x), entropy);
    }
    return total;
  });
}

template <typename T>
void sigmoid_cross_entropy_backward(int64_t count, double scale, const T* logits,
                                    const int32_t* labels, T* dlogits, const Focal& focal) {
  const T factor = static_cast<T>(scale);
  parallel_for(count, 4 * kBlock, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      dlogits[i] =
          labels[i] < 0
              ? T(0)
              : factor * (T(1) / (T(1) + std::exp(-logits[i])) - static_cast<T>(labels[i]));
      if (focal.plain() || labels[i] < 0) continue;
      const bool object = labels[i] > 0;
      const double x = static_cast<double>(logits[i]), towards = object ? x : -x;
      dlogits[i] *=
          static_cast<T>(focal.slope(object, probability(towards), probability(-towards)));
    }
  });
}

void one_vs_all_labels(int64_t rows, int64_t classes, const int32_t* labels, int32_t* out) {
  parallel_for(rows, kBlock, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t c = 0; c < classes; ++c)
        out[r * classes + c] = c == 0 || labels[r] < 0 ? -1 : labels[r] == c ? 1 : 0;
  });
}

#define FRCNN_INSTANTIATE(T)                                                                       \
  template void softmax<T>(int64_t, int64_t, const T*, T*);                                        \
  template double softmax_cross_entropy_forward<T>(int64_t, int64_t, const T*, const int32_t*, T*, \
                                                   const T*, T*, const Focal&);                    \
  template void softmax_cross_entropy_backward<T>(int64_t, int64_t, double, const T*,              \
                                                  const int32_t*, T*, const T*, const Focal&);     \
  template void sigmoid<T>(int64_t, const T*, T*);                                                 \
  template double sigmoid_cross_entropy_forward<T>(int64_t, const T*, const int32_t*,              \
                                                   const Focal&);                                  \
  template void sigmoid_cross_entropy_backward<T>(int64_t, double, const T*, const int32_t*, T*,   \
                                                  const Focal&);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
