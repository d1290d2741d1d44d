#include <algorithm>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"
#include "kernels/losses/giou.h"
#include "kernels/losses/giou_box.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr int64_t kBlock = 1024;

/// First column of the prediction of row `row`, within the row.
int64_t column(const GiouParams& p, int32_t label, int64_t row) {
  if (p.groups == 1) return 0;
  check(label < p.groups, "[giou_loss] expected labels below {}, got {} in row {}", p.groups, label,
        row);
  return 4 * label;
}

}  // namespace

template <typename T>
double giou_loss_forward(const GiouParams& p, int64_t rows, const T* predictions, const T* targets,
                         const int32_t* labels) {
  return parallel_reduce<double>(rows, kBlock, [&](int64_t begin, int64_t end) {
    double total = 0;
    for (int64_t r = begin; r < end; ++r)
      if (labels[r] > 0)
        total += giou_loss_of(p.codec, predictions + r * 4 * p.groups + column(p, labels[r], r),
                              targets + 4 * r, nullptr);
    return total;
  });
}

template <typename T>
void giou_loss_backward(const GiouParams& p, int64_t rows, double scale, const T* predictions,
                        const T* targets, const int32_t* labels, T* dpredictions) {
  const int64_t width = 4 * p.groups;
  parallel_for(rows, kBlock, [&](int64_t begin, int64_t end) {
    std::fill(dpredictions + begin * width, dpredictions + end * width, T(0));
    for (int64_t r = begin; r < end; ++r) {
      if (labels[r] <= 0) continue;
      const int64_t at = r * width + column(p, labels[r], r);
      double gradient[4];
      giou_loss_of(p.codec, predictions + at, targets + 4 * r, gradient);
      for (int64_t k = 0; k < 4; ++k) dpredictions[at + k] = static_cast<T>(scale * gradient[k]);
    }
  });
}

#define FRCNN_INSTANTIATE(T)                                                                  \
  template double giou_loss_forward<T>(const GiouParams&, int64_t, const T*, const T*,        \
                                       const int32_t*);                                       \
  template void giou_loss_backward<T>(const GiouParams&, int64_t, double, const T*, const T*, \
                                      const int32_t*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
