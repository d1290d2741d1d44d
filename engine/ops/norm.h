#pragma once

#include <vector>

#include "engine/tensor.h"
#include "kernels/norm/batch_norm.h"
#include "kernels/norm/lrn.h"

namespace frcnn {

/// Parameters and running statistics of one batch normalisation, all (C).
struct BatchNormTensors {
  Tensor gamma, beta, running_mean, running_var;
};

/// The same with its settings: what runs in inference.
struct NormLayer {
  BatchNormTensors tensors;
  kernels::BatchNormParams params;
};

/// Batch normalisation of x (N, C, H, W), ReLU fused when params.relu. With `training` the batch's
/// own statistics are used and the running ones updated in place; otherwise the running ones are
/// used.
Tensor batch_norm(const Tensor& x, const BatchNormTensors& tensors,
                  const kernels::BatchNormParams& params, bool training);
/// What batch_norm() does without `training`: y = factor[c] * x + summand[c], with a ReLU behind it
/// when params.relu. Of float32 tensors on the CPU.
void inference_form(const NormLayer& norm, std::vector<float>& factor, std::vector<float>& summand);
/// Local response normalisation across channels.
Tensor lrn(const Tensor& x, const kernels::LrnParams& params);

}  // namespace frcnn
