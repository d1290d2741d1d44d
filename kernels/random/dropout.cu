#include "kernels/random/dropout.h"

#include "kernels/launch/pack.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;

/// mask[i] / (1 - p) as whole numbers see it: 24 random bits against p * 2^24, rounded up.
template <typename T>
struct Mask {
  uint32_t threshold;
  T factor;

  explicit Mask(double p) : factor(static_cast<T>(1 / (1 - p))) {
    check(p >= 0 && p < 1, "[dropout] expected a probability in [0, 1), got {}", p);
    const double scaled = p * 0x1.0p24;
    threshold = static_cast<uint32_t>(scaled);
    if (threshold < scaled) ++threshold;
  }
  __device__ T operator()(uint32_t bits, T x) const {
    return (bits >> 8) >= threshold ? x * factor : T(0);
  }
};

__device__ RandomKey key_at(RandomKey key, const uint64_t* step) {
  if (step != nullptr) key.step = *step;
  return key;
}

template <typename T>
__global__ void dropout_naive(int64_t count, Mask<T> mask, RandomKey key, const uint64_t* step,
                              const T* x, T* y) {
  const RandomKey now = key_at(key, step);
  for (int64_t i = grid_first(); i < count; i += grid_step())
    y[i] = mask(random_bits(now, static_cast<uint64_t>(i)), x[i]);
}

template <typename T>
__global__ void dropout_group(int64_t count, Mask<T> mask, RandomKey key, const uint64_t* step,
                              bool wide, const T* x, T* y) {
  const RandomKey now = key_at(key, step);
  const int64_t groups = ceil_div(count, 4);
  for (int64_t group = grid_first(); group < groups; group += grid_step()) {
    const auto bits = random_bits4(now, static_cast<uint64_t>(group));
    const int64_t first = 4 * group;
    if (wide && first + 4 <= count) {
      constexpr int kPack = Pack<T>::kSize;
      for (int k = 0; k < 4; k += kPack) {
        auto pack = load_pack<kPack>(x + first + k);
        for (int j = 0; j < kPack; ++j)
          pack.v[j] = mask(bits[static_cast<size_t>(k + j)], pack.v[j]);
        store_pack(y + first + k, pack);
      }
      continue;
    }
    for (int k = 0; k < 4; ++k)
      if (first + k < count) y[first + k] = mask(bits[static_cast<size_t>(k)], x[first + k]);
  }
}

}  // namespace

template <Backend backend, typename T>
void dropout(Stream stream, int64_t count, double p, const RandomKey& key, const T* x, T* y,
             const uint64_t* step, DropoutVersion version) {
  const Mask<T> mask(p);
  if (version == DropoutVersion::naive)
    launch({"dropout_naive", blocks_for(count, kThreads), kThreads, 0, stream}, dropout_naive<T>,
           count, mask, key, step, x, y);
  else
    launch({"dropout_group", blocks_for(ceil_div(count, 4), kThreads), kThreads, 0, stream},
           dropout_group<T>, count, mask, key, step, aligned_to(16, x, y), x, y);
}

#define FRCNN_INSTANTIATE(T)                                                                  \
  template void dropout<kBackend, T>(Stream, int64_t, double, const RandomKey&, const T*, T*, \
                                     const uint64_t*, DropoutVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
