#include "apps/ops/convolution.h"

#include "apps/ops/definitions.h"
#include "kernels/conv/conv2d.h"
#include "kernels/conv/conv2d_gpu.h"
#include "kernels/conv/conv2d_vendor.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/pooling/max_pool.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;

Conv2dParams conv_params(const Desk& d) {
  Conv2dParams p;
  p.input = d.map("x");
  p.out_channels = d.letter("O");
  p.out_block = d.block(p.out_channels, "out_layout");
  p.kernel_h = static_cast<int>(d.letter("kh")), p.kernel_w = static_cast<int>(d.letter("kw"));
  p.stride_h = static_cast<int>(d.integer("stride_h"));
  p.stride_w = static_cast<int>(d.integer("stride_w"));
  p.pad_h = static_cast<int>(d.integer("pad_h")), p.pad_w = static_cast<int>(d.integer("pad_w"));
  p.groups = static_cast<int>(d.integer("groups"));
  p.dilation_h = static_cast<int>(d.integer("dilation_h"));
  p.dilation_w = static_cast<int>(d.integer("dilation_w"));
  p.bias = d.has("b");
  p.relu = d.op().parameter("relu") != nullptr && d.flag("relu");
  check_conv2d(d.op().name.c_str(), p);
  check(d.letter("D") == p.group_in(),
        "[{}] w: expected filters of {} channels ({} in {} groups), found {}", d.op().name,
        p.group_in(), p.input.c, p.groups, d.letter("D"));
  return p;
}

/// Type of the CPU's arithmetic: maps of bfloat16 are rounded and then computed with as float.
template <typename T>
using CpuType = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// The arrays of a convolution in device memory. With a ReLU the gradient is masked first.
template <typename T, typename W>
struct ConvArrays {
  const T* x;
  const W *w, *b;
  T* y;
  const T* dy = nullptr;
  T *masked_dy = nullptr, *dx = nullptr;
  W *dw = nullptr, *db = nullptr;

  ConvArrays(Desk& d, const Conv2dParams& p)
      : x(d.input_map<T>("x", p.input)),
        w(d.input<W>("w")),
        b(d.input<W>("b")),
        y(d.output_map<T>("y", p.output())),
        dy(d.gradient<T>("y")) {
    if (dy == nullptr) return;
    if (p.relu)
      masked_dy = static_cast<T*>(d.scratch(static_cast<size_t>(p.output().size()) * sizeof(T)));
    dx = d.output_map<T>("d_x", p.input);
    dw = d.output<W>("d_w", d.extent("w"));
    if (p.bias) db = d.output<W>("d_b", d.extent("b"));
  }
};

template <typename T>
void reference_conv(Desk& d, const Conv2dParams& p, const ConvArrays<T, T>& a) {
  d.pass("forward", [=] { cpu::conv2d_forward_reference(p, a.x, a.w, a.b, a.y); });
  if (a.dy == nullptr) return;
  const T* dy = p.relu ? a.masked_dy : a.dy;
  if (p.relu)
    d.pass("mask", [=] { cpu::relu_backward(p.output().size(), a.y, a.dy, a.masked_dy); });
  d.pass("backward_data", [=] { cpu::conv2d_backward_data_reference(p, dy, a.w, a.dx); });
  d.pass("backward_weights",
         [=] { cpu::conv2d_backward_weights_reference(p, a.x, dy, a.dw, a.db); });
}

/// A plan of oneDNN with its packed weights and scratch memory.
struct Planned {
  std::shared_ptr<const cpu::LayerPlan> plan;
  const void* weights;
  void *packed, *scratch;
  Planned(Desk& d, const Conv2dParams& p, LayerPass pass, const float* w)
      : plan(cpu::conv2d_plan(p, pass)),
        packed(plan->plain_weights() ? nullptr : d.scratch(plan->packed_weight_bytes())),
        scratch(d.scratch(plan->scratch_bytes())) {
    weights = plan->plain_weights() ? static_cast<const void*>(w) : packed;
    if (packed != nullptr && pass != LayerPass::backward_weights) plan->pack_weights(w, packed);
  }
};

void planned_conv(Desk& d, const Conv2dParams& p, const ConvArrays<float, float>& a) {
  const Planned forward(d, p, LayerPass::forward_inference, a.w);
  d.pass("forward",
         [=] { forward.plan->forward(a.x, forward.weights, a.b, a.y, forward.scratch); });
  if (a.dy == nullptr) return;
  const float* dy = p.relu ? a.masked_dy : a.dy;
  if (p.relu)
    d.pass("mask", [=] { cpu::relu_backward(p.output().size(), a.y, a.dy, a.masked_dy); });
  const Planned data(d, p, LayerPass::backward_data, a.w);
  d.pass("backward_data", [=] { data.plan->backward_data(dy, data.weights, a.dx, data.scratch); });
  const Planned weights(d, p, LayerPass::backward_weights, a.w);
  d.pass("backward_weights", [=] {
    weights.plan->backward_weights(a.x, dy, a.dw, a.db, weights.packed, weights.scratch);
  });
}

void prepare_cpu(Desk& d, Conv2dParams p) {
  constexpr ConvAlgorithm kAlgorithms[] = {ConvAlgorithm::direct, ConvAlgorithm::automatic,
                                           ConvAlgorithm::direct, ConvAlgorithm::winograd};
  const auto version = d.version();
  if (d.type() == "f64") return reference_conv<double>(d, p, {d, p});
  if (d.type() == "bf16") d.round_to_bfloat16({"x", "d_y"});
  const ConvArrays<float, float> arrays(d, p);
  if (version == 0) return reference_conv<float>(d, p, arrays);
  p.algorithm = kAlgorithms[version];
  planned_conv(d, p, arrays);
}

/// The asked version where the pass has it. Where it has not: an error for the forward pass, the
/// good choice for the others.
template <typename T>
ConvVersion gpu_version(const Desk& d, const Conv2dParams& p, LayerPass pass) {
  if (!d.asked(0)) return gpu::conv2d_version<T>(p, pass);
  const auto version = d.version<ConvVersion>();
  std::string why;
  if (gpu::conv2d_supported<T>(p, pass, version, &why)) return version;
  if (pass == LayerPass::forward_inference) throw Unsupported(why);
  return gpu::conv2d_version<T>(p, pass);
}
std::string name_of(ConvVersion version) {
  return kConvVersions[static_cast<size_t>(version)].name;
}

/// Weights in the format of a version, packed by a pass of its own where it wants them so.
template <Backend B, typename T>
const void* packed_weights(Desk& d, const Conv2dParams& p, LayerPass pass, ConvVersion version,
                           const gpu::ConvWeight<T>* w) {
  const size_t bytes = gpu::conv2d_packed_bytes<T>(p, pass, version);
  if (bytes == 0) return w;
  void* packed = d.scratch(bytes);
  const bool forward = pass == LayerPass::forward_inference;
  d.pass_of_version(forward ? "pack" : "pack_for_data", name_of(version),
                    [=] { gpu::conv2d_pack_weights<B, T>(nullptr, p, pass, w, packed, version); });
  return packed;
}

/// Why a library does not do this; empty when it does.
template <Backend B, typename T>
std::string vendor_refusal(const Conv2dParams& p, LayerPass pass, const VendorVersion& v) {
  const bool nchw = p.input.block == 1 && p.out_block == 1;
  const bool nhwc = p.input.block == p.input.c && p.out_block == p.out_channels;
  if (!nchw && !nhwc) return "the libraries take NCHW and NHWC only";
  if (p.groups != 1 || p.dilated()) return "the libraries are called without groups and dilation";
  if (std::is_same_v<T, Bfloat16> && v.math != gpu::VendorMath::bf16)
    return "maps of bfloat16 need bfloat16 factors";
  std::string why;
  if (v.cudnn) gpu::conv2d_supported_cudnn<B, T>(p, pass, {v.math, -1}, &why);
  return why;
}

template <Backend B, typename T>
void prepare_vendor(Desk& d, const Conv2dParams& p, const VendorVersion& v) {
  using Pass = LayerPass;
  for (const Pass pass : {Pass::forward_inference, Pass::backward_data, Pass::backward_weights})
    if (const std::string why = vendor_refusal<B, T>(p, pass, v); !why.empty())
      throw Unsupported(fmt::format("{}: {}", v.name, why));
  const gpu::CudnnChoice choice{v.math, -1};
  const gpu::VendorMath math = v.math;
  const bool cudnn = v.cudnn;
  const ConvArrays<T, float> a(d, p);
  const auto room = [&](Pass pass) {
    return d.scratch(cudnn ? gpu::conv2d_workspace_cudnn<B, T>(p, pass, choice)
                           : gpu::conv2d_workspace_cublas<B, T>(p, pass, math));
  };
  const void* w = a.w;
  if (const size_t bytes = gpu::conv2d_packed_bytes_vendor(p, math); bytes > 0) {
    void* packed = d.scratch(bytes);
    d.pass_of_version("pack", v.name,
                      [=] { gpu::conv2d_pack_weights_vendor<B>(nullptr, p, a.w, packed, math); });
    w = packed;
  }
  void* forward_room = room(Pass::forward_inference);
  d.pass_of_version("forward", v.name, [=] {
    if (cudnn)
      gpu::conv2d_forward_cudnn<B, T>(nullptr, p, a.x, w, a.b, a.y, forward_room, choice);
    else
      gpu::conv2d_forward_cublas<B, T>(nullptr, p, a.x, w, a.b, a.y, forward_room, math);
  });
  if (a.dy == nullptr) return;
  check(!p.relu, "[conv2d] {}: the gradient of the ReLU is not part of this version", v.name);
  void* data_room = room(Pass::backward_data);
  d.pass_of_version("backward_data", v.name, [=] {
    if (cudnn)
      gpu::conv2d_backward_data_cudnn<B, T>(nullptr, p, a.dy, w, a.dx, data_room, choice);
    else
      gpu::conv2d_backward_data_cublas<B, T>(nullptr, p, a.dy, w, a.dx, data_room, math);
  });
  void* weights_room = room(Pass::backward_weights);
  d.pass_of_version("backward_weights", v.name, [=] {
    if (cudnn)
      gpu::conv2d_backward_weights_cudnn<B, T>(nullptr, p, a.x, a.dy, a.dw, a.db, weights_room,
                                               choice);
    else
      gpu::conv2d_backward_weights_cublas<B, T>(nullptr, p, a.x, a.dy, a.dw, a.db, weights_room,
                                                math);
  });
}

template <Backend B, typename T>
void prepare_gpu(Desk& d, const Conv2dParams& p) {
  using Pass = LayerPass;
  if (const size_t at = d.version(); d.asked(0) && at >= std::size(kConvVersions)) {
    if constexpr (std::is_same_v<T, double>)
      throw Unsupported("the libraries' versions do not take f64");
    else
      return prepare_vendor<B, T>(d, p, kVendorVersions[at - std::size(kConvVersions)]);
  }
  const ConvArrays<T, gpu::ConvWeight<T>> a(d, p);
  const ConvVersion forward = gpu_version<T>(d, p, Pass::forward_inference);
  const void* w = packed_weights<B, T>(d, p, Pass::forward_inference, forward, a.w);
  void* room = d.scratch(gpu::conv2d_workspace<T>(p, Pass::forward_inference, forward));
  d.pass_of_version("forward", name_of(forward), [=] {
    gpu::conv2d_forward<B, T>(nullptr, p, a.x, w, a.b, a.y, room, forward);
  });
  if (a.dy == nullptr) return;
  const T* dy = p.relu ? a.masked_dy : a.dy;
  if constexpr (!std::is_same_v<T, Bfloat16>) {
    if (p.relu)
      d.pass_of_version("mask", "", [=] {
        gpu::relu_backward<B>(nullptr, p.output().size(), a.y, a.dy, a.masked_dy);
      });
  } else {
    check(!p.relu, "[conv2d] bf16: the gradient of the ReLU is not part of this operation");
  }
  const ConvVersion data = gpu_version<T>(d, p, Pass::backward_data);
  const void* w_data = packed_weights<B, T>(d, p, Pass::backward_data, data, a.w);
  void* data_room = d.scratch(gpu::conv2d_workspace<T>(p, Pass::backward_data, data));
  d.pass_of_version("backward_data", name_of(data), [=] {
    gpu::conv2d_backward_data<B, T>(nullptr, p, dy, w_data, a.dx, data_room, data);
  });
  const ConvVersion weights = gpu_version<T>(d, p, Pass::backward_weights);
  void* weights_room = d.scratch(gpu::conv2d_workspace<T>(p, Pass::backward_weights, weights));
  d.pass_of_version("backward_weights", name_of(weights), [=] {
    gpu::conv2d_backward_weights<B, T>(nullptr, p, a.x, dy, a.dw, a.db, weights_room, weights);
  });
}

}  // namespace

void prepare_conv(Desk& d) {
  const Conv2dParams p = conv_params(d);
  if (d.device() == Device::cpu) return prepare_cpu(d, p);
  on_type<float, double, Bfloat16>(d, [&](auto t) {
    on_device(d.device(), [&](auto where) {
      if constexpr (!decltype(where)::cpu) prepare_gpu<decltype(where)::backend, decltype(t)>(d, p);
    });
  });
}

namespace {
template <Backend B, typename T>
void prepare_pool_gpu(Desk& d, const Conv2dParams& p, const MaxPoolParams& pool) {
  const MapLayout out = max_pool_layout(p.output(), pool);
  const auto version = d.version<ConvVersion>();
  const bool fused = version == ConvVersion::tiled || version == ConvVersion::mma_tf32 ||
                     version == ConvVersion::mma_bf16;
  std::string why = "only tiled and the mma versions are fused with pooling";
  if (!fused || !gpu::conv2d_supported<T>(p, LayerPass::forward_inference, version, &why))
    throw Unsupported(why);
  const T* x = d.input_map<T>("x", p.input);
  const auto *w = d.input<gpu::ConvWeight<T>>("w"), *b = d.input<gpu::ConvWeight<T>>("b");
  T* y = d.output_map<T>("y", out);
  auto* window = d.output_map<uint8_t>("window", out);
  const void* packed = packed_weights<B, T>(d, p, LayerPass::forward_inference, version, w);
  d.pass_of_version("forward", name_of(version), [=] {
    gpu::conv2d_relu_pool_forward<B, T>(nullptr, p, pool, x, packed, b, y, window, version);
  });
}

}  // namespace

void prepare_conv_pool(Desk& d) {
  Conv2dParams p = conv_params(d);
  MaxPoolParams pool;
  pool.ceil_mode = d.flag("ceil_mode");
  if (d.device() == Device::cpu) {
    if (d.type() == "bf16") d.round_to_bfloat16({"x"});
    p.relu = true;
    const auto *x = d.input_map<float>("x", p.input), *w = d.input<float>("w"),
               *b = d.input<float>("b");
    auto* before =
        static_cast<float*>(d.scratch(static_cast<size_t>(p.output().size()) * sizeof(float)));
    const MapLayout out = max_pool_layout(p.output(), pool);
    auto* y = d.output_map<float>("y", out);
    auto* window = d.output_map<uint8_t>("window", out);
    if (d.version() == 0) {
      d.pass("forward", [=] {
        cpu::conv2d_forward_reference(p, x, w, b, before);
        cpu::max_pool_forward(p.output(), pool, before, y, window);
      });
    } else {
      const Planned plan(d, p, LayerPass::forward_inference, w);
      d.pass("forward", [=] {
        plan.plan->forward(x, plan.weights, b, before, plan.scratch);
        cpu::max_pool_forward(p.output(), pool, before, y, window);
      });
    }
    return;
  }
  on_type<float, Bfloat16>(d, [&](auto t) {
    on_device(d.device(), [&](auto where) {
      if constexpr (!decltype(where)::cpu)
        prepare_pool_gpu<decltype(where)::backend, decltype(t)>(d, p, pool);
    });
  });
}

}  // namespace frcnn::apps::ops
