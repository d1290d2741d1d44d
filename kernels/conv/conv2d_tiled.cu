// Convolution, version "tiled": implicit GEMM on CUDA cores.
#include "kernels/conv/gemm_versions.cuh"

namespace frcnn::kernels::gpu::conv {
FRCNN_INSTANTIATE_CONV_GEMM(ConvVersion::tiled, float)
}  // namespace frcnn::kernels::gpu::conv
