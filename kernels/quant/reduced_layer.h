#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "kernels/conv/conv2d.h"
#include "kernels/linear/linear.h"
#include "kernels/quant/number.h"

namespace frcnn::kernels {

/// What a layer of reduced precision reads and writes. `in` is u8 or i8 (with weights of 8 bits) or
/// bf16 (with bf16 weights); `out` is f32 or one of the same kind.
struct LayerNumbers {
  LayerNumber in = LayerNumber::u8, out = LayerNumber::f32;
  bool operator==(const LayerNumbers&) const = default;
};

/// The numbers of one output channel o beside its weights:
///
///   y = scales[o] * (sum w[o, ...] x[...] + offsets[o]),  then max(0, y) when `relu`,
///
/// and where the output is integer: rounded to it, ties to even, and clamped to what it holds. With
/// input q stands for s_x q, weight q for s_w[o] q and output q for s_y q, a layer with bias b has
///   scales[o] = s_x s_w[o] / s_y,   offsets[o] = b[o] / (s_x s_w[o])
/// (Jacob et al., CVPR 2018, equations 4 and 7 with zero points 0; s_y = 1 for f32 output). bf16
/// layers have no scales: empty.
struct ChannelNumbers {
  std::span<const float> scales, offsets;
};

namespace cpu {

/// Largest absolute value that 8-bit weights may have: 127 where the processor sums products of 8
/// bits in 32 bits (AVX-512 VNNI, AMX), 63 elsewhere: there vpmaddubsw adds two products in 16
/// bits, and 2 * 255 * 127 saturates while 2 * 255 * 63 does not. (Convolutions with i8 input never
/// saturate: there oneDNN halves the weights itself, and rounds them, where the processor needs
/// it.)
int int8_weight_limit();

/// Whether the processor multiplies bfloat16 numbers itself (AVX-512 BF16, AMX). Emulated they are
/// slower than float32.
bool has_bf16();
/// Whether it multiplies matrices of 8 bits in 32-bit sums (AVX-512 VNNI, AMX).
bool has_int8();

/// One convolution or dense layer of reduced precision of one size, prepared for this processor;
/// maps are NHWC. Thread-safe as long as the buffers differ. Deterministic: sums of products of 8
/// bits are exact.
class ReducedPlan {
 public:
  virtual ~ReducedPlan() = default;

  /// Plans of the same weights with the same key share packed weights.
  virtual const std::string& weight_format() const = 0;
  /// The library's name of the implementation, such as "brgconv:avx512_core_amx_int8".
  virtual const std::string& implementation() const = 0;
  virtual size_t packed_weight_bytes() const = 0;
  virtual size_t scratch_bytes() const = 0;
  /// w: int8_t, or Bfloat16 with bf16 inputs; (O, C / groups, kh, kw) or (out, in).
  virtual void pack_weights(const void* w, void* packed) const = 0;
  virtual void run(const void* x, const void* packed_w, void* y, void* scratch) const = 0;
};

/// By oneDNN, of which the scales are a part; a plan is made anew at each call. The blocks of
/// `params` are not read. Throws Error for impossible shapes, and with integers for more than
/// 65,536 inputs of an output (their sum could leave 32 bits).
std::shared_ptr<const ReducedPlan> reduced_conv2d_plan(const Conv2dParams& params,
                                                       const LayerNumbers& numbers,
                                                       const ChannelNumbers& channels);
std::shared_ptr<const ReducedPlan> reduced_linear_plan(const LinearParams& params,
                                                       const LayerNumbers& numbers,
                                                       const ChannelNumbers& channels);

/// Plain loops in exact integer arithmetic: what the plans are checked against. The result of a
/// plan differs by the rounding of the last float operations: one step of an integer output where
/// the value lies near the middle of two, relative 1e-6 of a float32 one; but see
/// int8_weight_limit() for convolutions with i8 input.
void int8_conv2d_reference(const Conv2dParams& params, const LayerNumbers& numbers,
                           const ChannelNumbers& channels,
                           const void* x,    // (N, H, W, C)
                           const int8_t* w,  // (O, C / groups, kh, kw)
                           void* y);         // (N, H', W', O)
void int8_linear_reference(const LinearParams& params, const LayerNumbers& numbers,
                           const ChannelNumbers& channels,
                           const void* x,    // (rows, in)
                           const int8_t* w,  // (out, in)
                           void* y);         // (rows, out)

}  // namespace cpu
}  // namespace frcnn::kernels
