// Batch normalisation on a GPU, backward: batch_norm.cuh has the kernels, this file what they
// compute.
#include "kernels/norm/batch_norm.cuh"
#include "kernels/norm/batch_norm.h"

namespace frcnn::kernels::gpu {
namespace {

using namespace norm;

/// The arrays of a backward pass; nullptr where the contract allows it.
template <typename T>
struct Arrays {
  const T *x, *y, *gamma, *mean;
  const T* rstd;  ///< or nullptr: from var
  const T* var;
  const T* dy;
  T *dx, *dgamma, *dbeta;
  double epsilon;
  bool relu;

  __device__ double scale(int64_t c) const {
    return rstd != nullptr ? static_cast<double>(rstd[c]) : rstd_of(epsilon, var[c]);
  }
  /// g = dy, or dy where y > 0.
  template <int N>
  __device__ Pack<T, N> gradient(int64_t at) const {
    auto g = load_pack<N>(dy + at);
    if (!relu) return g;
    const auto mask = load_pack<N>(y + at);
    for (int k = 0; k < N; ++k) g.v[k] = mask.v[k] > T(0) ? g.v[k] : T(0);
    return g;
  }
};

/// Sums of g and, when `product`, of g * (x - mean).
template <typename T>
struct GradientSums {
  Arrays<T> a;
  bool product;

  __device__ T constant(int64_t c) const { return product ? a.mean[c] : T(0); }
  template <int N>
  __device__ void add(int64_t at, const T (&mean)[N], double (&sums)[N][2]) const {
    const auto g = a.template gradient<N>(at);
    for (int k = 0; k < N; ++k) sums[k][0] += static_cast<double>(g.v[k]);
    if (!product) return;
    const auto x = load_pack<N>(a.x + at);
    for (int k = 0; k < N; ++k)
      sums[k][1] = std::fma(static_cast<double>(g.v[k]),
                            static_cast<double>(x.v[k]) - static_cast<double>(mean[k]), sums[k][1]);
  }
};

/// dgamma and dbeta, and the sums themselves for dx.
template <typename T>
struct FinishGradients {
  Arrays<T> a;
  int64_t stored;
  double* totals;
  __device__ void operator()(int64_t c, double sum, double with_x) const {
    if (totals != nullptr) totals[c] = sum, totals[stored + c] = with_x;
    if (a.dbeta != nullptr) a.dbeta[c] = static_cast<T>(sum);
    if (a.dgamma != nullptr) a.dgamma[c] = static_cast<T>(with_x * a.scale(c));
  }
};

/// dx = factor * (g - shift - (x - mean) * slope); frozen (`centre` false): factor * g.
template <typename T>
struct InputGradient {
  Arrays<T> a;
  bool centre;
  double count;
  int64_t stored;
  const double* totals;

  __device__ Constants<T> constants(int64_t c, double sum, double with_x) const {
    const double scale = a.scale(c);
    Constants<T> made = {};
    made.factor = static_cast<T>(scale * value_or(a.gamma, c, 1));
    if (!centre) return made;
    made.mean = a.mean[c];
    made.shift = static_cast<T>(sum / count);
    made.slope = static_cast<T>(with_x * scale * scale / count);
    return made;
  }
  __device__ Constants<T> constants(int64_t c) const {
    return centre ? constants(c, totals[c], totals[stored + c]) : constants(c, 0, 0);
  }
  template <int N>
  __device__ void run(int64_t at, const Constants<T> (&c)[N]) const {
    auto g = a.template gradient<N>(at);
    if (centre) {
      const auto x = load_pack<N>(a.x + at);
      for (int k = 0; k < N; ++k)
        g.v[k] = std::fma(-sub_rn(x.v[k], c[k].mean), c[k].slope, sub_rn(g.v[k], c[k].shift));
    }
    for (int k = 0; k < N; ++k) g.v[k] = c[k].factor * g.v[k];
    store_pack(a.dx + at, g);
  }
};

/// A block per channel: sums, then dx.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    backward_naive(MapLayout map, GradientSums<T> terms, InputGradient<T> input) {
  const Arrays<T>& a = terms.a;
  const int64_t c = blockIdx.x, size = channel_size(map);
  const auto place = [&](int64_t e) {
    return PixelWalk(map, e).at(map, c / map.block, c % map.block);
  };
  if (c >= map.c) {  // padding
    for (int64_t e = threadIdx.x; e < size && a.dx != nullptr; e += kThreads) a.dx[place(e)] = T(0);
    return;
  }
  const T mean[1] = {terms.constant(c)};
  double sums[1][2] = {};
  for (int64_t e = threadIdx.x; e < size; e += kThreads)
    terms.template add<1>(place(e), mean, sums);
  const double sum = block_sum<kThreads>(sums[0][0]);
  const double with_x = block_sum<kThreads>(sums[0][1]);
  if (threadIdx.x == 0) FinishGradients<T>{a, 0, nullptr}(c, sum, with_x);
  if (a.dx == nullptr) return;
  const Constants<T> constants[1] = {input.constants(c, sum, with_x)};
  for (int64_t e = threadIdx.x; e < size; e += kThreads) input.template run<1>(place(e), constants);
}

template <int N, typename T>
void backward_two_stage(Stream stream, const MapLayout& map, const GradientSums<T>& terms,
                        InputGradient<T> input, bool sums, void* workspace) {
  if (sums) {
    const Workspace work(map, workspace);
    launch_sums<N, T>(stream, map, terms, work.partial);
    launch_finish(stream, map, work.partial,
                  FinishGradients<T>{terms.a, stored_channels(map), work.totals});
    input.totals = work.totals;
  }
  if (terms.a.dx != nullptr) launch_apply<N, T>(stream, map, input);
}

/// Sums are needed for dgamma and dbeta, and in training for dx.
template <typename T>
void backward(Stream stream, const MapLayout& map, const Arrays<T>& a, bool centre, void* workspace,
              BatchNormVersion version) {
  const bool sums = centre || a.dgamma != nullptr || a.dbeta != nullptr;
  const GradientSums<T> terms = {a, centre || a.dgamma != nullptr};
  const InputGradient<T> input = {a, centre, static_cast<double>(map.n * map.h * map.w),
                                  stored_channels(map), nullptr};
  constexpr int kPack = Pack<T>::kSize;
  if (version == BatchNormVersion::naive || (sums && workspace == nullptr))
    launch({"batch_norm_backward_naive", static_cast<unsigned>(stored_channels(map)), kThreads, 0,
            stream},
           backward_naive<T>, map, terms, input);
  else if (version == BatchNormVersion::vector && packs(map, kPack) &&
           aligned_to(16, a.x, a.y, a.dy, a.dx))
    backward_two_stage<kPack>(stream, map, terms, input, sums, workspace);
  else
    backward_two_stage<1>(stream, map, terms, input, sums, workspace);
}

}  // namespace

template <Backend backend, typename T>
void batch_norm_train_backward(Stream stream, const MapLayout& map, const BatchNormParams& p,
                               const T* x, const T* y, const T* gamma, const T* saved_mean,
                               const T* saved_rstd, const T* dy, T* dx, T* dgamma, T* dbeta,
                               void* workspace, BatchNormVersion version) {
  check(!p.relu || y != nullptr, "[batch_norm] expected the output of the forward pass with relu");
  const Arrays<T> arrays = {x,  y,  gamma,  saved_mean, saved_rstd, nullptr,
                            dy, dx, dgamma, dbeta,      p.epsilon,  p.relu};
  backward(stream, map, arrays, true, workspace, version);
}

template <Backend backend, typename T>
void batch_norm_frozen_backward(Stream stream, const MapLayout& map, const BatchNormParams& p,
                                const T* x, const T* y, const T* gamma, const T* mean, const T* var,
                                const T* dy, T* dx, T* dgamma, T* dbeta, void* workspace,
                                BatchNormVersion version) {
  check(!p.relu || y != nullptr, "[batch_norm] expected the output of the forward pass with relu");
  check(dgamma == nullptr || x != nullptr,
        "[batch_norm] expected the input of the forward pass for dgamma");
  const Arrays<T> arrays = {x,  y,  gamma,  mean,  nullptr,   var,
                            dy, dx, dgamma, dbeta, p.epsilon, p.relu};
  backward(stream, map, arrays, false, workspace, version);
}

#define FRCNN_INSTANTIATE(T)                                                                    \
  template void batch_norm_train_backward<kBackend, T>(                                         \
      Stream, const MapLayout&, const BatchNormParams&, const T*, const T*, const T*, const T*, \
      const T*, const T*, T*, T*, T*, void*, BatchNormVersion);                                 \
  template void batch_norm_frozen_backward<kBackend, T>(                                        \
      Stream, const MapLayout&, const BatchNormParams&, const T*, const T*, const T*, const T*, \
      const T*, const T*, T*, T*, T*, void*, BatchNormVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
