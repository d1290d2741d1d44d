// Dense layers on a GPU: the kernels that compete for a pass, the choice among them, the call.
#include "engine/byte_buffer.h"
#include "engine/dispatch.h"
#include "engine/gpu_math.h"
#include "engine/memory.h"
#include "engine/ops/gpu_layers.h"
#include "engine/ops/tuned.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/launch/vendor.h"

namespace frcnn {
namespace {

namespace gpu = kernels::gpu;
using kernels::Backend;
using kernels::LayerPass;
using kernels::LinearParams;
using kernels::LinearVersion;

constexpr LayerPass kForward = LayerPass::forward_inference;  // the same in training

bool is_library(LinearVersion version) {
  return version >= LinearVersion::cublaslt_f32;
}
const kernels::gpu::KernelVersion& about(LinearVersion version) {
  return kernels::kLinearVersions[static_cast<size_t>(version)];
}

bool device_has(Device device, LinearVersion version) {
  return about(version).capability <= compute_capability(device);
}

/// The choice by shape alone: tensor cores where they are wanted and there.
template <typename T>
LinearVersion fixed_choice(Device device) {
  constexpr LinearVersion kOf[] = {gpu::kLinearDefault<T>, LinearVersion::mma_tf32,
                                   LinearVersion::mma_bf16};
  const LinearVersion version = kOf[static_cast<int>(gpu_math())];
  return gpu::linear_supports<T>(version) && device_has(device, version) ? version
                                                                         : gpu::kLinearDefault<T>;
}

/// The fixed choice first, then those that round factors no more than gpu_math() allows.
template <Backend B, typename T>
std::vector<LinearVersion> competing(Device device) {
  using V = LinearVersion;
  std::vector<V> list = {fixed_choice<T>(device)};
  if constexpr (std::is_same_v<T, float>) {
    const std::pair<V, GpuMath> versions[] = {
        {V::tiled, GpuMath::f32},          {V::registers, GpuMath::f32},
        {V::split_k, GpuMath::f32},        {V::mma_tf32, GpuMath::tf32},
        {V::mma_bf16, GpuMath::bf16},      {V::cublaslt_f32, GpuMath::f32},
        {V::cublaslt_tf32, GpuMath::tf32}, {V::cublaslt_bf16, GpuMath::bf16}};
    const bool library = gpu::vendor_library(gpu::VendorLibrary::cublaslt).available();
    for (const auto& [version, needs] : versions)
      if (needs <= gpu_math() && version != list.front() && device_has(device, version) &&
          (about(version).emulated || B == Backend::cuda) && (library || !is_library(version)))
        list.push_back(version);
  }
  return list;
}

template <typename T>
struct LinearArrays {
  const T* x = nullptr;   ///< not of backward_data
  const T* dy = nullptr;  ///< of the backward passes
  const T* w = nullptr;   ///< not of backward_weights
  const T* b = nullptr;   ///< of the forward pass
  T* out = nullptr;       ///< y, dx or dw
  T* db = nullptr;        ///< of backward_weights
};

template <Backend B, typename T>
void run_version(gpu::Stream stream, LinearVersion version, LinearParams p, LayerPass pass,
                 const LinearArrays<T>& a, void* workspace) {
  if (pass == LayerPass::backward_data)
    return gpu::linear_backward_data<B>(stream, p, a.dy, a.w, a.out, workspace, version);
  if (pass == LayerPass::backward_weights)
    return gpu::linear_backward_weights<B>(stream, p, a.x, a.dy, a.out, a.db, workspace, version);
  // The library's own ReLU makes NaN 0, which would hide that a run has gone wrong.
  const bool relu_after = p.relu && is_library(version);
  if (relu_after) p.relu = false;
  gpu::linear_forward<B>(stream, p, a.x, a.w, a.b, a.out, workspace, version);
  if (relu_after) gpu::relu_forward<B>(stream, p.rows * p.out, a.out, a.out);
}

template <Backend B, typename T>
TunedWork tuned_work(const LinearParams& p, LayerPass pass,
                     const std::vector<LinearVersion>& list) {
  static_assert(sizeof(LinearParams) == 32, "name the new member in the key");
  TunedWork work;
  const char* const name = pass == LayerPass::backward_data      ? "backward_data"
                           : pass == LayerPass::backward_weights ? "backward_weights"
                                                                 : "forward";
  work.key.family =
      fmt::format("linear {} {}{} {}>{}{}{}", name, std::is_same_v<T, double> ? "f64 " : "",
                  name_of(gpu_math()), p.in, p.out, p.bias ? " bias" : "", p.relu ? " relu" : "");
  work.key.size = fmt::format("{}", p.rows);
  work.key.amount = static_cast<double>(p.rows);
  for (const LinearVersion version : list)
    work.candidates.push_back({about(version).name, gpu::linear_workspace<B, T>(p, pass, version)});
  work.outputs = pass == LayerPass::backward_data      ? p.rows * p.in
                 : pass == LayerPass::backward_weights ? p.out * p.in
                                                       : p.rows * p.out;
  work.tolerance = gpu_math() == GpuMath::f32 ? 0.01 : 0.2;
  return work;
}

/// The version of a pass, measured where the program wants that.
template <Backend B, typename T>
LinearVersion choose(gpu::Stream stream, Device device, const LinearParams& p, LayerPass pass,
                     const LinearArrays<T>& arrays) {
  if (tuner_of(device) == nullptr) return fixed_choice<T>(device);
  const std::vector<LinearVersion> list = competing<B, T>(device);
  TunedWork work = tuned_work<B, T>(p, pass, list);
  if constexpr (std::is_same_v<T, float>)
    work.prepare = [&](size_t i, float* out) -> std::function<void()> {
      const LinearVersion version = list[i];
      Tensor workspace = byte_buffer(gpu::linear_workspace<B, T>(p, pass, version), device);
      LinearArrays<T> trial = arrays;
      trial.out = out;
      Tensor db;
      if (arrays.db != nullptr) {
        db = Tensor::empty({p.out}, DType::f32, device);
        trial.db = db.data<float>();
      }
      return [=]() mutable { run_version<B, T>(stream, version, p, pass, trial, workspace.raw()); };
    };
  return list[tuned_choice(device, work)];
}

/// One pass; arrays_of(T{}) gives its LinearArrays<T>.
template <typename Arrays>
void linear_pass(const LinearParams& p, LayerPass pass, const Tensor& like,
                 const Arrays& arrays_of) {
  const Device device = like.device();
  with_gpu(device, [&](auto on) {
    with_float(like.dtype(), "linear", [&](auto t) {
      using T = decltype(t);
      constexpr Backend kBackend = decltype(on)::backend;
      const LinearArrays<T> arrays = arrays_of(t);
      const LinearVersion version = choose<kBackend, T>(on.stream, device, p, pass, arrays);
      Tensor workspace = byte_buffer(gpu::linear_workspace<kBackend, T>(p, pass, version), device);
      run_version<kBackend, T>(on.stream, version, p, pass, arrays, workspace.raw());
    });
  });
}

}  // namespace

void gpu_linear_forward(const LinearParams& p, const Tensor& x, const Tensor& w, const Tensor& b,
                        Tensor& y) {
  linear_pass(p, kForward, x, [&](auto t) {
    using T = decltype(t);
    return LinearArrays<T>{x.data<T>(), nullptr, w.data<T>(), b ? b.data<T>() : nullptr,
                           y.data<T>(), nullptr};
  });
}

void gpu_linear_backward_data(const LinearParams& p, const Tensor& dy, const Tensor& w,
                              Tensor& dx) {
  linear_pass(p, LayerPass::backward_data, dy, [&](auto t) {
    using T = decltype(t);
    return LinearArrays<T>{nullptr, dy.data<T>(), w.data<T>(), nullptr, dx.data<T>(), nullptr};
  });
}

void gpu_linear_backward_weights(const LinearParams& p, const Tensor& x, const Tensor& dy,
                                 Tensor& dw, Tensor* db) {
  linear_pass(p, LayerPass::backward_weights, x, [&](auto t) {
    using T = decltype(t);
    return LinearArrays<T>{x.data<T>(), dy.data<T>(), nullptr,
                           nullptr,     dw.data<T>(), db ? db->data<T>() : nullptr};
  });
}

std::string gpu_linear_kernel(Device device, const LinearParams& p, LayerPass pass) {
  std::string name;
  with_gpu(device, [&](auto on) {
    constexpr Backend kBackend = decltype(on)::backend;
    const std::vector<LinearVersion> list = competing<kBackend, float>(device);
    const TunedWork work = tuned_work<kBackend, float>(p, pass, list);
    const Autotuner* const tuner = tuner_of(device);
    name = work.candidates[tuner ? tuner->expected(work.key, work.candidates) : 0].name;
  });
  return name;
}

}  // namespace frcnn
