#include "kernels/losses/giou.h"

#include <limits>

#include "kernels/losses/giou_box.h"
#include "kernels/losses/loss_sum.cuh"

namespace frcnn::kernels::gpu {
namespace {

template <typename T>
struct Rows {
  GiouParams params;
  int64_t rows;
  const T *predictions, *targets;
  const int32_t* labels;

  /// The group of columns that counts in row r; -1: none, -2: its label is beyond the groups.
  __device__ int64_t group(int64_t r) const {
    const int32_t label = labels[r];
    if (label <= 0) return -1;
    if (params.groups == 1) return 0;
    return label < params.groups ? label : -2;
  }
  __device__ const T* prediction(int64_t r, int64_t group) const {
    return predictions + (r * params.groups + group) * 4;
  }
  /// Writes the four columns of group g of row r.
  __device__ void gradient(double scale, int64_t r, int64_t g, T* dpredictions) const {
    double values[4] = {0, 0, 0, 0};
    if (group(r) == g) giou_loss_of(params.codec, prediction(r, g), targets + 4 * r, values);
    for (int k = 0; k < 4; ++k)
      dpredictions[(r * params.groups + g) * 4 + k] = static_cast<T>(scale * values[k]);
  }
};

template <typename T>
__global__ void __launch_bounds__(kLossThreads)
    forward_kernel(const Rows<T> a, FiniteCheck finite, GridWork* work, const LossScale scale,
                   double* loss) {
  double total = 0;
  for (int64_t r = grid_first(); r < a.rows; r += grid_step()) {
    const int64_t group = a.group(r);
    if (group == -1) continue;
    const double one = group < 0 ? std::numeric_limits<double>::quiet_NaN()
                                 : giou_loss_of(a.params.codec, a.prediction(r, group),
                                                a.targets + 4 * r, nullptr);
    if (!is_finite(one)) note_not_finite(finite, r);
    total += one;
  }
  store_loss(total, work, scale, loss);
}

template <typename T>
__global__ void backward_rows_kernel(const Rows<T> a, const LossScale scale, T* dpredictions) {
  const double factor = value_of(scale);
  for (int64_t r = grid_first(); r < a.rows; r += grid_step())
    for (int64_t g = 0; g < a.params.groups; ++g) a.gradient(factor, r, g, dpredictions);
}

template <typename T>
__global__ void backward_columns_kernel(const Rows<T> a, const LossScale scale, T* dpredictions) {
  const double factor = value_of(scale);
  const int64_t groups = a.params.groups;
  for (int64_t i = grid_first(); i < a.rows * groups; i += grid_step())
    a.gradient(factor, i / groups, i % groups, dpredictions);
}

}  // namespace

template <Backend backend, typename T>
void giou_loss_forward(Stream stream, const GiouParams& params, int64_t rows,
                       const LossScale& scale, const T* predictions, const T* targets,
                       const int32_t* labels, double* loss, void* workspace,
                       const FiniteCheck& finite) {
  const Rows<T> arguments{params, rows, predictions, targets, labels};
  launch({"giou_loss_forward", sum_blocks(rows, kLossThreads), kLossThreads, 0, stream},
         forward_kernel<T>, arguments, finite, static_cast<GridWork*>(workspace), scale, loss);
}

template <Backend backend, typename T>
void giou_loss_backward(Stream stream, const GiouParams& params, int64_t rows,
                        const LossScale& scale, const T* predictions, const T* targets,
                        const int32_t* labels, T* dpredictions, GiouVersion version) {
  const Rows<T> arguments{params, rows, predictions, targets, labels};
  const bool naive = version == GiouVersion::naive;
  const int64_t items = naive ? rows : rows * params.groups;
  launch({"giou_loss_backward", blocks_for(items, kLossThreads), kLossThreads, 0, stream},
         naive ? backward_rows_kernel<T> : backward_columns_kernel<T>, arguments, scale,
         dpredictions);
}

#define FRCNN_INSTANTIATE(T)                                                                    \
  template void giou_loss_forward<kBackend, T>(                                                 \
      Stream, const GiouParams&, int64_t, const LossScale&, const T*, const T*, const int32_t*, \
      double*, void*, const FiniteCheck&);                                                      \
  template void giou_loss_backward<kBackend, T>(Stream, const GiouParams&, int64_t,             \
                                                const LossScale&, const T*, const T*,           \
                                                const int32_t*, T*, GiouVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
