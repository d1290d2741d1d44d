#pragma once

#include <cstdint>

#include "kernels/launch/gpu.h"
#include "kernels/random/philox.h"

namespace frcnn::kernels {

/// Fillers of weights. Element i is a pure function of (key, i): the same on every device and for
/// any number of threads.
namespace cpu {

/// Normal with the given mean and standard deviation.
template <typename T>
void init_normal(int64_t count, double mean, double std, const RandomKey& key, T* w);

/// Uniform in [low, high).
template <typename T>
void init_uniform(int64_t count, double low, double high, const RandomKey& key, T* w);

/// Xavier (Glorot and Bengio, AISTATS 2010, equation 16): uniform in [-a, a), a = sqrt(6 / (fan_in
/// + fan_out)). For a convolution fan_in = input channels x kernel area, fan_out = output channels
/// x kernel area.
template <typename T>
void init_xavier(int64_t count, int64_t fan_in, int64_t fan_out, const RandomKey& key, T* w);

/// He (He et al., ICCV 2015, equation 10): normal with std = sqrt(2 / fan_in).
template <typename T>
void init_he(int64_t count, int64_t fan_in, const RandomKey& key, T* w);

}  // namespace cpu

/// The same on a GPU. One thread makes the numbers of one Philox group. Uniform numbers are the
/// CPU's, bit by bit; normal ones within a rounding or two, as the logarithm and cosine in double
/// of CUDA and of the C library may differ in the last place.
namespace gpu {

template <Backend backend, typename T>
void init_normal(Stream stream, int64_t count, double mean, double std, const RandomKey& key, T* w);
template <Backend backend, typename T>
void init_uniform(Stream stream, int64_t count, double low, double high, const RandomKey& key,
                  T* w);
template <Backend backend, typename T>
void init_xavier(Stream stream, int64_t count, int64_t fan_in, int64_t fan_out,
                 const RandomKey& key, T* w);
template <Backend backend, typename T>
void init_he(Stream stream, int64_t count, int64_t fan_in, const RandomKey& key, T* w);

}  // namespace gpu
}  // namespace frcnn::kernels
