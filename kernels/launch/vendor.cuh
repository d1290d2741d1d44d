#pragma once

#include "kernels/launch/gpu.cuh"
#include "kernels/launch/vendor.h"

/// Calls of NVIDIA's libraries from the .cu files that include their headers:
///
///   FRCNN_VENDOR(cublas, cublasSetStream)(handle, stream);
///
/// looks the function up in the library, calls it, and throws Error when it fails. A header that
/// was not there at build time leaves its macro FRCNN_HAVE_... undefined.
#if defined(__CUDACC__)

#if __has_include(<cublasLt.h>) && __has_include(<cublas_v2.h>)
#define FRCNN_HAVE_CUBLAS 1
#include <cublasLt.h>
#include <cublas_v2.h>
#endif
#if __has_include(<cudnn.h>)
#define FRCNN_HAVE_CUDNN 1
#include <cudnn.h>
#endif

namespace frcnn::kernels::gpu {

#if defined(FRCNN_HAVE_CUBLAS)
void check_vendor(cublasStatus_t status, const char* call);
#endif
#if defined(FRCNN_HAVE_CUDNN)
void check_vendor(cudnnStatus_t status, const char* call);
#endif

template <typename Function>
struct VendorFunction {
  Function address;
  const char* name;

  /// The function's own answer, for those that may say no.
  template <typename... Args>
  auto status(Args... args) const {
    return address(args...);
  }
  template <typename... Args>
  void operator()(Args... args) const {
    check_vendor(address(args...), name);
  }
};

// The names of some functions are macros of the library's header: two steps expand them.
#define FRCNN_VENDOR_TEXT_(name) #name
#define FRCNN_VENDOR_TEXT(name) FRCNN_VENDOR_TEXT_(name)
#define FRCNN_VENDOR(library, function)                                                           \
  ([] {                                                                                           \
    using Function = decltype(&::function);                                                       \
    static const auto address = reinterpret_cast<Function>(                                       \
        ::frcnn::kernels::gpu::vendor_library(::frcnn::kernels::gpu::VendorLibrary::library)      \
            .symbol(FRCNN_VENDOR_TEXT(function)));                                                \
    return ::frcnn::kernels::gpu::VendorFunction<Function>{address, FRCNN_VENDOR_TEXT(function)}; \
  }())

#if defined(FRCNN_HAVE_CUBLAS)
inline void check_vendor(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  const char* text = FRCNN_VENDOR(cublaslt, cublasLtGetStatusString).address(status);
  fail("[cublas] {}: {}", call, text);
}
#endif
#if defined(FRCNN_HAVE_CUDNN)
inline void check_vendor(cudnnStatus_t status, const char* call) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  const char* text = FRCNN_VENDOR(cudnn, cudnnGetErrorString).address(status);
  fail("[cudnn] {}: {}", call, text);
}
#endif

inline int current_device() {
  int device = 0;
  FRCNN_CUDA_CHECK(cudaGetDevice(&device));
  return device;
}

}  // namespace frcnn::kernels::gpu

#endif
