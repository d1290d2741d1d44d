#pragma once

#include "apps/ops/desk.h"
#include "kernels/conv/conv2d_vendor.h"

/// What runs the convolutions of the registry (convolution_run.cpp).
namespace frcnn::apps::ops {

/// The libraries' convolutions, for comparison: behind kConvVersions in the ladder.
struct VendorVersion {
  const char *name, *idea;
  bool cudnn;
  kernels::gpu::VendorMath math;
};
inline constexpr VendorVersion kVendorVersions[] = {
    {"cudnn_f32", "NVIDIA's cuDNN, for comparison", true, kernels::gpu::VendorMath::f32},
    {"cudnn_tf32", "cuDNN on tensor cores, tf32 factors", true, kernels::gpu::VendorMath::tf32},
    {"cudnn_bf16", "cuDNN on tensor cores, bfloat16 factors", true, kernels::gpu::VendorMath::bf16},
    {"cublas_f32", "im2col, then NVIDIA's cuBLAS", false, kernels::gpu::VendorMath::f32},
    {"cublas_tf32", "im2col and cuBLAS, tf32 factors", false, kernels::gpu::VendorMath::tf32},
    {"cublas_bf16", "im2col and cuBLAS, bfloat16 factors", false, kernels::gpu::VendorMath::bf16},
};

void prepare_conv(Desk& d);
void prepare_conv_pool(Desk& d);

}  // namespace frcnn::apps::ops
