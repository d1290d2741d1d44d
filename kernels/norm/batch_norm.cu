// Batch normalisation on a GPU, forward: batch_norm.cuh has the kernels, this file what they
// compute.
#include "kernels/norm/batch_norm.h"

#include "kernels/norm/batch_norm.cuh"

namespace frcnn::kernels::gpu {
namespace {

using namespace norm;

/// y = (x - mean) * factor + shift, factor = rstd * gamma, and ReLU if asked.
template <typename T>
struct Normalize {
  const T *x, *gamma, *beta, *mean;
  const T* rstd;  ///< or nullptr: from var
  const T* var;
  double epsilon;
  bool relu;
  T* y;

  __device__ Constants<T> constants(int64_t c) const {
    const double scale = rstd != nullptr ? static_cast<double>(rstd[c]) : rstd_of(epsilon, var[c]);
    Constants<T> made = {};
    made.mean = mean[c];
    made.factor = static_cast<T>(scale * value_or(gamma, c, 1));
    made.shift = static_cast<T>(value_or(beta, c, 0));
    return made;
  }
  template <int N>
  __device__ void run(int64_t at, const Constants<T> (&c)[N]) const {
    auto pack = load_pack<N>(x + at);
    for (int k = 0; k < N; ++k) {
      const T value = std::fma(sub_rn(pack.v[k], c[k].mean), c[k].factor, c[k].shift);
      pack.v[k] = relu && value < T(0) ? T(0) : value;
    }
    store_pack(y + at, pack);
  }
};

/// Sums of x - first and (x - first)^2, where first is the channel's first value: not far from the
/// mean as the deviations go, so that the variance is no difference of large numbers.
template <typename T>
struct Moments {
  MapLayout map;
  const T* x;

  __device__ T constant(int64_t c) const {
    return x[c / map.block * map.h * map.w * map.block + c % map.block];
  }
  template <int N>
  __device__ void add(int64_t at, const T (&first)[N], double (&sums)[N][2]) const {
    const auto pack = load_pack<N>(x + at);
    for (int k = 0; k < N; ++k) {
      const double d = static_cast<double>(pack.v[k]) - static_cast<double>(first[k]);
      sums[k][0] += d;
      sums[k][1] = std::fma(d, d, sums[k][1]);
    }
  }
};

/// What becomes of a channel's mean and sum of squared deviations.
template <typename T>
struct Statistics {
  double count, epsilon, momentum;
  T *saved_mean, *saved_rstd, *running_mean, *running_var;

  __device__ void store(int64_t c, double mean, double squares) const {
    saved_mean[c] = static_cast<T>(mean);
    saved_rstd[c] = static_cast<T>(1.0 / std::sqrt(squares / count + epsilon));
    const auto update = [&](T* running, double batch) {
      if (running != nullptr)
        running[c] =
            static_cast<T>((1 - momentum) * static_cast<double>(running[c]) + momentum * batch);
    };
    update(running_mean, mean);
    update(running_var, squares / (count - 1));
  }
};

template <typename T>
struct FinishMoments {
  Moments<T> moments;
  Statistics<T> statistics;
  __device__ void operator()(int64_t c, double sum, double squares) const {
    const double count = statistics.count, left = squares - sum * (sum / count);
    statistics.store(c, static_cast<double>(moments.constant(c)) + sum / count,
                     left < 0 ? 0 : left);
  }
};

/// A channel's count, mean and sum of squared deviations.
struct Welford {
  double count, mean, squares;

  __device__ void add(double x) {  // Welford, Technometrics 1962
    count += 1;
    const double d = x - mean;
    mean += d / count;
    squares += d * (x - mean);
  }
  __device__ void merge(const Welford& other) {  // Chan et al. 1983
    if (other.count == 0) return;
    const double both = count + other.count, d = other.mean - mean;
    mean += d * (other.count / both);
    squares += other.squares + d * d * (count * other.count / both);
    count = both;
  }
};

template <typename T>
__global__ void __launch_bounds__(kThreads)
    train_naive(MapLayout map, Statistics<T> statistics, Normalize<T> normalize) {
  FRCNN_SHARED(Welford, parts, [kThreads]);
  const int64_t c = blockIdx.x, size = channel_size(map);
  const auto thread = static_cast<int>(threadIdx.x);
  const auto place = [&](int64_t e) {
    return PixelWalk(map, e).at(map, c / map.block, c % map.block);
  };
  if (c >= map.c) {  // padding
    for (int64_t e = thread; e < size; e += kThreads) normalize.y[place(e)] = T(0);
    return;
  }
  Welford mine = {};
  for (int64_t e = thread; e < size; e += kThreads)
    mine.add(static_cast<double>(normalize.x[place(e)]));
  parts[thread] = mine;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) parts[thread].merge(parts[thread + half]);
  }
  if (thread == 0) statistics.store(c, parts[0].mean, parts[0].squares);
  __syncthreads();  // makes the stored mean and rstd visible to the block
  const Constants<T> constants[1] = {normalize.constants(c)};
  for (int64_t e = thread; e < size; e += kThreads) normalize.template run<1>(place(e), constants);
}

template <int N, typename T>
void train_two_stage(Stream stream, const MapLayout& map, const Statistics<T>& statistics,
                     const Normalize<T>& normalize, void* workspace) {
  const Workspace work(map, workspace);
  const Moments<T> moments = {map, normalize.x};
  launch_sums<N, T>(stream, map, moments, work.partial);
  launch_finish(stream, map, work.partial, FinishMoments<T>{moments, statistics});
  launch_apply<N, T>(stream, map, normalize);
}

template <typename T>
__global__ void fold_kernel(int64_t channels, double epsilon, const T* gamma, const T* beta,
                            const T* mean, const T* var, T* scale, T* shift) {
  for (int64_t c = grid_first(); c < channels; c += grid_step()) {
    const double factor = rstd_of(epsilon, var[c]) * value_or(gamma, c, 1);
    scale[c] = static_cast<T>(factor);
    shift[c] =
        static_cast<T>(sub_rn(value_or(beta, c, 0), mul_rn(static_cast<double>(mean[c]), factor)));
  }
}

}  // namespace

template <Backend backend, typename T>
void batch_norm_train_forward(Stream stream, const MapLayout& map, const BatchNormParams& p,
                              const T* x, const T* gamma, const T* beta, T* y, T* saved_mean,
                              T* saved_rstd, T* running_mean, T* running_var, void* workspace,
                              BatchNormVersion version) {
  const double count = static_cast<double>(map.n * map.h * map.w);
  check(count > 1, "[batch_norm] expected more than one value per channel in training, got {}",
        count);
  const Statistics<T> statistics = {count,      p.epsilon,    p.momentum, saved_mean,
                                    saved_rstd, running_mean, running_var};
  const Normalize<T> normalize = {x,       gamma,     beta,   saved_mean, saved_rstd,
                                  nullptr, p.epsilon, p.relu, y};
  constexpr int kPack = Pack<T>::kSize;
  if (version == BatchNormVersion::naive || workspace == nullptr)
    launch({"batch_norm_train_naive", static_cast<unsigned>(stored_channels(map)), kThreads, 0,
            stream},
           train_naive<T>, map, statistics, normalize);
  else if (version == BatchNormVersion::vector && packs(map, kPack) && aligned_to(16, x, y))
    train_two_stage<kPack>(stream, map, statistics, normalize, workspace);
  else
    train_two_stage<1>(stream, map, statistics, normalize, workspace);
}

template <Backend backend, typename T>
void batch_norm_frozen_forward(Stream stream, const MapLayout& map, const BatchNormParams& p,
                               const T* x, const T* gamma, const T* beta, const T* mean,
                               const T* var, T* y, BatchNormVersion version) {
  const Normalize<T> normalize = {x, gamma, beta, mean, nullptr, var, p.epsilon, p.relu, y};
  constexpr int kPack = Pack<T>::kSize;
  if (version == BatchNormVersion::naive)
    launch_apply_naive<T>(stream, map, normalize);
  else if (version == BatchNormVersion::vector && packs(map, kPack) && aligned_to(16, x, y))
    launch_apply<kPack, T>(stream, map, normalize);
  else
    launch_apply<1, T>(stream, map, normalize);
}

template <Backend backend, typename T>
void batch_norm_fold(Stream stream, int64_t channels, double epsilon, const T* gamma, const T* beta,
                     const T* mean, const T* var, T* scale, T* shift) {
  launch({"batch_norm_fold", blocks_for(channels, kThreads), kThreads, 0, stream}, fold_kernel<T>,
         channels, epsilon, gamma, beta, mean, var, scale, shift);
}

#define FRCNN_INSTANTIATE(T)                                                                      \
  template void batch_norm_train_forward<kBackend, T>(                                            \
      Stream, const MapLayout&, const BatchNormParams&, const T*, const T*, const T*, T*, T*, T*, \
      T*, T*, void*, BatchNormVersion);                                                           \
  template void batch_norm_frozen_forward<kBackend, T>(                                           \
      Stream, const MapLayout&, const BatchNormParams&, const T*, const T*, const T*, const T*,   \
      const T*, T*, BatchNormVersion);                                                            \
  template void batch_norm_fold<kBackend, T>(Stream, int64_t, double, const T*, const T*,         \
                                             const T*, const T*, T*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
