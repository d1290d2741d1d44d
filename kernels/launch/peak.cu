#include "kernels/launch/peak.h"

#include "kernels/launch/gpu.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kChains = 8;    // independent sums of a thread or warp: more than a result's latency
constexpr int kSteps = 16;    // of each chain in a round
constexpr float kNever = -1;  // no sum of the kernels below is negative

__global__ void __launch_bounds__(kThreads) fma_kernel(int64_t rounds, float* sink) {
  float sums[kChains];
  const float factor = 0.5f + static_cast<float>(threadIdx.x) * 1e-6f;
  for (int c = 0; c < kChains; ++c) sums[c] = static_cast<float>(c);
  for (int64_t round = 0; round < rounds; ++round)
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
#pragma unroll
      for (int c = 0; c < kChains; ++c) sums[c] = std::fma(sums[c], factor, 1.0f);
  float sum = 0;
  for (int c = 0; c < kChains; ++c) sum += sums[c];
  if (sum == kNever) *sink = sum;
}

template <bool bf16>
__global__ void __launch_bounds__(kThreads) mma_kernel(int64_t rounds, float* sink) {
  float sums[kChains][4] = {};
  uint32_t a[4], b[2];  // zeros and ones of either type
  for (int i = 0; i < 4; ++i) a[i] = bf16 ? 0x3F803F80u : 0x3F800000u;
  for (int i = 0; i < 2; ++i) b[i] = threadIdx.x % 32 == 0 ? a[0] : 0u;
  for (int64_t round = 0; round < rounds; ++round)
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
#pragma unroll
      for (int c = 0; c < kChains; ++c) {
        if constexpr (bf16)
          mma_m16n8k16_bf16(sums[c], a, b);
        else
          mma_m16n8k8_tf32(sums[c], a, b);
      }
  float sum = 0;
  for (int c = 0; c < kChains; ++c)
    for (int i = 0; i < 4; ++i) sum += sums[c][i];
  if (sum == kNever) *sink = sum;
}

}  // namespace

template <Backend backend>
void run_peak(Stream stream, PeakArithmetic arithmetic, int64_t blocks, int64_t rounds,
              float* sink) {
  const Launch where{"peak", Dim3(static_cast<unsigned>(blocks)), Dim3(kThreads), 0, stream};
  if (arithmetic == PeakArithmetic::f32)
    launch(where, fma_kernel, rounds, sink);
  else if (arithmetic == PeakArithmetic::tf32)
    launch(where, mma_kernel<false>, rounds, sink);
  else
    launch(where, mma_kernel<true>, rounds, sink);
}
template void run_peak<kBackend>(Stream, PeakArithmetic, int64_t, int64_t, float*);

}  // namespace frcnn::kernels::gpu
