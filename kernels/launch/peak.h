#pragma once

#include <cstdint>

#include "kernels/launch/gpu.h"

/// Kernels that do nothing but arithmetic in registers: what they reach is the ceiling that
/// benchmarks compare with.
namespace frcnn::kernels::gpu {

enum class PeakArithmetic : uint8_t {
  f32,   ///< fused multiply-adds of CUDA cores
  tf32,  ///< mma.sync m16n8k8
  bf16,  ///< mma.sync m16n8k16; wgmma of newer architectures can do more
};

/// Floating-point operations of one launch; a multiply-add counts as two.
constexpr double peak_flops(PeakArithmetic arithmetic, int64_t blocks, int64_t rounds) {
  // Per block and round 16 steps of 8 chains: a multiply-add per thread, or a product per warp.
  const double chains = 16.0 * 8.0 * static_cast<double>(blocks) * static_cast<double>(rounds);
  if (arithmetic == PeakArithmetic::f32) return chains * 256 * 2;
  constexpr double warps = 8;
  return chains * warps * 2 * 16 * 8 * (arithmetic == PeakArithmetic::tf32 ? 8 : 16);
}

/// `blocks` blocks of 256 threads, each `rounds` rounds of independent chains. `sink` (device
/// memory, one float) is written only when a sum is one that cannot be, so that nothing is
/// optimised away. tf32 and bf16 need compute capability 8.0.
template <Backend backend>
void run_peak(Stream stream, PeakArithmetic arithmetic, int64_t blocks, int64_t rounds,
              float* sink);

}  // namespace frcnn::kernels::gpu
