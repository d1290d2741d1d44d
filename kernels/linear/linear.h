#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

#include "kernels/launch/bfloat16.h"
#include "kernels/launch/gpu.h"
#include "kernels/launch/layer_plan.h"

namespace frcnn::kernels {

/// Dense layer: y[r, o] = b[o] + sum_i x[r, i] * w[o, i], followed by max(0, y) when `relu`.
struct LinearParams {
  int64_t rows = 0, in = 0, out = 0;
  bool bias = true;
  bool relu = false;  ///< fused into the forward pass
  bool operator==(const LinearParams&) const = default;
};

namespace cpu {

/// Plain loops with double accumulation: reference and float64 path. Arrays must not overlap.
template <typename T>
void linear_forward_reference(const LinearParams& p,
                              const T* x,  // (rows, in)
                              const T* w,  // (out, in)
                              const T* b,  // (out) or nullptr
                              T* y);       // (rows, out)
/// dx (rows, in), overwritten; the ReLU is not included (mask dy first).
template <typename T>
void linear_backward_data_reference(const LinearParams& p, const T* dy, const T* w, T* dx);
/// dw (out, in) and db (out) or nullptr, overwritten.
template <typename T>
void linear_backward_weights_reference(const LinearParams& p, const T* x, const T* dy, T* dw,
                                       T* db);

/// The float32 plan of this size and pass, by oneDNN; see conv2d_plan(). Training passes take the
/// weights as they are; forward_inference may want them packed.
std::shared_ptr<const LayerPlan> linear_plan(const LinearParams& params, LayerPass pass);

}  // namespace cpu

/// The same on a GPU as a matrix product with rows, in and out as its sizes, each of any value.
/// docs/kernels/linear.md tells the ladder with its numbers.
enum class LinearVersion : uint8_t {
  naive,
  tiled,
  registers,
  split_k,
  mma_tf32,
  mma_bf16,
  cublaslt_f32,
  cublaslt_tf32,
  cublaslt_bf16
};
inline constexpr gpu::KernelVersion kLinearVersions[] = {
    {"naive", "one thread, one output: the equation"},
    {"tiled", "tiles in shared memory: each element is read once per 16 outputs"},
    {"registers", "8 x 8 outputs per thread in registers, 16-byte loads, two tiles in turn"},
    {"split_k", "registers; several blocks share the sums of a skinny product"},
    {"mma_tf32", "tensor cores, tf32 factors, cp.async pipeline, ldmatrix; splits too", 80},
    {"mma_bf16", "the same with bfloat16 factors, stored so or rounded on the way", 80},
    {"cublaslt_f32", "NVIDIA's cuBLASLt, for comparison", 80, false},
    {"cublaslt_tf32", "cuBLASLt on tensor cores, tf32 factors", 80, false},
    {"cublaslt_bf16", "cuBLASLt on tensor cores, bfloat16 factors", 80, false},
};

namespace gpu {

/// Biases, their gradients and those of weights are float where the factors are Bfloat16.
template <typename T>
using LinearSum = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// Which versions take factors stored as T: float has all of them.
template <typename T>
constexpr bool linear_supports(LinearVersion version) {
  using V = LinearVersion;
  const bool simple = version == V::naive || version == V::tiled;
  if (std::is_same_v<T, double>) return simple;
  return std::is_same_v<T, float> || simple || version == V::mma_bf16 ||
         version == V::cublaslt_bf16;
}
/// The best version of the ladder that rounds no factor.
template <typename T>
inline constexpr LinearVersion kLinearDefault =
    std::is_same_v<T, double>  ? LinearVersion::tiled
    : std::is_same_v<T, float> ? LinearVersion::split_k
                               : LinearVersion::mma_bf16;

/// T is float, double or Bfloat16; Out may be float where T is Bfloat16. Sums are taken in
/// LinearSum<T>: float32 sums of products in another order than on the CPU, of factors rounded to
/// tf32 (10 bits of fraction) or bfloat16 (7 bits) where the version says so. Deterministic: the
/// order of additions depends on the sizes and the version alone (of the cublaslt versions, on the
/// library and the device too). Arrays may not overlap. NaN and infinities carry through, but the
/// ReLU of the cublaslt versions makes NaN 0.
/// `workspace` is device memory of linear_workspace() bytes, aligned to 16; nullptr where that is
/// 0.
template <Backend backend, typename T, typename Out = T>
void linear_forward(Stream stream, const LinearParams& p,
                    const T* x,             // (rows, in)
                    const T* w,             // (out, in)
                    const LinearSum<T>* b,  // (out) or nullptr
                    Out* y,                 // (rows, out)
                    void* workspace, LinearVersion version = kLinearDefault<T>);
/// dx (rows, in), overwritten; the ReLU is not included (mask dy first).
template <Backend backend, typename T, typename Out = T>
void linear_backward_data(Stream stream, const LinearParams& p, const T* dy, const T* w, Out* dx,
                          void* workspace, LinearVersion version = kLinearDefault<T>);
/// dw (out, in) and db (out) or nullptr, overwritten; db is summed in double.
template <Backend backend, typename T>
void linear_backward_weights(Stream stream, const LinearParams& p, const T* x, const T* dy,
                             LinearSum<T>* dw, LinearSum<T>* db, void* workspace,
                             LinearVersion version = kLinearDefault<T>);

/// Bytes of workspace of a pass: the parts of a split product, copies of rounded factors.
template <Backend backend, typename T>
size_t linear_workspace(const LinearParams& p, LayerPass pass,
                        LinearVersion version = kLinearDefault<T>);

}  // namespace gpu
}  // namespace frcnn::kernels
