#pragma once

#include <cstdint>

#include "kernels/launch/gpu.h"
#include "kernels/random/philox.h"

namespace frcnn::kernels {
namespace cpu {

/// Inverted dropout (Srivastava et al., JMLR 2014): y[i] = x[i] * mask[i] / (1 - p),
/// mask[i] = random_uniform(key, i) >= p, i = index in memory. Nothing is stored: the backward pass
/// is the same function of dy, with the same key. 0 <= p < 1. y may be x. Deterministic.
template <typename T>
void dropout(int64_t count, double p, const RandomKey& key,
             const T* x,  // x, or dy in the backward pass
             T* y);       // y, or dx in the backward pass

}  // namespace cpu

enum class DropoutVersion : uint8_t { naive, group };
inline constexpr gpu::KernelVersion kDropoutVersions[] = {
    {"naive", "one thread, one number: makes four random numbers and uses one"},
    {"group", "one thread, the four random numbers of a Philox group and 16 bytes of x"},
};

/// The same on a GPU, with the CPU's bits. With `step`, a number in device memory, *step takes the
/// place of key.step when the kernel runs: a recorded graph draws new numbers in every replay.
namespace gpu {

template <Backend backend, typename T>
void dropout(Stream stream, int64_t count, double p, const RandomKey& key, const T* x, T* y,
             const uint64_t* step = nullptr, DropoutVersion version = DropoutVersion::group);

}  // namespace gpu
}  // namespace frcnn::kernels
