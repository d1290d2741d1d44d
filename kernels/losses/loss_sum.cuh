#pragma once

#include "kernels/launch/finite_flag.cuh"
#include "kernels/launch/grid_sum.cuh"
#include "kernels/losses/loss_scale.h"

/// The sum of a loss over a grid of one-dimensional blocks.
namespace frcnn::kernels::gpu {

constexpr int kLossThreads = 256;
static_assert(sizeof(GridWork) <= kLossWorkspace);

__device__ inline double value_of(const LossScale& scale) {
  return scale.device == nullptr ? scale.value : scale.value * *scale.device;
}

/// *loss = scale times the sum of all threads' numbers.
__device__ inline void store_loss(double sum, GridWork* work, const LossScale& scale,
                                  double* loss) {
  grid_sum<kLossThreads>(sum, work, [&](double total) { *loss = value_of(scale) * total; });
}

}  // namespace frcnn::kernels::gpu
