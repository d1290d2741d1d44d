#include "kernels/linear/linear_cublaslt.h"

#include "kernels/launch/gpu.cuh"

namespace frcnn::kernels::gpu {

template <Backend backend, typename T, typename Out>
void cublaslt_product(Stream, LinearVersion, const CublasltShape&, const T*, const T*, const float*,
                      bool, Out*, void*) {
  fail("[linear] cuBLASLt is not available under emulation");
}
#define FRCNN_INSTANTIATE(T, Out)                                                                \
  template void cublaslt_product<kBackend, T, Out>(Stream, LinearVersion, const CublasltShape&,  \
                                                   const T*, const T*, const float*, bool, Out*, \
                                                   void*);
FRCNN_INSTANTIATE(float, float)
FRCNN_INSTANTIATE(Bfloat16, float)
FRCNN_INSTANTIATE(Bfloat16, Bfloat16)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
