#include "kernels/random/init.h"

#include "kernels/launch/gpu.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;

/// A group of four random numbers makes two normal ones.
template <typename T>
__global__ void normal_kernel(int64_t count, double mean, double std, RandomKey key, T* w) {
  const int64_t groups = ceil_div(count, 2);
  for (int64_t group = grid_first(); group < groups; group += grid_step()) {
    const auto bits = random_bits4(key, static_cast<uint64_t>(group));
    for (int k = 0; k < 2; ++k) {
      const int64_t i = 2 * group + k;
      const auto first = static_cast<size_t>(2 * k);
      if (i < count)
        w[i] = static_cast<T>(add_rn(
            mean, mul_rn(std, static_cast<double>(box_muller(bits[first], bits[first + 1])))));
    }
  }
}

template <typename T>
__global__ void uniform_kernel(int64_t count, double low, double high, RandomKey key, T* w) {
  const int64_t groups = ceil_div(count, 4);
  for (int64_t group = grid_first(); group < groups; group += grid_step()) {
    const auto bits = random_bits4(key, static_cast<uint64_t>(group));
    for (int k = 0; k < 4; ++k) {
      const int64_t i = 4 * group + k;
      if (i < count)
        w[i] = static_cast<T>(add_rn(
            low, mul_rn(sub_rn(high, low), (bits[static_cast<size_t>(k)] >> 8) * 0x1.0p-24)));
    }
  }
}

}  // namespace

template <Backend backend, typename T>
void init_normal(Stream stream, int64_t count, double mean, double std, const RandomKey& key,
                 T* w) {
  check(std >= 0, "[init_normal] expected a standard deviation >= 0, got {}", std);
  launch({"init_normal", blocks_for(ceil_div(count, 2), kThreads), kThreads, 0, stream},
         normal_kernel<T>, count, mean, std, key, w);
}

template <Backend backend, typename T>
void init_uniform(Stream stream, int64_t count, double low, double high, const RandomKey& key,
                  T* w) {
  check(low <= high, "[init_uniform] expected low <= high, got {} and {}", low, high);
  launch({"init_uniform", blocks_for(ceil_div(count, 4), kThreads), kThreads, 0, stream},
         uniform_kernel<T>, count, low, high, key, w);
}

template <Backend backend, typename T>
void init_xavier(Stream stream, int64_t count, int64_t fan_in, int64_t fan_out,
                 const RandomKey& key, T* w) {
  check(fan_in > 0 && fan_out > 0, "[init_xavier] expected positive fans, got {} and {}", fan_in,
        fan_out);
  const double a = std::sqrt(6.0 / static_cast<double>(fan_in + fan_out));
  init_uniform<backend>(stream, count, -a, a, key, w);
}

template <Backend backend, typename T>
void init_he(Stream stream, int64_t count, int64_t fan_in, const RandomKey& key, T* w) {
  check(fan_in > 0, "[init_he] expected a positive fan_in, got {}", fan_in);
  init_normal<backend>(stream, count, 0.0, std::sqrt(2.0 / static_cast<double>(fan_in)), key, w);
}

#define FRCNN_INSTANTIATE(T)                                                                       \
  template void init_normal<kBackend, T>(Stream, int64_t, double, double, const RandomKey&, T*);   \
  template void init_uniform<kBackend, T>(Stream, int64_t, double, double, const RandomKey&, T*);  \
  template void init_xavier<kBackend, T>(Stream, int64_t, int64_t, int64_t, const RandomKey&, T*); \
  template void init_he<kBackend, T>(Stream, int64_t, int64_t, const RandomKey&, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
