#include "kernels/losses/box_loss.h"

#include <limits>

#include "kernels/losses/loss_sum.cuh"

namespace frcnn::kernels::gpu {
namespace {

__device__ double penalty(const BoxLossParams& p, double d) {
  const double a = std::fabs(d), square = p.sigma * p.sigma;
  if (p.penalty == BoxPenalty::l1) return a;
  if (p.penalty == BoxPenalty::mse) return d * d;
  return a < 1 / square ? 0.5 * square * d * d : a - 0.5 / square;
}

__device__ double derivative(const BoxLossParams& p, double d) {
  const double square = p.sigma * p.sigma, sign = d > 0 ? 1 : d < 0 ? -1 : d;  // 0 or NaN
  if (p.penalty == BoxPenalty::l1) return sign;
  if (p.penalty == BoxPenalty::mse) return 2 * d;
  return std::fabs(d) < 1 / square ? square * d : sign;
}

/// Where the prediction of a row begins within it; -1 where the row does not count, -2 where its
/// label is beyond the groups.
__device__ int64_t first_column(const BoxLossParams& p, int32_t label) {
  if (label <= 0) return -1;
  if (p.groups == 1) return 0;
  return label < p.groups ? int64_t{4} * label : -2;
}

template <typename T>
struct Rows {
  BoxLossParams params;
  int64_t rows;
  const T *predictions, *targets;
  const int32_t* labels;

  /// Penalty of coordinate k of a row that counts; `column` is its first.
  __device__ double difference(int64_t r, int64_t column, int64_t k) const {
    if (column < 0) return std::numeric_limits<double>::quiet_NaN();
    return static_cast<double>(predictions[r * 4 * params.groups + column + k]) -
           static_cast<double>(targets[4 * r + k]);
  }
  /// Adds coordinates [first, end) of row r to the sum.
  __device__ double loss(int64_t r, int64_t first, int64_t end, const FiniteCheck& finite) const {
    const int64_t column = first_column(params, labels[r]);
    if (column == -1) return 0;
    double total = 0;
    for (int64_t k = first; k < end; ++k) total += penalty(params, difference(r, column, k));
    if (!is_finite(total)) note_not_finite(finite, r);
    return total;
  }
  /// Gradient of column c of row r.
  __device__ T gradient(double scale, int64_t r, int64_t c) const {
    const int64_t column = first_column(params, labels[r]);
    if (column < 0 || c < column || c >= column + 4) return T(0);
    return static_cast<T>(scale * derivative(params, difference(r, column, c - column)));
  }
};

/// One thread takes `each` coordinates: a row (4) or one number (1).
template <typename T, int each>
__global__ void __launch_bounds__(kLossThreads)
    forward_kernel(const Rows<T> a, FiniteCheck finite, GridWork* work, const LossScale scale,
                   double* loss) {
  constexpr int kParts = 4 / each;
  double total = 0;
  for (int64_t i = grid_first(); i < a.rows * kParts; i += grid_step())
    total += a.loss(i / kParts, i % kParts * each, (i % kParts + 1) * each, finite);
  store_loss(total, work, scale, loss);
}

template <typename T>
__global__ void backward_rows_kernel(const Rows<T> a, const LossScale scale, T* dpredictions) {
  const double factor = value_of(scale);
  const int64_t width = 4 * a.params.groups;
  for (int64_t r = grid_first(); r < a.rows; r += grid_step())
    for (int64_t c = 0; c < width; ++c) dpredictions[r * width + c] = a.gradient(factor, r, c);
}

template <typename T>
__global__ void backward_coordinates_kernel(const Rows<T> a, const LossScale scale,
                                            T* dpredictions) {
  const double factor = value_of(scale);
  const int64_t width = 4 * a.params.groups;
  for (int64_t i = grid_first(); i < a.rows * width; i += grid_step())
    dpredictions[i] = a.gradient(factor, i / width, i % width);
}

void check_params(const BoxLossParams& p) {
  check(p.sigma > 0 || p.penalty != BoxPenalty::smooth_l1, "[box_loss] expected sigma > 0, got {}",
        p.sigma);
}

}  // namespace

template <Backend backend, typename T>
void box_loss_forward(Stream stream, const BoxLossParams& params, int64_t rows,
                      const LossScale& scale, const T* predictions, const T* targets,
                      const int32_t* labels, double* loss, void* workspace,
                      const FiniteCheck& finite, BoxLossVersion version) {
  check_params(params);
  const Rows<T> arguments{params, rows, predictions, targets, labels};
  const bool naive = version == BoxLossVersion::naive;
  launch({"box_loss_forward", sum_blocks(naive ? rows : 4 * rows, kLossThreads), kLossThreads, 0,
          stream},
         naive ? forward_kernel<T, 4> : forward_kernel<T, 1>, arguments, finite,
         static_cast<GridWork*>(workspace), scale, loss);
}

template <Backend backend, typename T>
void box_loss_backward(Stream stream, const BoxLossParams& params, int64_t rows,
                       const LossScale& scale, const T* predictions, const T* targets,
                       const int32_t* labels, T* dpredictions, BoxLossVersion version) {
  check_params(params);
  const Rows<T> arguments{params, rows, predictions, targets, labels};
  const bool naive = version == BoxLossVersion::naive;
  const int64_t items = naive ? rows : rows * 4 * params.groups;
  launch({"box_loss_backward", blocks_for(items, kLossThreads), kLossThreads, 0, stream},
         naive ? backward_rows_kernel<T> : backward_coordinates_kernel<T>, arguments, scale,
         dpredictions);
}

#define FRCNN_INSTANTIATE(T)                                                                       \
  template void box_loss_forward<kBackend, T>(                                                     \
      Stream, const BoxLossParams&, int64_t, const LossScale&, const T*, const T*, const int32_t*, \
      double*, void*, const FiniteCheck&, BoxLossVersion);                                         \
  template void box_loss_backward<kBackend, T>(Stream, const BoxLossParams&, int64_t,              \
                                               const LossScale&, const T*, const T*,               \
                                               const int32_t*, T*, BoxLossVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
