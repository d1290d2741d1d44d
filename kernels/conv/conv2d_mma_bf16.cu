// Convolution, version "mma_bf16": implicit GEMM on tensor cores with bfloat16 factors. Maps of
// Bfloat16 in NHWC are the fast path; maps of float are rounded while they are loaded.
#include "kernels/conv/gemm_versions.cuh"

namespace frcnn::kernels::gpu::conv {
FRCNN_INSTANTIATE_CONV_GEMM(ConvVersion::mma_bf16, Bfloat16)
FRCNN_INSTANTIATE_CONV_GEMM(ConvVersion::mma_bf16, float)
}  // namespace frcnn::kernels::gpu::conv
