#pragma once

#include "kernels/linear/linear.h"

/// The matrix products of dense layers by NVIDIA's cuBLASLt, behind the cublaslt versions of
/// LinearVersion.
namespace frcnn::kernels::gpu {

/// C (m, n) = A (m, k) B (k, n). a_outer: A is stored as (k, m), else as (m, k); b_outer: B is
/// stored as (k, n), else as (n, k).
struct CublasltShape {
  int64_t m = 0, n = 0, k = 0;
  bool a_outer = false, b_outer = false;
  auto operator<=>(const CublasltShape&) const = default;
};

/// c = relu(a b + bias), bias (n) or nullptr. Throws Error when the library is not there, and in
/// the emulated build.
template <Backend backend, typename T, typename Out>
void cublaslt_product(Stream stream, LinearVersion version, const CublasltShape& shape, const T* a,
                      const T* b, const float* bias, bool relu, Out* c, void* workspace);

/// The library's own workspace, and room for bfloat16 copies of float factors.
template <typename T>
size_t cublaslt_workspace(LinearVersion version, int64_t m, int64_t n, int64_t k) {
  constexpr size_t kOwn = size_t{32} << 20;
  const bool copies = version == LinearVersion::cublaslt_bf16 && !std::is_same_v<T, Bfloat16>;
  const auto padded = [](int64_t count) {
    return (static_cast<size_t>(count) * 2 + 255) / 256 * 256;
  };
  return kOwn + (copies ? padded(m * k) + padded(k * n) : 0);
}

}  // namespace frcnn::kernels::gpu
