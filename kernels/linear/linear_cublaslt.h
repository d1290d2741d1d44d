#pragma once

#include "kernels/launch/blas.h"
#include "kernels/linear/linear.h"

/// The matrix products of dense layers by NVIDIA's cuBLASLt, behind the cublaslt versions of
/// LinearVersion.
namespace frcnn::kernels::gpu {

/// c (m, n) = relu(a b + bias), bias (n) or nullptr; no size is 0. The algorithm is the first that
/// the library's heuristics name. Throws Error when the library is not there, and in the emulated
/// build. Where Out is Bfloat16 the library takes the bias rounded to it, too.
template <Backend backend, typename T, typename Out>
void cublaslt_product(Stream stream, LinearVersion version, const ProductShape& shape, const T* a,
                      const T* b, const float* bias, bool relu, Out* c, void* workspace);

/// Where the parts of a workspace begin: the library's own, bfloat16 copies of float factors, and a
/// bfloat16 copy of the bias.
struct CublasltWorkspace {
  static constexpr size_t kOwn = size_t{32} << 20;
  size_t a = kOwn, b = kOwn, bias = kOwn, end = kOwn;

  CublasltWorkspace(const ProductShape& shape, bool copies) {
    const auto padded = [](int64_t count) {
      return (static_cast<size_t>(count) * sizeof(Bfloat16) + 255) / 256 * 256;
    };
    b = a + (copies ? padded(shape.m * shape.k) : 0);
    bias = b + (copies ? padded(shape.k * shape.n) : 0);
    end = bias + padded(shape.n);
  }
};

}  // namespace frcnn::kernels::gpu
