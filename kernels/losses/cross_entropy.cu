#include "kernels/losses/cross_entropy.h"

#include <limits>

#include "kernels/losses/loss_sum.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kWarps = kLossThreads / static_cast<int>(kWarpSize);
constexpr int kPerLane = 4;            // numbers that a lane of version `registers` holds
constexpr int64_t kThreadClasses = 4;  // rows this short leave most lanes of a warp idle

/// A row's maximum and the sum of exp(x - maximum).
struct RowSum {
  double most, sum;
};

// Each gives RowSum and writes the softmax to p (unless nullptr; may be x). exp() is rounded to T
// before it is divided, as in the CPU version.

template <typename T>
struct RowByThread {
  static constexpr int kLanes = 1;
  __device__ static RowSum run(int64_t classes, const T* x, T* p) {
    T most = x[0];
    for (int64_t c = 1; c < classes; ++c)
      if (x[c] > most) most = x[c];
    RowSum row{static_cast<double>(most), 0};
    for (int64_t c = 0; c < classes; ++c) {
      const double e = std::exp(static_cast<double>(x[c]) - row.most);
      row.sum += e;
      if (p != nullptr) p[c] = static_cast<T>(e);
    }
    if (p != nullptr)
      for (int64_t c = 0; c < classes; ++c)
        p[c] = static_cast<T>(static_cast<double>(p[c]) / row.sum);
    return row;
  }
};

template <typename T>
struct RowByWarp {
  static constexpr int kLanes = 32;
  __device__ static RowSum run(int64_t classes, const T* x, T* p) {
    const int64_t lane = threadIdx.x % kWarpSize;
    T most = -std::numeric_limits<T>::infinity();
    for (int64_t c = lane; c < classes; c += kLanes)
      if (x[c] > most) most = x[c];
    RowSum row{static_cast<double>(warp_max(most)), 0};
    for (int64_t c = lane; c < classes; c += kLanes) {
      const double e = std::exp(static_cast<double>(x[c]) - row.most);
      row.sum += e;
      if (p != nullptr) p[c] = static_cast<T>(e);
    }
    row.sum = warp_sum(row.sum);
    if (p != nullptr)
      for (int64_t c = lane; c < classes; c += kLanes)
        p[c] = static_cast<T>(static_cast<double>(p[c]) / row.sum);
    return row;
  }
};

template <typename T>
struct RowInRegisters {
  static constexpr int kLanes = 32;
  __device__ static RowSum run(int64_t classes, const T* x, T* p) {
    const int lane = static_cast<int>(threadIdx.x % kWarpSize), count = static_cast<int>(classes);
    T v[kPerLane];
    T most = -std::numeric_limits<T>::infinity();
    for (int k = 0; k < kPerLane; ++k) {
      const int c = lane + k * kLanes;
      v[k] = c < count ? x[c] : -std::numeric_limits<T>::infinity();
      if (v[k] > most) most = v[k];
    }
    RowSum row{static_cast<double>(warp_max(most)), 0};
    for (int k = 0; k < kPerLane; ++k) {
      if (lane + k * kLanes >= count) break;
      const double e = std::exp(static_cast<double>(v[k]) - row.most);
      row.sum += e;
      v[k] = static_cast<T>(e);
    }
    row.sum = warp_sum(row.sum);
    if (p != nullptr)
      for (int k = 0; k < kPerLane; ++k) {
        if (lane + k * kLanes >= count) break;
        p[lane + k * kLanes] = static_cast<T>(static_cast<double>(v[k]) / row.sum);
      }
    return row;
  }
};

template <typename Row, typename T>
__global__ void __launch_bounds__(kLossThreads, 2)
    softmax_kernel(int64_t rows, int64_t classes, const T* logits, T* p) {
  constexpr int64_t kRows = kLossThreads / Row::kLanes;
  for (int64_t r = blockIdx.x * kRows + threadIdx.x / Row::kLanes; r < rows; r += gridDim.x * kRows)
    Row::run(classes, logits + r * classes, p + r * classes);
}

/// What the loss reads and writes for each row.
template <typename T>
struct SoftmaxLoss {
  int64_t rows, classes;
  const T* logits;
  const int32_t* labels;
  T* p;
  const T* weights;
  T* row_losses;
  FiniteCheck finite;
  Focal focal;
};

template <typename Row, typename T>
__global__ void __launch_bounds__(kLossThreads, 2)
    softmax_loss_kernel(const SoftmaxLoss<T> a, GridWork* work, const LossScale scale,
                        double* loss) {
  constexpr int64_t kRows = kLossThreads / Row::kLanes;
  const bool writer = threadIdx.x % Row::kLanes == 0;
  double total = 0;
  for (int64_t r = blockIdx.x * kRows + threadIdx.x / Row::kLanes; r < a.rows;
       r += gridDim.x * kRows) {
    const T* x = a.logits + r * a.classes;
    const int32_t label = a.labels[r];
    const bool counts = label >= 0, known = counts && label < a.classes;
    const double chosen =
        known ? static_cast<double>(x[label]) : std::numeric_limits<double>::quiet_NaN();
    if (!counts && a.p == nullptr) {
      if (writer && a.row_losses != nullptr) a.row_losses[r] = 0;
      continue;
    }
    const RowSum row = Row::run(a.classes, x, a.p == nullptr ? nullptr : a.p + r * a.classes);
    if (!writer) continue;
    double row_loss = 0;
    if (counts) {
      row_loss = std::log(row.sum) - (chosen - row.most);
      if (!a.focal.plain())
        row_loss = a.focal.loss(label > 0, 1 - std::exp(chosen - row.most) / row.sum, row_loss);
      if (a.weights != nullptr) row_loss *= static_cast<double>(a.weights[r]);
      if (!is_finite(row_loss)) note_not_finite(a.finite, r);
    }
    if (a.row_losses != nullptr) a.row_losses[r] = static_cast<T>(row_loss);
    total += row_loss;
  }
  store_loss(total, work, scale, loss);
}

template <typename T>
__global__ void softmax_backward_kernel(int64_t rows, int64_t classes, const LossScale scale,
                                        const T* p, const int32_t* labels, T* dlogits,
                                        const T* weights) {
  const T factor = static_cast<T>(value_of(scale));
  for (int64_t i = grid_first(); i < rows * classes; i += grid_step()) {
    const int64_t r = i / classes, c = i % classes;
    const int32_t label = labels[r];
    const T row_factor = weights == nullptr ? factor : factor * weights[r];
    dlogits[i] = label < 0 ? T(0) : row_factor * (p[i] - (c == label ? T(1) : T(0)));
  }
}

/// One thread, one row: its factor depends on the probability of its label, which dlogits may
/// overwrite.
template <typename T>
__global__ void softmax_focal_backward_kernel(int64_t rows, int64_t classes, const LossScale scale,
                                              const T* p, const int32_t* labels, T* dlogits,
                                              const T* weights, const Focal focal) {
  for (int64_t r = grid_first(); r < rows; r += grid_step()) {
    const int32_t label = labels[r];
    T factor = static_cast<T>(value_of(scale));
    if (weights != nullptr) factor *= weights[r];
    if (label >= 0 && label < classes) {
      const double chosen = static_cast<double>(p[r * classes + label]);
      factor *= static_cast<T>(focal.slope(label > 0, chosen, 1 - chosen));
    }
    for (int64_t i = r * classes; i < (r + 1) * classes; ++i)
      dlogits[i] = label < 0 ? T(0) : factor * (p[i] - (i - r * classes == label ? T(1) : T(0)));
  }
}

template <typename T>
__device__ T sigmoid_of(T x) {
  return T(1) / (T(1) + std::exp(-x));
}

template <typename T>
__global__ void sigmoid_kernel(int64_t count, const T* x, T* y) {
  for (int64_t i = grid_first(); i < count; i += grid_step()) y[i] = sigmoid_of(x[i]);
}

/// sigmoid(x) in double.
__device__ double probability(double x) {
  return 1 / (1 + std::exp(-x));
}

template <typename T>
__global__ void __launch_bounds__(kLossThreads, 2)
    sigmoid_loss_kernel(int64_t count, const T* logits, const int32_t* labels, FiniteCheck finite,
                        GridWork* work, const LossScale scale, double* loss, const Focal focal) {
  double total = 0;
  for (int64_t i = grid_first(); i < count; i += grid_step()) {
    const int32_t label = labels[i];
    if (label < 0) continue;
    const double x =
        label < 2 ? static_cast<double>(logits[i]) : std::numeric_limits<double>::quiet_NaN();
    double one = (x > 0 || x != x ? x : 0.0) - x * label + std::log1p(std::exp(-std::fabs(x)));
    if (!focal.plain()) one = focal.loss(label > 0, probability(label > 0 ? -x : x), one);
    if (!is_finite(one)) note_not_finite(finite, i);
    total += one;
  }
  store_loss(total, work, scale, loss);
}

template <typename T>
__global__ void sigmoid_backward_kernel(int64_t count, const LossScale scale, const T* logits,
                                        const int32_t* labels, T* dlogits, const Focal focal) {
  const T factor = static_cast<T>(value_of(scale));
  for (int64_t i = grid_first(); i < count; i += grid_step()) {
    const int32_t label = labels[i];
    T d = label < 0 ? T(0) : factor * (sigmoid_of(logits[i]) - static_cast<T>(label));
    if (!focal.plain() && label >= 0) {
      const double x = static_cast<double>(logits[i]), towards = label > 0 ? x : -x;
      d *= static_cast<T>(focal.slope(label > 0, probability(towards), probability(-towards)));
    }
    dlogits[i] = d;
  }
}

__global__ void one_vs_all_kernel(int64_t rows, int64_t classes, const int32_t* labels,
                                  int32_t* out) {
  for (int64_t i = grid_first(); i < rows * classes; i += grid_step()) {
    const int32_t label = labels[i / classes];
    const int64_t c = i % classes;
    out[i] = c == 0 || label < 0 ? -1 : label == c ? 1 : 0;
  }
}

/// The version that a number of classes allows.
SoftmaxVersion usable(SoftmaxVersion version, int64_t classes) {
  if (version != SoftmaxVersion::registers) return version;
  if (classes <= kThreadClasses) return SoftmaxVersion::naive;
  const bool fits = classes <= kPerLane * static_cast<int64_t>(kWarpSize);
  return fits ? SoftmaxVersion::registers : SoftmaxVersion::warp;
}
/// Rows of a block.
int64_t rows_per_block(SoftmaxVersion version) {
  return version == SoftmaxVersion::naive ? kLossThreads : kWarps;
}

}  // namespace

template <Backend backend, typename T>
void softmax(Stream stream, int64_t rows, int64_t classes, const T* logits, T* p,
             SoftmaxVersion version) {
  version = usable(version, classes);
  const auto kernel = version == SoftmaxVersion::naive  ? softmax_kernel<RowByThread<T>, T>
                      : version == SoftmaxVersion::warp ? softmax_kernel<RowByWarp<T>, T>
                                                        : softmax_kernel<RowInRegisters<T>, T>;
  launch({"softmax", blocks_for(rows, rows_per_block(version)), kLossThreads, 0, stream}, kernel,
         rows, classes, logits, p);
}

template <Backend backend, typename T>
void softmax_cross_entropy_forward(Stream stream, int64_t rows, int64_t classes,
                                   const LossScale& scale, const T* logits, const int32_t* labels,
                                   T* probabilities, double* loss, void* workspace,
                                   const T* row_weights, T* row_losses, const FiniteCheck& finite,
                                   SoftmaxVersion version, const Focal& focal) {
  version = usable(version, classes);
  const auto kernel = version == SoftmaxVersion::naive  ? softmax_loss_kernel<RowByThread<T>, T>
                      : version == SoftmaxVersion::warp ? softmax_loss_kernel<RowByWarp<T>, T>
                                                        : softmax_loss_kernel<RowInRegisters<T>, T>;
  const SoftmaxLoss<T> arguments{rows,        classes,    logits, labels, probabilities,
                                 row_weights, row_losses, finite, focal};
  launch({"softmax_cross_entropy_forward", sum_blocks(rows, rows_per_block(version)), kLossThreads,
          0, stream},
         kernel, arguments, static_cast<GridWork*>(workspace), scale, loss);
}

template <Backend backend, typename T>
void softmax_cross_entropy_backward(Stream stream, int64_t rows, int64_t classes,
                                    const LossScale& scale, const T* probabilities,
                                    const int32_t* labels, T* dlogits, const T* row_weights,
                                    const Focal& focal) {
  if (!focal.plain()) {
    launch({"softmax_focal_backward", blocks_for(rows, kLossThreads), kLossThreads, 0, stream},
           softmax_focal_backward_kernel<T>, rows, classes, scale, probabilities, labels, dlogits,
           row_weights, focal);
    return;
  }
  launch({"softmax_cross_entropy_backward", blocks_for(rows * classes, kLossThreads), kLossThreads,
          0, stream},
         softmax_backward_kernel<T>, rows, classes, scale, probabilities, labels, dlogits,
         row_weights);
}

template <Backend backend, typename T>
void sigmoid(Stream stream, int64_t count, const T* x, T* y) {
  launch({"sigmoid", blocks_for(count, kLossThreads), kLossThreads, 0, stream}, sigmoid_kernel<T>,
         count, x, y);
}

template <Backend backend, typename T>
void sigmoid_cross_entropy_forward(Stream stream, int64_t count, const LossScale& scale,
                                   const T* logits, const int32_t* labels, double* loss,
                                   void* workspace, const FiniteCheck& finite, const Focal& focal) {
  launch(
      {"sigmoid_cross_entropy_forward", sum_blocks(count, kLossThreads), kLossThreads, 0, stream},
      sigmoid_loss_kernel<T>, count, logits, labels, finite, static_cast<GridWork*>(workspace),
      scale, loss, focal);
}

template <Backend backend, typename T>
void sigmoid_cross_entropy_backward(Stream stream, int64_t count, const LossScale& scale,
                                    const T* logits, const int32_t* labels, T* dlogits,
                                    const Focal& focal) {
  launch(
      {"sigmoid_cross_entropy_backward", blocks_for(count, kLossThreads), kLossThreads, 0, stream},
      sigmoid_backward_kernel<T>, count, scale, logits, labels, dlogits, focal);
}

template <Backend backend>
void one_vs_all_labels(Stream stream, int64_t rows, int64_t classes, const int32_t* labels,
                       int32_t* out) {
  launch({"one_vs_all_labels", blocks_for(rows * classes, kLossThreads), kLossThreads, 0, stream},
         one_vs_all_kernel, rows, classes, labels, out);
}
template void one_vs_all_labels<kBackend>(Stream, int64_t, int64_t, const int32_t*, int32_t*);

#define FRCNN_INSTANTIATE(T)                                                                    \
  template void softmax<kBackend, T>(Stream, int64_t, int64_t, const T*, T*, SoftmaxVersion);   \
  template void softmax_cross_entropy_forward<kBackend, T>(                                     \
      Stream, int64_t, int64_t, const LossScale&, const T*, const int32_t*, T*, double*, void*, \
      const T*, T*, const FiniteCheck&, SoftmaxVersion, const Focal&);                          \
  template void softmax_cross_entropy_backward<kBackend, T>(                                    \
      Stream, int64_t, int64_t, const LossScale&, const T*, const int32_t*, T*, const T*,       \
      const Focal&);                                                                            \
  template void sigmoid<kBackend, T>(Stream, int64_t, const T*, T*);                            \
  template void sigmoid_cross_entropy_forward<kBackend, T>(                                     \
      Stream, int64_t, const LossScale&, const T*, const int32_t*, double*, void*,              \
      const FiniteCheck&, const Focal&);                                                        \
  template void sigmoid_cross_entropy_backward<kBackend, T>(                                    \
      Stream, int64_t, const LossScale&, const T*, const int32_t*, T*, const Focal&);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
