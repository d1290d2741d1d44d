#include "kernels/losses/box_loss.h"

#include <algorithm>
#include <cmath>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr int64_t kBlock = 2048;

double penalty(const BoxLossParams& p, double d) {
  const double a = std::abs(d), square = p.sigma * p.sigma;
  switch (p.penalty) {
    case BoxPenalty::smooth_l1:
      return a < 1 / square ? 0.5 * square * d * d : a - 0.5 / square;
    case BoxPenalty::l1:
      return a;
    case BoxPenalty::mse:
      break;
  }
  return d * d;
}

double derivative(const BoxLossParams& p, double d) {
  const double square = p.sigma * p.sigma, sign = d > 0 ? 1 : d < 0 ? -1 : d;  // 0 or NaN
  switch (p.penalty) {
    case BoxPenalty::smooth_l1:
      return std::abs(d) < 1 / square ? square * d : sign;
    case BoxPenalty::l1:
      return sign;
    case BoxPenalty::mse:
      break;
  }
  return 2 * d;
}

/// First column of the prediction of row `row`, within the row.
int64_t column(const BoxLossParams& p, int32_t label, int64_t row) {
  if (p.groups == 1) return 0;
  check(label < p.groups, "[box_loss] expected labels below {}, got {} in row {}", p.groups, label,
        row);
  return 4 * label;
}

void check_params(const BoxLossParams& p) {
  check(p.sigma > 0 || p.penalty != BoxPenalty::smooth_l1, "[box_loss] expected sigma > 0, got {}",
        p.sigma);
}

}  // namespace

template <typename T>
double box_loss_forward(const BoxLossParams& p, int64_t rows, const T* predictions,
                        const T* targets, const int32_t* labels) {
  check_params(p);
  return parallel_reduce<double>(rows, kBlock, [&](int64_t begin, int64_t end) {
    double total = 0;
    for (int64_t r = begin; r < end; ++r) {
      if (labels[r] <= 0) continue;
      const T* row = predictions + r * 4 * p.groups + column(p, labels[r], r);
      for (int64_t k = 0; k < 4; ++k)
        total += penalty(p, static_cast<double>(row[k]) - static_cast<double>(targets[4 * r + k]));
    }
    return total;
  });
}

template <typename T>
void box_loss_backward(const BoxLossParams& p, int64_t rows, double scale, const T* predictions,
                       const T* targets, const int32_t* labels, T* dpredictions) {
  check_params(p);
  const int64_t width = 4 * p.groups;
  parallel_for(rows, kBlock, [&](int64_t begin, int64_t end) {
    std::fill(dpredictions + begin * width, dpredictions + end * width, T(0));
    for (int64_t r = begin; r < end; ++r) {
      if (labels[r] <= 0) continue;
      const int64_t at = r * width + column(p, labels[r], r);
      for (int64_t k = 0; k < 4; ++k)
        dpredictions[at + k] =
            static_cast<T>(scale * derivative(p, static_cast<double>(predictions[at + k]) -
                                                     static_cast<double>(targets[4 * r + k])));
    }
  });
}

#define FRCNN_INSTANTIATE(T)                                                                    \
  template double box_loss_forward<T>(const BoxLossParams&, int64_t, const T*, const T*,        \
                                      const int32_t*);                                          \
  template void box_loss_backward<T>(const BoxLossParams&, int64_t, double, const T*, const T*, \
                                     const int32_t*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
