#pragma once

#include <string>

#include "kernels/conv/conv2d.h"
#include "kernels/launch/bfloat16.h"
#include "kernels/launch/gpu.h"

/// The convolution of conv2d.h by NVIDIA's libraries, for comparison with the project's own
/// kernels: cuDNN, and cuBLAS on matrices that im2col writes (Chellapilla et al., 2006). Both are
/// loaded when they are first needed; without them, and in the emulated build, functions throw
/// Error (cuDNN's) or multiply by a plain loop (cuBLAS's under emulation, so that im2col is
/// tested).
///
/// T, the type of maps, is float or Bfloat16. Both maps are NCHW (block 1) or both NHWC (block =
/// C). One group and no dilation; anything else throws Error.
namespace frcnn::kernels::gpu {

/// Type of the factors; sums are float32. f32 keeps off tensor cores. Maps of float are rounded by
/// bf16 in every call (x, dy), those of Bfloat16 need it.
enum class VendorMath : uint8_t { f32, tf32, bf16 };

/// Bytes of the weights in the libraries' format: (O, C, kh, kw) beside NCHW, (O, kh, kw, C) beside
/// NHWC, of Bfloat16 with bf16, else of float; 0 where that is the plain format. The same format
/// for forward and backward_data, and for both libraries.
inline size_t conv2d_packed_bytes_vendor(const Conv2dParams& params, VendorMath math) {
  const bool plain_order = params.input.block == 1 && params.out_block == 1;
  if (plain_order && math != VendorMath::bf16) return 0;
  return static_cast<size_t>(params.weight_size()) * (math == VendorMath::bf16 ? 2 : 4);
}
template <Backend backend>
void conv2d_pack_weights_vendor(Stream stream, const Conv2dParams& params,
                                const float* w,  // (O, C, kh, kw)
                                void* packed, VendorMath math);

// ---- cuDNN, by its functions cudnnConvolution... (marked as old in cuDNN 9, but all there)

struct CudnnAlgorithm {
  const char* name;
  bool deterministic = true;
};
/// Indexed by cuDNN's own numbers.
inline constexpr CudnnAlgorithm kCudnnForward[] = {
    {"implicit_gemm"}, {"implicit_precomp_gemm"}, {"gemm"}, {"direct"}, {"fft"}, {"fft_tiling"},
    {"winograd"},      {"winograd_nonfused"}};
inline constexpr CudnnAlgorithm kCudnnBackwardData[] = {
    {"algorithm_0", false}, {"algorithm_1"}, {"fft"},
    {"fft_tiling"},         {"winograd"},    {"winograd_nonfused"}};
inline constexpr CudnnAlgorithm kCudnnBackwardWeights[] = {
    {"algorithm_0", false}, {"algorithm_1"},       {"fft"},       {"algorithm_3", false},
    {"winograd"},           {"winograd_nonfused"}, {"fft_tiling"}};

struct CudnnChoice {
  VendorMath math = VendorMath::f32;
  int algorithm = -1;  ///< index into the pass's list; -1: the first deterministic one that cuDNN's
                       ///< heuristics name
};

/// Whether cuDNN can be loaded and does this; `why`, unless nullptr, receives the reason against
/// it.
template <Backend backend, typename T>
bool conv2d_supported_cudnn(const Conv2dParams& params, LayerPass pass, const CudnnChoice& choice,
                            std::string* why = nullptr);
/// Throws Error where it is not supported, as the functions below do.
template <Backend backend, typename T>
size_t conv2d_workspace_cudnn(const Conv2dParams& params, LayerPass pass,
                              const CudnnChoice& choice);
/// As conv2d_forward_reference(), but cuDNN's ReLU may turn NaN into 0. Bias and ReLU are fused
/// where there are both. With bf16, b is rounded too, and so is y before it is stored, whatever T
/// is.
template <Backend backend, typename T>
void conv2d_forward_cudnn(
    Stream stream, const Conv2dParams& params, const T* x,
    const void* w,   // packed, or plain where conv2d_packed_bytes_vendor() is 0
    const float* b,  // (O) or nullptr
    T* y, void* workspace, const CudnnChoice& choice);
template <Backend backend, typename T>
void conv2d_backward_data_cudnn(Stream stream, const Conv2dParams& params, const T* dy,
                                const void* w, T* dx, void* workspace, const CudnnChoice& choice);
/// With bf16, dw and db are rounded to bfloat16.
template <Backend backend, typename T>
void conv2d_backward_weights_cudnn(Stream stream, const Conv2dParams& params, const T* x,
                                   const T* dy,
                                   float* dw,  // (O, C, kh, kw)
                                   float* db,  // (O) or nullptr
                                   void* workspace, const CudnnChoice& choice);

// ---- im2col and cuBLAS, image by image: "GEMM" of Caffe, with either layout's natural order

template <Backend backend, typename T>
size_t conv2d_workspace_cublas(const Conv2dParams& params, LayerPass pass, VendorMath math);
template <Backend backend, typename T>
void conv2d_forward_cublas(Stream stream, const Conv2dParams& params, const T* x, const void* w,
                           const float* b, T* y, void* workspace, VendorMath math);
template <Backend backend, typename T>
void conv2d_backward_data_cublas(Stream stream, const Conv2dParams& params, const T* dy,
                                 const void* w, T* dx, void* workspace, VendorMath math);
template <Backend backend, typename T>
void conv2d_backward_weights_cublas(Stream stream, const Conv2dParams& params, const T* x,
                                    const T* dy, float* dw, float* db, void* workspace,
                                    VendorMath math);

}  // namespace frcnn::kernels::gpu
