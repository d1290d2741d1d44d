#include "engine/ops/gpu_layers.h"

#include "engine/dispatch.h"
#include "engine/gpu_math.h"
#include "kernels/conv/conv2d_gpu.h"

namespace frcnn {
namespace {

namespace gpu = kernels::gpu;
using kernels::Conv2dParams;
using kernels::ConvVersion;
using kernels::LayerPass;
using kernels::LinearParams;
using kernels::LinearVersion;

template <typename T>
ConvVersion conv_version(const Conv2dParams& p, LayerPass pass) {
  const GpuMath math = gpu_math();
  const ConvVersion wanted = math == GpuMath::tf32 ? ConvVersion::mma_tf32 : ConvVersion::mma_bf16;
  if (math != GpuMath::f32 && gpu::conv2d_supported<T>(p, pass, wanted)) return wanted;
  return gpu::conv2d_version<T>(p, pass);
}

template <typename T>
LinearVersion linear_version() {
  constexpr LinearVersion kOf[] = {gpu::kLinearDefault<T>, LinearVersion::mma_tf32,
                                   LinearVersion::mma_bf16};
  const LinearVersion version = kOf[static_cast<int>(gpu_math())];
  return gpu::linear_supports<T>(version) ? version : gpu::kLinearDefault<T>;
}

Tensor bytes(size_t count, Device device) {
  return Tensor::empty({static_cast<int64_t>(count)}, DType::u8, device);
}

/// The weights as the pass wants them.
template <typename On, typename T>
Tensor packed(On on, const Conv2dParams& p, LayerPass pass, ConvVersion version, const Tensor& w,
              PackedWeights* cache) {
  const size_t size = gpu::conv2d_packed_bytes<T>(p, pass, version);
  if (size == 0) return w;
  const auto pack = [&](void* to) {
    gpu::conv2d_pack_weights<On::backend, T>(on.stream, p, pass, w.data<T>(), to, version);
  };
  if (cache)
    return cache->get(w, fmt::format("{} {}", static_cast<int>(version), static_cast<int>(pass)),
                      size, pack);
  Tensor copy = bytes(size, w.device());
  pack(copy.raw());
  return copy;
}

/// Calls body(on, T{}, version, workspace).
template <typename Body>
void with_conv(const Conv2dParams& p, LayerPass pass, const Tensor& x, const Body& body) {
  with_gpu(x.device(), [&](auto on) {
    with_float(x.dtype(), "conv2d", [&](auto t) {
      using T = decltype(t);
      const ConvVersion version = conv_version<T>(p, pass);
      Tensor workspace = bytes(gpu::conv2d_workspace<T>(p, pass, version), x.device());
      body(on, t, version, workspace.raw());
    });
  });
}

template <typename Body>
void with_linear(const LinearParams& p, LayerPass pass, const Tensor& x, const Body& body) {
  with_gpu(x.device(), [&](auto on) {
    with_float(x.dtype(), "linear", [&](auto t) {
      using T = decltype(t);
      const LinearVersion version = linear_version<T>();
      Tensor workspace =
          bytes(gpu::linear_workspace<decltype(on)::backend, T>(p, pass, version), x.device());
      body(on, t, version, workspace.raw());
    });
  });
}

}  // namespace

void gpu_conv2d_forward(const Conv2dParams& p, const Tensor& x, const Tensor& w, const Tensor& b,
                        Tensor& y, PackedWeights* cache) {
  constexpr LayerPass kPass = LayerPass::forward_inference;  // the same in training
  with_conv(p, kPass, x, [&](auto on, auto t, ConvVersion version, void* workspace) {
    using T = decltype(t);
    const Tensor weights = packed<decltype(on), T>(on, p, kPass, version, w, cache);
    gpu::conv2d_forward<decltype(on)::backend>(on.stream, p, x.data<T>(), weights.raw(),
                                               b ? b.data<T>() : nullptr, y.data<T>(), workspace,
                                               version);
  });
}

void gpu_conv2d_backward_data(const Conv2dParams& p, const Tensor& dy, const Tensor& w, Tensor& dx,
                              PackedWeights* cache) {
  constexpr LayerPass kPass = LayerPass::backward_data;
  with_conv(p, kPass, dy, [&](auto on, auto t, ConvVersion version, void* workspace) {
    using T = decltype(t);
    const Tensor weights = packed<decltype(on), T>(on, p, kPass, version, w, cache);
    gpu::conv2d_backward_data<decltype(on)::backend>(on.stream, p, dy.data<T>(), weights.raw(),
                                                     dx.data<T>(), workspace, version);
  });
}

void gpu_conv2d_backward_weights(const Conv2dParams& p, const Tensor& x, const Tensor& dy,
                                 Tensor& dw, Tensor* db) {
  with_conv(p, LayerPass::backward_weights, x,
            [&](auto on, auto t, ConvVersion version, void* workspace) {
              using T = decltype(t);
              gpu::conv2d_backward_weights<decltype(on)::backend>(
                  on.stream, p, x.data<T>(), dy.data<T>(), dw.data<T>(),
                  db ? db->data<T>() : nullptr, workspace, version);
            });
}

void gpu_linear_forward(const LinearParams& p, const Tensor& x, const Tensor& w, const Tensor& b,
                        Tensor& y) {
  with_linear(p, LayerPass::forward_inference, x,
              [&](auto on, auto t, LinearVersion version, void* workspace) {
                using T = decltype(t);
                gpu::linear_forward<decltype(on)::backend>(on.stream, p, x.data<T>(), w.data<T>(),
                                                           b ? b.data<T>() : nullptr, y.data<T>(),
                                                           workspace, version);
              });
}

void gpu_linear_backward_data(const LinearParams& p, const Tensor& dy, const Tensor& w,
                              Tensor& dx) {
  with_linear(p, LayerPass::backward_data, dy,
              [&](auto on, auto t, LinearVersion version, void* workspace) {
                using T = decltype(t);
                gpu::linear_backward_data<decltype(on)::backend>(
                    on.stream, p, dy.data<T>(), w.data<T>(), dx.data<T>(), workspace, version);
              });
}

void gpu_linear_backward_weights(const LinearParams& p, const Tensor& x, const Tensor& dy,
                                 Tensor& dw, Tensor* db) {
  with_linear(p, LayerPass::backward_weights, x,
              [&](auto on, auto t, LinearVersion version, void* workspace) {
                using T = decltype(t);
                gpu::linear_backward_weights<decltype(on)::backend>(
                    on.stream, p, x.data<T>(), dy.data<T>(), dw.data<T>(),
                    db ? db->data<T>() : nullptr, workspace, version);
              });
}

}  // namespace frcnn
