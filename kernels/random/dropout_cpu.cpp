#include "kernels/random/dropout.h"

#include <algorithm>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"
#include "kernels/launch/simd.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr int64_t kGroups = 64;  // Philox groups of 4 numbers made at once, across vector lanes

/// Philox groups [first, first + kGroups) of `key`; numbers[4 * i + j] is number j of group i.
FRCNN_INLINE void random_groups(const RandomKey& key, int64_t first, uint32_t* numbers) {
  uint32_t c0[kGroups], c1[kGroups], c2[kGroups], c3[kGroups];
  for (int64_t i = 0; i < kGroups; ++i) {
    const auto group = static_cast<uint64_t>(first + i);
    c0[i] = static_cast<uint32_t>(group);
    c1[i] = key.stream ^ (static_cast<uint32_t>(group >> 32) << 24);
    c2[i] = static_cast<uint32_t>(key.step);
    c3[i] = static_cast<uint32_t>(key.step >> 32);
  }
  auto k0 = static_cast<uint32_t>(key.seed), k1 = static_cast<uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int64_t i = 0; i < kGroups; ++i) {
      const uint64_t p0 = uint64_t{0xD2511F53u} * c0[i];
      const uint64_t p1 = uint64_t{0xCD9E8D57u} * c2[i];
      c0[i] = static_cast<uint32_t>(p1 >> 32) ^ c1[i] ^ k0;
      c2[i] = static_cast<uint32_t>(p0 >> 32) ^ c3[i] ^ k1;
      c1[i] = static_cast<uint32_t>(p1);
      c3[i] = static_cast<uint32_t>(p0);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int64_t i = 0; i < kGroups; ++i) {
    numbers[4 * i] = c0[i];
    numbers[4 * i + 1] = c1[i];
    numbers[4 * i + 2] = c2[i];
    numbers[4 * i + 3] = c3[i];
  }
}

template <typename T>
FRCNN_SIMD void dropout_range(int64_t begin, int64_t end, uint32_t threshold, T factor,
                              const RandomKey& key, const T* x, T* y) {
  uint32_t numbers[4 * kGroups];
  for (int64_t i = begin; i < end; i += 4 * kGroups) {
    random_groups(key, i / 4, numbers);
    const int64_t here = std::min(4 * kGroups, end - i);
    for (int64_t j = 0; j < here; ++j)
      y[i + j] = (numbers[j] >> 8) >= threshold ? x[i + j] * factor : T(0);
  }
}

}  // namespace

template <typename T>
void dropout(int64_t count, double p, const RandomKey& key, const T* x, T* y) {
  check(p >= 0 && p < 1, "[dropout] expected a probability in [0, 1), got {}", p);
  // random_uniform >= p in whole numbers: its 24 bits against p * 2^24, rounded up.
  const double scaled = p * 0x1.0p24;
  auto threshold = static_cast<uint32_t>(scaled);
  if (threshold < scaled) ++threshold;
  const T factor = static_cast<T>(1 / (1 - p));
  constexpr int64_t kChunk = 4 * kGroups;
  parallel_for((count + kChunk - 1) / kChunk, 32, [&](int64_t begin, int64_t end) {
    dropout_range(begin * kChunk, std::min(count, end * kChunk), threshold, factor, key, x, y);
  });
}

template void dropout<float>(int64_t, double, const RandomKey&, const float*, float*);
template void dropout<double>(int64_t, double, const RandomKey&, const double*, double*);

}  // namespace frcnn::kernels::cpu
