#include "kernels/losses/loss_scale.h"

#include "kernels/launch/reduce.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 32;

__global__ void scale_kernel(double numerator, int64_t n, int64_t stride, const int32_t* counts,
                             double* scale) {
  int64_t total = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) total += counts[i * stride];
  total = warp_sum(total);
  if (threadIdx.x == 0) *scale = numerator / static_cast<double>(total < 1 ? 1 : total);
}

}  // namespace

template <Backend backend>
void loss_scale(Stream stream, double numerator, int64_t n, const int32_t* counts, double* scale,
                int64_t stride) {
  launch({"loss_scale", 1, kThreads, 0, stream}, scale_kernel, numerator, n, stride, counts, scale);
}
template void loss_scale<kBackend>(Stream, double, int64_t, const int32_t*, double*, int64_t);

}  // namespace frcnn::kernels::gpu
