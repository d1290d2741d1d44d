#pragma once

#include "kernels/conv/conv2d_vendor.h"
#include "kernels/launch/reduce.cuh"

/// What the library versions of the convolution share: order of weights, rounding, layouts.
namespace frcnn::kernels::gpu::vendor {
namespace {

constexpr int kThreads = 256;

/// Whether the maps are NHWC; throws Error for layouts that the libraries do not take, and for
/// groups and dilation, which are not passed on to them.
inline bool is_nhwc(const Conv2dParams& p) {
  check(p.groups == 1 && !p.dilated(),
        "[conv2d] the versions by cuDNN and cuBLAS have no groups and no dilation, got {} groups, "
        "dilation {}x{}",
        p.groups, p.dilation_h, p.dilation_w);
  if (p.input.block == 1 && p.out_block == 1) return false;
  check(
      p.input.block == p.input.c && p.out_block == p.out_channels,
      "[conv2d] cuDNN and cuBLAS take maps that are both NCHW or both NHWC, not channel blocks of "
      "{} and {}",
      p.input.block, p.out_block);
  return true;
}

template <typename T>
void check_math(VendorMath math) {
  check(std::is_same_v<T, float> || math == VendorMath::bf16,
        "[conv2d] maps of bfloat16 need the bf16 factors of cuDNN and cuBLAS");
}

/// Place of element i of (O, C, kh, kw) in (O, kh, kw, C), or i itself beside NCHW.
struct FilterOrder {
  int64_t count, channels, taps;
  bool nhwc;

  explicit FilterOrder(const Conv2dParams& p)
      : count(p.weight_size()),
        channels(p.input.c),
        taps(int64_t{p.kernel_h} * p.kernel_w),
        nhwc(is_nhwc(p)) {}
  __device__ int64_t packed(int64_t i) const {
    if (!nhwc) return i;
    const int64_t o = i / (channels * taps), c = i / taps % channels, tap = i % taps;
    return (o * taps + tap) * channels + c;
  }
};

template <typename To>
__global__ void pack_filter(FilterOrder order, const float* w, To* packed) {
  for (int64_t i = grid_first(); i < order.count; i += grid_step())
    packed[order.packed(i)] = static_cast<To>(w[i]);
}
template <typename From>
__global__ void unpack_filter(FilterOrder order, const From* packed, float* w) {
  for (int64_t i = grid_first(); i < order.count; i += grid_step())
    w[i] = static_cast<float>(packed[order.packed(i)]);
}
template <typename From, typename To>
__global__ void convert(int64_t count, const From* from, To* to) {
  for (int64_t i = grid_first(); i < count; i += grid_step()) to[i] = static_cast<To>(from[i]);
}

template <typename From>
void launch_unpack(Stream stream, const Conv2dParams& p, const From* packed, float* w) {
  launch({"conv2d_unpack_filter", blocks_for(p.weight_size(), kThreads), kThreads, 0, stream},
         unpack_filter<From>, FilterOrder(p), packed, w);
}
template <typename From, typename To>
void launch_convert(Stream stream, int64_t count, const From* from, To* to) {
  launch({"conv2d_convert", blocks_for(count, kThreads), kThreads, 0, stream}, convert<From, To>,
         count, from, to);
}

/// Cuts a workspace into arrays, each aligned to 256 bytes; with nullptr it only adds up.
class Room {
 public:
  explicit Room(void* memory) : memory_(static_cast<char*>(memory)) {}
  template <typename T>
  T* take(int64_t count) {
    const size_t begin = used_;
    used_ += (static_cast<size_t>(count) * sizeof(T) + 255) / 256 * 256;
    return memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + begin);
  }
  size_t used() const { return used_; }

 private:
  char* memory_;
  size_t used_ = 0;
};

}  // namespace
}  // namespace frcnn::kernels::gpu::vendor
