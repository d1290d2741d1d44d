#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "kernels/launch/host_device.h"

namespace frcnn::kernels {

/// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a pure
/// function from a 128-bit counter and a 64-bit key to 128 random bits. The same on every device:
/// everything here can be called in GPU kernels, too.
constexpr std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter,
                                             std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(p0)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

/// Names one independent sequence of random numbers: `seed` is the user's, `stream` tells what the
/// numbers are for, `step` when they are used. Nothing else is stored, so a run resumes exactly.
struct RandomKey {
  uint64_t seed = 0;
  uint32_t stream = 0;
  uint64_t step = 0;
};

/// The streams of the project, in one place so that no two uses share numbers. A user of several
/// sequences (layers, images) adds `stream + kStreamStride * index`.
enum RandomStream : uint32_t {
  kStreamInit = 1,
  kStreamShuffle = 2,
  kStreamAugment = 3,
  kStreamAnchorSample = 4,
  kStreamRoiSample = 5,
  kStreamDropout = 6,
  kStreamSynth = 7,
  kStreamTest = 8,
  kStreamSweep = 9,
  kStreamBootstrap = 12,
};
inline constexpr uint32_t kStreamStride = 16;

/// Numbers 4 * group .. 4 * group + 3 of the sequence `key`, 32 random bits each.
constexpr std::array<uint32_t, 4> random_bits4(const RandomKey& key, uint64_t group) {
  // Counter: the group (40 bits are plenty, step takes 64 with stream); key: the user's seed.
  const std::array<uint32_t, 4> counter = {
      static_cast<uint32_t>(group), key.stream ^ (static_cast<uint32_t>(group >> 32) << 24),
      static_cast<uint32_t>(key.step), static_cast<uint32_t>(key.step >> 32)};
  return philox4x32(counter,
                    {static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)});
}

/// 32 random bits: number `index` of the sequence `key`.
constexpr uint32_t random_bits(const RandomKey& key, uint64_t index) {
  return random_bits4(key, index / 4)[index % 4];
}

/// Uniform in [0, 1) with 24 random bits: exact in float.
constexpr float random_uniform(const RandomKey& key, uint64_t index) {
  return static_cast<float>(random_bits(key, index) >> 8) * 0x1.0p-24f;
}

/// Uniform integer in [0, bound), bound > 0, by multiply-shift (bias below bound / 2^32).
constexpr uint32_t random_below(const RandomKey& key, uint64_t index, uint32_t bound) {
  return static_cast<uint32_t>((uint64_t{random_bits(key, index)} * bound) >> 32);
}

/// Standard normal by Box-Muller from two numbers of 32 random bits.
FRCNN_HOST_DEVICE inline float box_muller(uint32_t bits1, uint32_t bits2) {
  const double u1 = (bits1 + 1.0) * 0x1.0p-32;  // (0, 1]: log is finite
  const double u2 = bits2 * 0x1.0p-32;
  return static_cast<float>(std::sqrt(-2.0 * std::log(u1)) * std::cos(6.283185307179586 * u2));
}

/// Standard normal from numbers 2 * index and 2 * index + 1 of the sequence.
FRCNN_HOST_DEVICE inline float random_normal(const RandomKey& key, uint64_t index) {
  return box_muller(random_bits(key, 2 * index), random_bits(key, 2 * index + 1));
}

}  // namespace frcnn::kernels
