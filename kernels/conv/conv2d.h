#pragma once

#include <cstdint>
#include <memory>

#include "kernels/launch/layer_plan.h"
#include "kernels/launch/layout.h"

namespace frcnn::kernels {

/// How a convolution is computed. `automatic` takes Winograd F(4x4, 3x3) (Lavin & Gray, CVPR 2016)
/// where it is supported and known to win, and the direct form elsewhere; the choice depends on the
/// shape and the processor only, so that equal runs give equal bits.
enum class ConvAlgorithm { automatic, direct, winograd };

/// Two-dimensional cross-correlation with zero padding, as every deep-learning text means by
/// "convolution":
///
///   y[n, o, i, j] = b[o] + sum_{c, u, v} w[o, c, u, v] *
///                   x[n, first(o) + c, i*stride - pad + u*dilation, j*stride - pad + v*dilation]
///
/// followed by max(0, y) when `relu`. Channels are cut into `groups` equal runs of neighbours, and
/// an output channel sees the input channels of its own run only: c counts C / groups channels from
/// first(o) = floor(o / (O / groups)) * C / groups on. groups = 1 is the plain convolution, groups
/// = C the depthwise one (Howard et al., MobileNets, 2017). dilation spreads the taps of the filter
/// (Yu & Koltun, ICLR 2016). These are the attributes of ONNX's Conv (operator specification,
/// opset 11), with symmetric pads.
struct Conv2dParams {
  MapLayout input;  ///< x
  int64_t out_channels = 0;
  int64_t out_block = 1;  ///< channel block of y
  int kernel_h = 3, kernel_w = 3;
  int stride_h = 1, stride_w = 1;
  int pad_h = 0, pad_w = 0;
  bool bias = true;
  bool relu = false;  ///< fused into the forward pass
  ConvAlgorithm algorithm = ConvAlgorithm::automatic;
  int groups = 1;  ///< a divisor of the channels of x and of y
  int dilation_h = 1, dilation_w = 1;

  /// Rows and columns of x that a filter spans.
  int64_t extent_h() const { return int64_t{dilation_h} * (kernel_h - 1) + 1; }
  int64_t extent_w() const { return int64_t{dilation_w} * (kernel_w - 1) + 1; }
  int64_t out_h() const { return (input.h + 2 * pad_h - extent_h()) / stride_h + 1; }
  int64_t out_w() const { return (input.w + 2 * pad_w - extent_w()) / stride_w + 1; }
  MapLayout output() const { return {input.n, out_channels, out_h(), out_w(), out_block}; }
  /// Input and output channels of a group.
  int64_t group_in() const { return input.c / groups; }
  int64_t group_out() const { return out_channels / groups; }
  bool dilated() const { return dilation_h != 1 || dilation_w != 1; }
  int64_t weight_size() const { return out_channels * group_in() * kernel_h * kernel_w; }
  /// Floating-point operations of one pass in the direct form (a multiply-add counts as two).
  double flops() const { return 2.0 * double(weight_size()) * double(input.n * out_h() * out_w()); }
  bool operator==(const Conv2dParams&) const = default;
};

/// Throws Error, which names `op`, unless the sizes are positive, the groups divide the channels
/// and the filter fits the padded map. A batch of 0 images is allowed.
void check_conv2d(const char* op, const Conv2dParams& params);

namespace cpu {

/// Plain loops in the order of the equation, any layout, double accumulation: what the fast
/// versions are checked against, and the float64 path of gradient checks. x and y must not overlap.
template <typename T>
void conv2d_forward_reference(const Conv2dParams& p,
                              const T* x,  // p.input
                              const T* w,  // (O, C / groups, kh, kw)
                              const T* b,  // (O) or nullptr
                              T* y);       // p.output(); padding written as zero
/// dx = gradient of sum(dy * y) with respect to x; the ReLU is not included (mask dy first).
template <typename T>
void conv2d_backward_data_reference(const Conv2dParams& p, const T* dy, const T* w, T* dx);
/// dw (O, C / groups, kh, kw) and db (O) or nullptr, both overwritten.
template <typename T>
void conv2d_backward_weights_reference(const Conv2dParams& p, const T* x, const T* dy, T* dw,
                                       T* db);

/// The channel block that the processor's fastest float32 convolutions use: 16 with AVX-512, 8 with
/// AVX2, otherwise 1.
int64_t preferred_channel_block();

/// Channel blocks of x and y with which the plans of such a convolution are fast on this processor,
/// whatever blocks `params` names: preferred_channel_block(), but x NCHW for pictures with up to 3
/// channels, and both NHWC (NCHW for several filters per channel) where oneDNN has only reference
/// loops for blocks, which are a thousand times slower: dilation, and groups of channels that are
/// no whole blocks.
struct ConvBlocks {
  int64_t in, out;
};
ConvBlocks preferred_conv_blocks(const Conv2dParams& params);

/// The float32 plan of this shape and pass, by oneDNN; made at the first request, then kept. Throws
/// Error when the shape is impossible. Backward plans ignore `relu`.
std::shared_ptr<const LayerPlan> conv2d_plan(const Conv2dParams& params, LayerPass pass);

}  // namespace cpu
}  // namespace frcnn::kernels
