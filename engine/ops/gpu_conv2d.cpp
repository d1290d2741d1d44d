// Convolutions on a GPU: the kernels that compete for a pass, the choice among them, the call.
#include <span>
#include <string_view>

#include "engine/byte_buffer.h"
#include "engine/dispatch.h"
#include "engine/gpu_math.h"
#include "engine/memory.h"
#include "engine/ops/conv_work.h"
#include "engine/ops/gpu_layers.h"
#include "engine/ops/tuned.h"
#include "kernels/conv/conv2d_gpu.h"
#include "kernels/conv/conv2d_vendor.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/launch/vendor.h"

namespace frcnn {
namespace {

namespace gpu = kernels::gpu;
using gpu::VendorMath;
using kernels::Backend;
using kernels::Conv2dParams;
using kernels::ConvAlgorithm;
using kernels::ConvTile;
using kernels::ConvVersion;
using kernels::LayerPass;

constexpr LayerPass kForward = LayerPass::forward_inference;  // the same in training

/// A version of the project's own ladder with its tile, or an algorithm of a library.
struct ConvKernel {
  enum class Maker : uint8_t { own, cudnn, cublas };
  Maker maker = Maker::own;
  ConvVersion version = ConvVersion::naive;
  ConvTile tile = ConvTile::automatic;
  VendorMath math = VendorMath::f32;
  int algorithm = -1;  ///< of cuDNN

  gpu::CudnnChoice cudnn() const { return {math, algorithm}; }
};

const char* name_of(VendorMath math) {
  constexpr const char* kNames[] = {"f32", "tf32", "bf16"};
  return kNames[static_cast<size_t>(math)];
}

std::span<const gpu::CudnnAlgorithm> cudnn_algorithms(LayerPass pass) {
  if (pass == LayerPass::backward_data) return gpu::kCudnnBackwardData;
  if (pass == LayerPass::backward_weights) return gpu::kCudnnBackwardWeights;
  return gpu::kCudnnForward;
}

/// "tiled", "mma_tf32 large", "cudnn_tf32 winograd_nonfused", "cublas_bf16".
std::string name_of(const ConvKernel& kernel, LayerPass pass) {
  constexpr const char* kTiles[] = {"", " small", " large"};
  switch (kernel.maker) {
    case ConvKernel::Maker::own:
      return fmt::format("{}{}", kernels::kConvVersions[static_cast<size_t>(kernel.version)].name,
                         kTiles[static_cast<size_t>(kernel.tile)]);
    case ConvKernel::Maker::cudnn:
      return fmt::format("cudnn_{} {}", name_of(kernel.math),
                         cudnn_algorithms(pass)[static_cast<size_t>(kernel.algorithm)].name);
    case ConvKernel::Maker::cublas:
      break;
  }
  return fmt::format("cublas_{}", name_of(kernel.math));
}

bool device_has(Device device, ConvVersion version) {
  return kernels::kConvVersions[static_cast<size_t>(version)].capability <=
         compute_capability(device);
}

/// The choice by shape alone: tensor cores where they are wanted and there.
template <typename T>
ConvKernel fixed_choice(const Conv2dParams& p, LayerPass pass, Device device) {
  const GpuMath math = gpu_math();
  const ConvVersion wanted = math == GpuMath::tf32 ? ConvVersion::mma_tf32 : ConvVersion::mma_bf16;
  ConvKernel kernel;
  kernel.version = math != GpuMath::f32 && device_has(device, wanted) &&
                           gpu::conv2d_supported<T>(p, pass, wanted)
                       ? wanted
                       : gpu::conv2d_version<T>(p, pass);
  return kernel;
}

GpuMath arithmetic_of(ConvVersion version) {
  if (version == ConvVersion::mma_tf32) return GpuMath::tf32;
  const bool bf16 = version == ConvVersion::mma_bf16 || version == ConvVersion::wgmma_bf16;
  return bf16 ? GpuMath::bf16 : GpuMath::f32;
}
bool has_tiles(ConvVersion version) {
  return version == ConvVersion::tiled || version == ConvVersion::mma_tf32 ||
         version == ConvVersion::mma_bf16 || version == ConvVersion::winograd;
}

/// The project's own versions but the naive one, which round factors no more than `math` does, with
/// both tiles; behind the fixed choice, which `list` has already.
template <typename T>
void add_own(const Conv2dParams& p, LayerPass pass, GpuMath math, Device device,
             std::vector<ConvKernel>& list) {
  for (size_t i = 1; i < std::size(kernels::kConvVersions); ++i) {
    const auto version = static_cast<ConvVersion>(i);
    const bool winograd = version == ConvVersion::winograd;
    if (arithmetic_of(version) > math || !device_has(device, version)) continue;
    if (p.algorithm == (winograd ? ConvAlgorithm::direct : ConvAlgorithm::winograd)) continue;
    if (!gpu::conv2d_supported<T>(p, pass, version)) continue;
    if (!has_tiles(version)) {
      if (version != list.front().version) list.push_back({ConvKernel::Maker::own, version});
      continue;
    }
    for (const ConvTile tile : {ConvTile::small, ConvTile::large})
      list.push_back({ConvKernel::Maker::own, version, tile});
  }
}

/// The libraries' ways that are deterministic and round factors alone, as gpu_math() promises:
/// cuDNN with bfloat16 factors rounds its results, too.
template <Backend B>
void add_libraries(const Conv2dParams& p, LayerPass pass, GpuMath math,
                   std::vector<ConvKernel>& list) {
  const bool nchw = p.input.block == 1 && p.out_block == 1;
  const bool nhwc = p.input.block == p.input.c && p.out_block == p.out_channels;
  if ((!nchw && !nhwc) || p.groups != 1 || p.dilated()) return;
  const auto algorithms = cudnn_algorithms(pass);
  for (size_t i = 0; i < algorithms.size(); ++i) {
    const bool winograd = std::string_view(algorithms[i].name).starts_with("winograd");
    if (p.algorithm == (winograd ? ConvAlgorithm::direct : ConvAlgorithm::winograd)) continue;
    ConvKernel kernel;
    kernel.maker = ConvKernel::Maker::cudnn;
    kernel.math = math == GpuMath::f32 ? VendorMath::f32 : VendorMath::tf32;
    kernel.algorithm = static_cast<int>(i);
    if (algorithms[i].deterministic &&
        gpu::conv2d_supported_cudnn<B, float>(p, pass, kernel.cudnn()))
      list.push_back(kernel);
  }
  const bool cublas =
      B == Backend::emulated || gpu::vendor_library(gpu::VendorLibrary::cublas).available();
  if (!cublas || p.algorithm == ConvAlgorithm::winograd) return;
  ConvKernel kernel;
  kernel.maker = ConvKernel::Maker::cublas;
  kernel.math = static_cast<VendorMath>(math);
  list.push_back(kernel);
}
static_assert(static_cast<int>(VendorMath::bf16) == static_cast<int>(GpuMath::bf16) &&
              static_cast<int>(VendorMath::tf32) == static_cast<int>(GpuMath::tf32));

template <Backend B, typename T>
std::vector<ConvKernel> competing(const Conv2dParams& p, LayerPass pass, Device device) {
  std::vector<ConvKernel> list = {fixed_choice<T>(p, pass, device)};
  if constexpr (std::is_same_v<T, float>) {
    add_own<T>(p, pass, gpu_math(), device, list);
    add_libraries<B>(p, pass, gpu_math(), list);
  }
  return list;
}

template <typename T>
size_t packed_bytes(const ConvKernel& kernel, const Conv2dParams& p, LayerPass pass) {
  if (kernel.maker == ConvKernel::Maker::own)
    return gpu::conv2d_packed_bytes<T>(p, pass, kernel.version);
  return pass == LayerPass::backward_weights ? 0 : gpu::conv2d_packed_bytes_vendor(p, kernel.math);
}

template <Backend B, typename T>
void pack(gpu::Stream stream, const ConvKernel& kernel, const Conv2dParams& p, LayerPass pass,
          const T* w, void* to) {
  if (kernel.maker == ConvKernel::Maker::own)
    gpu::conv2d_pack_weights<B, T>(stream, p, pass, w, to, kernel.version);
  else if constexpr (std::is_same_v<T, float>)
    gpu::conv2d_pack_weights_vendor<B>(stream, p, w, to, kernel.math);
}

template <Backend B, typename T>
size_t workspace_bytes(const ConvKernel& kernel, const Conv2dParams& p, LayerPass pass) {
  if constexpr (std::is_same_v<T, float>) {
    if (kernel.maker == ConvKernel::Maker::cudnn)
      return gpu::conv2d_workspace_cudnn<B, T>(p, pass, kernel.cudnn());
    if (kernel.maker == ConvKernel::Maker::cublas)
      return gpu::conv2d_workspace_cublas<B, T>(p, pass, kernel.math);
  }
  return gpu::conv2d_workspace<T>(p, pass, kernel.version);
}

/// What a pass reads and writes.
template <typename T>
struct ConvArrays {
  const T* x = nullptr;   ///< not of backward_data
  const T* dy = nullptr;  ///< of the backward passes
  const T* w = nullptr;   ///< plain; not of backward_weights
  const T* b = nullptr;   ///< of the forward pass
  T* out = nullptr;       ///< y, dx or dw
  T* db = nullptr;        ///< of backward_weights
};

template <Backend B, typename T>
void run_own(gpu::Stream stream, const ConvKernel& k, const Conv2dParams& p, LayerPass pass,
             const ConvArrays<T>& a, const void* weights, void* workspace) {
  if (pass == kForward)
    gpu::conv2d_forward<B>(stream, p, a.x, weights, a.b, a.out, workspace, k.version, k.tile);
  else if (pass == LayerPass::backward_data)
    gpu::conv2d_backward_data<B>(stream, p, a.dy, weights, a.out, workspace, k.version, k.tile);
  else
    gpu::conv2d_backward_weights<B>(stream, p, a.x, a.dy, a.out, a.db, workspace, k.version,
                                    k.tile);
}

/// The ReLU comes after the library's call: cuDNN's makes NaN 0, which would hide that a run has
/// gone wrong.
template <Backend B>
void run_library(gpu::Stream stream, const ConvKernel& k, Conv2dParams p, LayerPass pass,
                 const ConvArrays<float>& a, const void* weights, void* workspace) {
  const bool relu = p.relu, cudnn = k.maker == ConvKernel::Maker::cudnn;
  p.relu = false;
  if (pass == kForward) {
    if (cudnn)
      gpu::conv2d_forward_cudnn<B, float>(stream, p, a.x, weights, a.b, a.out, workspace,
                                          k.cudnn());
    else
      gpu::conv2d_forward_cublas<B, float>(stream, p, a.x, weights, a.b, a.out, workspace, k.math);
    if (relu) gpu::relu_forward<B>(stream, p.output().size(), a.out, a.out);
  } else if (pass == LayerPass::backward_data) {
    if (cudnn)
      gpu::conv2d_backward_data_cudnn<B, float>(stream, p, a.dy, weights, a.out, workspace,
                                                k.cudnn());
    else
      gpu::conv2d_backward_data_cublas<B, float>(stream, p, a.dy, weights, a.out, workspace,
                                                 k.math);
  } else {
    if (cudnn)
      gpu::conv2d_backward_weights_cudnn<B, float>(stream, p, a.x, a.dy, a.out, a.db, workspace,
                                                   k.cudnn());
    else
      gpu::conv2d_backward_weights_cublas<B, float>(stream, p, a.x, a.dy, a.out, a.db, workspace,
                                                    k.math);
  }
}

template <Backend B, typename T>
void run_kernel(gpu::Stream stream, const ConvKernel& k, const Conv2dParams& p, LayerPass pass,
                const ConvArrays<T>& a, const void* weights, void* workspace) {
  if constexpr (std::is_same_v<T, float>)
    if (k.maker != ConvKernel::Maker::own)
      return run_library<B>(stream, k, p, pass, a, weights, workspace);
  run_own<B, T>(stream, k, p, pass, a, weights, workspace);
}

template <Backend B, typename T>
TunedWork tuned_work(const Conv2dParams& p, LayerPass pass, DType dtype,
                     const std::vector<ConvKernel>& list) {
  TunedWork work;
  work.key = conv_key("conv2d", p, pass,
                      fmt::format("{}{}", dtype == DType::f64 ? "f64 " : "", name_of(gpu_math())));
  for (const ConvKernel& kernel : list)
    work.candidates.push_back({name_of(kernel, pass), packed_bytes<T>(kernel, p, pass) +
                                                          workspace_bytes<B, T>(kernel, p, pass)});
  work.outputs = conv_outputs(p, pass);
  work.tolerance = gpu_math() == GpuMath::f32 ? 0.01 : 0.2;
  return work;
}

/// The kernel of a pass, measured where the program wants that.
template <Backend B, typename T>
ConvKernel choose(gpu::Stream stream, Device device, const Conv2dParams& p, LayerPass pass,
                  const ConvArrays<T>& arrays) {
  if (tuner_of(device) == nullptr) return fixed_choice<T>(p, pass, device);
  const std::vector<ConvKernel> list = competing<B, T>(p, pass, device);
  constexpr DType kType = std::is_same_v<T, double> ? DType::f64 : DType::f32;
  TunedWork work = tuned_work<B, T>(p, pass, kType, list);
  if constexpr (std::is_same_v<T, float>)
    work.prepare = [&](size_t i, float* out) -> std::function<void()> {
      const ConvKernel& kernel = list[i];
      Tensor workspace = byte_buffer(workspace_bytes<B, T>(kernel, p, pass), device);
      Tensor packed = byte_buffer(packed_bytes<T>(kernel, p, pass), device);
      if (packed.numel() > 0) pack<B, T>(stream, kernel, p, pass, arrays.w, packed.raw());
      ConvArrays<T> trial = arrays;
      trial.out = out;
      Tensor db;
      if (arrays.db != nullptr) {
        db = Tensor::empty({p.out_channels}, DType::f32, device);
        trial.db = db.data<float>();
      }
      return [=, &p]() mutable {
        run_kernel<B, T>(stream, kernel, p, pass, trial,
                         packed.numel() > 0 ? packed.raw() : static_cast<const void*>(trial.w),
                         workspace.raw());
      };
    };
  return list[tuned_choice(device, work)];
}

/// One pass; arrays_of(T{}) gives its ConvArrays<T>. The packed copy of `w` is kept in `cache`,
/// unless that is nullptr.
template <typename Arrays>
void conv_pass(const Conv2dParams& p, LayerPass pass, const Tensor& like, const Tensor& w,
               PackedWeights* cache, const Arrays& arrays_of) {
  const Device device = like.device();
  with_gpu(device, [&](auto on) {
    with_float(like.dtype(), "conv2d", [&](auto t) {
      using T = decltype(t);
      constexpr Backend kBackend = decltype(on)::backend;
      const ConvArrays<T> arrays = arrays_of(t);
      const ConvKernel kernel = choose<kBackend, T>(on.stream, device, p, pass, arrays);
      const size_t size = packed_bytes<T>(kernel, p, pass);
      Tensor weights = w;
      if (size > 0) {
        const auto write = [&](void* to) {
          pack<kBackend, T>(on.stream, kernel, p, pass, w.data<T>(), to);
        };
        if (cache) {
          weights = cache->get(w, fmt::format("{} {}", conv_pass_name(pass), name_of(kernel, pass)),
                               size, write);
        } else {
          weights = byte_buffer(size, device);
          write(weights.raw());
        }
      }
      Tensor workspace = byte_buffer(workspace_bytes<kBackend, T>(kernel, p, pass), device);
      run_kernel<kBackend, T>(on.stream, kernel, p, pass, arrays, weights ? weights.raw() : nullptr,
                              workspace.raw());
    });
  });
}

}  // namespace

void gpu_conv2d_forward(const Conv2dParams& p, const Tensor& x, const Tensor& w, const Tensor& b,
                        Tensor& y, PackedWeights* cache) {
  conv_pass(p, kForward, x, w, cache, [&](auto t) {
    using T = decltype(t);
    return ConvArrays<T>{x.data<T>(), nullptr, w.data<T>(), b ? b.data<T>() : nullptr,
                         y.data<T>(), nullptr};
  });
}

void gpu_conv2d_backward_data(const Conv2dParams& p, const Tensor& dy, const Tensor& w, Tensor& dx,
                              PackedWeights* cache) {
  conv_pass(p, LayerPass::backward_data, dy, w, cache, [&](auto t) {
    using T = decltype(t);
    return ConvArrays<T>{nullptr, dy.data<T>(), w.data<T>(), nullptr, dx.data<T>(), nullptr};
  });
}

void gpu_conv2d_backward_weights(const Conv2dParams& p, const Tensor& x, const Tensor& dy,
                                 Tensor& dw, Tensor* db) {
  conv_pass(p, LayerPass::backward_weights, x, Tensor(), nullptr, [&](auto t) {
    using T = decltype(t);
    return ConvArrays<T>{x.data<T>(), dy.data<T>(), nullptr,
                         nullptr,     dw.data<T>(), db ? db->data<T>() : nullptr};
  });
}

std::string gpu_conv2d_kernel(Device device, const Conv2dParams& p, LayerPass pass) {
  std::string name;
  with_gpu(device, [&](auto on) {
    constexpr Backend kBackend = decltype(on)::backend;
    const std::vector<ConvKernel> list = competing<kBackend, float>(p, pass, device);
    size_t index = 0;
    if (const Autotuner* tuner = tuner_of(device)) {
      const TunedWork work = tuned_work<kBackend, float>(p, pass, DType::f32, list);
      index = tuner->expected(work.key, work.candidates);
    }
    name = name_of(list[index], pass);
  });
  return name;
}

}  // namespace frcnn
