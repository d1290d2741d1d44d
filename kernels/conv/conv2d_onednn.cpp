// Float32 convolution by oneDNN: the choice of algorithm, the cache of plans, execution.
#include <map>
#include <mutex>
#include <tuple>

#include "kernels/conv/conv2d.h"
#include "kernels/launch/onednn_plan.h"

namespace frcnn::kernels::cpu {
namespace {

using dnnl::memory;
using tag = memory::format_tag;
using Pass = LayerPass;

bool has_avx512() {
  static const bool value = dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core;
  return value;
}

/// A map whose only block holds all channels is NHWC and blocked in one; `nhwc` says which
/// implementations are wanted.
tag map_tag(const MapLayout& map, bool nhwc) {
  if (map.block == 1) return tag::nchw;
  if (nhwc && map.block == map.c) return tag::nhwc;
  if (map.block == 16) return tag::nChw16c;
  if (map.block == 8) return tag::nChw8c;
  check(map.block == map.c, "[conv2d] channel block {} of a map with {} channels is not supported",
        map.block, map.c);
  return tag::nhwc;
}

memory::desc map_desc(const MapLayout& map, bool nhwc) {
  return {{map.n, map.c, map.h, map.w}, onednn::f32(), map_tag(map, nhwc)};
}

/// oneDNN's Winograd multiplies up to 31 tiles of 4 x 4 outputs at a time, a divisor of their
/// number. Without one (47 x 47 tiles for a map of 188 x 188) it is half as fast as the direct form
/// instead of two to three times; from a divisor of 4 on it is faster.
bool tiles_divide(const Conv2dParams& p) {
  const int64_t tiles = p.input.n * ((p.out_h() + 3) / 4) * ((p.out_w() + 3) / 4);
  for (int64_t divisor = 4; divisor < 32; ++divisor)
    if (tiles % divisor == 0) return true;
  return false;
}

/// Winograd needs 3x3 stride 1 and pays when both channel counts fill vectors and the map fills
/// tiles. Measured on AVX-512 processors: 2 to 3 times the direct form from 64 channels on.
bool winograd_wins(const Conv2dParams& p) {
  return has_avx512() && p.groups == 1 && !p.dilated() && p.kernel_h == 3 && p.kernel_w == 3 &&
         p.stride_h == 1 && p.stride_w == 1 && p.input.c >= 64 && p.out_channels >= 64 &&
         p.input.h >= 12 && p.input.w >= 12 && tiles_divide(p);
}

struct Descs : onednn::LayerDescs {
  memory::dims strides, pad, dilation;
  explicit Descs(const Conv2dParams& p)
      : strides{p.stride_h, p.stride_w},
        pad{p.pad_h, p.pad_w},
        dilation{p.dilation_h - 1, p.dilation_w - 1} {  // oneDNN counts the cells left out
    // (O, C / groups, kh, kw) is (groups, O / groups, C / groups, kh, kw) in memory.
    memory::dims filter = {p.group_out(), p.group_in(), p.kernel_h, p.kernel_w};
    if (p.groups > 1) filter.insert(filter.begin(), p.groups);
    const bool nhwc = p.groups > 1 || p.dilated();  // see preferred_conv_blocks()
    x = map_desc(p.input, nhwc);
    w_plain = memory::desc(filter, onednn::f32(), p.groups > 1 ? tag::goihw : tag::oihw);
    w_any = memory::desc(filter, onednn::f32(), tag::any);
    if (p.bias) b = memory::desc({p.out_channels}, onednn::f32(), tag::x);
    y = map_desc(p.output(), nhwc);
  }
};

dnnl::convolution_forward::primitive_desc forward_desc(const Conv2dParams& p, dnnl::prop_kind kind,
                                                       dnnl::algorithm algorithm,
                                                       const dnnl::primitive_attr& attr) {
  const Descs d(p);
#if DNNL_VERSION_MAJOR >= 3
  return {onednn::engine(), kind,       algorithm, d.x,   d.w_any, d.b, d.y,
          d.strides,        d.dilation, d.pad,     d.pad, attr};
#else
  const auto desc = p.bias
                        ? dnnl::convolution_forward::desc(kind, algorithm, d.x, d.w_any, d.b, d.y,
                                                          d.strides, d.dilation, d.pad, d.pad)
                        : dnnl::convolution_forward::desc(kind, algorithm, d.x, d.w_any, d.y,
                                                          d.strides, d.dilation, d.pad, d.pad);
  return {desc, attr, onednn::engine()};
#endif
}

dnnl::convolution_backward_data::primitive_desc backward_data_desc(const Conv2dParams& p,
                                                                   dnnl::algorithm algorithm) {
  const Descs d(p);
  const auto hint =
      forward_desc(p, dnnl::prop_kind::forward_training, algorithm, dnnl::primitive_attr());
  const auto attr = onednn::attributes(false);
#if DNNL_VERSION_MAJOR >= 3
  return {onednn::engine(), algorithm, d.x,   d.w_any, d.y, d.strides,
          d.dilation,       d.pad,     d.pad, hint,    attr};
#else
  return {{algorithm, d.x, d.w_any, d.y, d.strides, d.dilation, d.pad, d.pad},
          attr,
          onednn::engine(),
          hint};
#endif
}

dnnl::convolution_backward_weights::primitive_desc backward_weights_desc(
    const Conv2dParams& p, dnnl::algorithm algorithm) {
  const Descs d(p);
  const auto hint =
      forward_desc(p, dnnl::prop_kind::forward_training, algorithm, dnnl::primitive_attr());
  const auto attr = onednn::attributes(false);
#if DNNL_VERSION_MAJOR >= 3
  return {onednn::engine(), algorithm,  d.x,   d.w_any, d.b,  d.y,
          d.strides,        d.dilation, d.pad, d.pad,   hint, attr};
#else
  if (p.bias)
    return {{algorithm, d.x, d.w_any, d.b, d.y, d.strides, d.dilation, d.pad, d.pad},
            attr,
            onednn::engine(),
            hint};
  return {{algorithm, d.x, d.w_any, d.y, d.strides, d.dilation, d.pad, d.pad},
          attr,
          onednn::engine(),
          hint};
#endif
}

/// Everything that tells plans apart.
auto key_of(const Conv2dParams& p, Pass pass) {
  const MapLayout& x = p.input;
  return std::tuple(x.n, x.c, x.h, x.w, x.block, p.out_channels, p.out_block, p.kernel_h,
                    p.kernel_w, p.stride_h, p.stride_w, p.pad_h, p.pad_w, p.bias, p.relu,
                    p.algorithm, p.groups, p.dilation_h, p.dilation_w, pass);
}

/// Throws dnnl::error when oneDNN has no such primitive.
std::shared_ptr<const LayerPlan> make_plan(const Conv2dParams& p, Pass pass,
                                           dnnl::algorithm algorithm) {
  const Descs d(p);
  if (pass == Pass::backward_data) {
    const auto desc = backward_data_desc(p, algorithm);
    return onednn::Plan::make<dnnl::convolution_backward_data>(d, desc, desc.weights_desc());
  }
  if (pass == Pass::backward_weights) {
    const auto desc = backward_weights_desc(p, algorithm);
    return onednn::Plan::make<dnnl::convolution_backward_weights>(d, desc,
                                                                  desc.diff_weights_desc());
  }
  // For inference oneDNN's Winograd has weights transformed beforehand, 4 times their size, and
  // takes F(2x2) for large maps, where F(4x4) is up to 2.5 times as fast. The training primitive
  // transforms them as it runs, which costs little.
  const bool inference =
      pass == Pass::forward_inference && algorithm != dnnl::algorithm::convolution_winograd;
  const auto kind =
      inference ? dnnl::prop_kind::forward_inference : dnnl::prop_kind::forward_training;
  const auto desc = forward_desc(p, kind, algorithm, onednn::attributes(p.relu));
  return onednn::Plan::make<dnnl::convolution_forward>(d, desc, desc.weights_desc());
}

}  // namespace

int64_t preferred_channel_block() {
  if (has_avx512()) return 16;
  return dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx2 ? 8 : 1;
}

ConvBlocks preferred_conv_blocks(const Conv2dParams& p) {
  const int64_t block = preferred_channel_block();
  const bool depthwise = p.groups == p.input.c && p.out_channels == p.input.c;
  const bool whole = p.groups == 1 || (p.group_in() % block == 0 && p.group_out() % block == 0);
  if (!p.dilated() && (whole || depthwise))
    return {p.groups == 1 && p.input.c <= 3 ? 1 : block, block};
  if (p.groups > 1 && p.group_in() == 1 && p.group_out() > 1 && p.group_out() % block != 0)
    return {1, 1};
  return {p.input.c, p.out_channels};
}

std::shared_ptr<const LayerPlan> conv2d_plan(const Conv2dParams& params, LayerPass pass) {
  Conv2dParams p = params;
  if (pass == Pass::backward_data || pass == Pass::backward_weights) p.relu = false;
  if (pass == Pass::backward_data) p.bias = false;
  static std::mutex mutex;
  static std::map<decltype(key_of(p, pass)), std::shared_ptr<const LayerPlan>> plans;
  std::lock_guard lock(mutex);
  auto& plan = plans[key_of(p, pass)];
  if (plan) return plan;
  check_conv2d("conv2d", p);
  check(p.input.n > 0, "[conv2d] a batch without images has no plan");
  const bool winograd = p.algorithm == ConvAlgorithm::winograd ||
                        (p.algorithm == ConvAlgorithm::automatic && winograd_wins(p));
  if (winograd) {
    try {
      return plan = make_plan(p, pass, dnnl::algorithm::convolution_winograd);
    } catch (const dnnl::error&) {  // not supported for this shape or processor: the direct form is
    }
  }
  try {
    return plan = make_plan(p, pass, dnnl::algorithm::convolution_direct);
  } catch (const dnnl::error& e) {
    fail(
        "[conv2d] oneDNN cannot do {}x{}x{}x{} to {} channels with a {}x{} kernel in {} groups: {}",
        p.input.n, p.input.c, p.input.h, p.input.w, p.out_channels, p.kernel_h, p.kernel_w,
        p.groups, e.message);
  }
}

}  // namespace frcnn::kernels::cpu
