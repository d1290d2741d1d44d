#include "kernels/random/init.h"

#include <algorithm>
#include <cmath>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr int64_t kChunk = 4096;  // a multiple of 4, so that a group of random numbers is made once

}  // namespace

template <typename T>
void init_normal(int64_t count, double mean, double std, const RandomKey& key, T* w) {
  check(std >= 0, "[init_normal] expected a standard deviation >= 0, got {}", std);
  parallel_for((count + kChunk - 1) / kChunk, 1, [&](int64_t begin, int64_t end) {
    const int64_t last = std::min(count, end * kChunk);
    for (int64_t i = begin * kChunk; i < last; i += 2) {
      // random_normal(key, i) and (key, i + 1) share one group of four numbers.
      const auto bits = random_bits4(key, static_cast<uint64_t>(i) / 2);
      for (int64_t j = 0; j < std::min<int64_t>(2, last - i); ++j)
        w[i + j] = static_cast<T>(
            mean + std * static_cast<double>(box_muller(bits[2 * j], bits[2 * j + 1])));
    }
  });
}

template <typename T>
void init_uniform(int64_t count, double low, double high, const RandomKey& key, T* w) {
  check(low <= high, "[init_uniform] expected low <= high, got {} and {}", low, high);
  parallel_for((count + kChunk - 1) / kChunk, 1, [&](int64_t begin, int64_t end) {
    const int64_t last = std::min(count, end * kChunk);
    for (int64_t i = begin * kChunk; i < last; i += 4) {
      const auto bits = random_bits4(key, static_cast<uint64_t>(i) / 4);
      for (int64_t j = 0; j < std::min<int64_t>(4, last - i); ++j)
        w[i + j] = static_cast<T>(low + (high - low) * ((bits[j] >> 8) * 0x1.0p-24));
    }
  });
}

template <typename T>
void init_xavier(int64_t count, int64_t fan_in, int64_t fan_out, const RandomKey& key, T* w) {
  check(fan_in > 0 && fan_out > 0, "[init_xavier] expected positive fans, got {} and {}", fan_in,
        fan_out);
  const double a = std::sqrt(6.0 / static_cast<double>(fan_in + fan_out));
  init_uniform(count, -a, a, key, w);
}

template <typename T>
void init_he(int64_t count, int64_t fan_in, const RandomKey& key, T* w) {
  check(fan_in > 0, "[init_he] expected a positive fan_in, got {}", fan_in);
  init_normal(count, 0.0, std::sqrt(2.0 / static_cast<double>(fan_in)), key, w);
}

#define FRCNN_INSTANTIATE(T)                                                     \
  template void init_normal<T>(int64_t, double, double, const RandomKey&, T*);   \
  template void init_uniform<T>(int64_t, double, double, const RandomKey&, T*);  \
  template void init_xavier<T>(int64_t, int64_t, int64_t, const RandomKey&, T*); \
  template void init_he<T>(int64_t, int64_t, const RandomKey&, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
