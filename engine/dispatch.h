#pragma once

#include "engine/tensor.h"
#include "kernels/launch/gpu.h"

namespace frcnn {

/// Calls body(float{}) or body(double{}) by `dtype`; Error for other types. Inside, `decltype(t)`
/// is the element type to call a kernel with.
template <typename Body>
void with_float(DType dtype, const char* op, const Body& body) {
  if (dtype == DType::f32) return body(float{});
  if (dtype == DType::f64) return body(double{});
  fail("[{}] expected f32 or f64, got {}", op, name_of(dtype));
}

/// A new uninitialised tensor with the shape, type, device and layout of `x`.
inline Tensor empty_like(const Tensor& x) {
  return Tensor::empty(x.shape(), x.dtype(), x.device(), x.channel_block());
}

/// What with_device() hands to its body: which kernels to call, and on a GPU the stream.
struct OnCpu {
  static constexpr bool gpu = false;
};
template <kernels::Backend b>
struct OnGpu {
  static constexpr bool gpu = true;
  static constexpr kernels::Backend backend = b;
  kernels::gpu::Stream stream;
};

/// The stream of this thread on a GPU: all engine work of a thread is ordered in it.
kernels::gpu::Stream current_stream(Device device);

/// This build has no kernels for the device.
[[noreturn]] void fail_without_backend(Device device);

/// Calls body(OnCpu{}) or body(OnGpu<backend>{stream}).
template <typename Body>
void with_device(Device device, const Body& body) {
  switch (device.type) {
    case Device::Type::cpu:
      return body(OnCpu{});
    case Device::Type::cuda:
#if FRCNN_HAVE_CUDA
      return body(OnGpu<kernels::Backend::cuda>{current_stream(device)});
#else
      break;
#endif
    case Device::Type::emulated:
#if FRCNN_HAVE_EMULATION
      return body(OnGpu<kernels::Backend::emulated>{current_stream(device)});
#else
      break;
#endif
  }
  fail_without_backend(device);
}

/// The same for GPUs only.
template <typename Body>
void with_gpu(Device device, const Body& body) {
  with_device(device, [&](auto on) {
    if constexpr (decltype(on)::gpu)
      body(on);
    else
      fail_without_backend(device);
  });
}

/// Calls kernels::cpu::function(...) or kernels::gpu::function<backend>(stream, ...), which take
/// the same arguments.
#define FRCNN_CALL(device, function, ...)                                                         \
  ::frcnn::with_device((device), [&](auto frcnn_on) {                                             \
    if constexpr (decltype(frcnn_on)::gpu)                                                        \
      ::frcnn::kernels::gpu::function<decltype(frcnn_on)::backend>(frcnn_on.stream, __VA_ARGS__); \
    else                                                                                          \
      ::frcnn::kernels::cpu::function(__VA_ARGS__);                                               \
  })

}  // namespace frcnn
