// Convolution, version "mma_tf32": implicit GEMM on tensor cores, float32 maps, factors rounded to
// tf32.
#include "kernels/conv/gemm_versions.cuh"

namespace frcnn::kernels::gpu::conv {
FRCNN_INSTANTIATE_CONV_GEMM(ConvVersion::mma_tf32, float)
}  // namespace frcnn::kernels::gpu::conv
