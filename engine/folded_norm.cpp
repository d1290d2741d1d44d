#include "engine/folded_norm.h"

#include <algorithm>

#include "engine/memory.h"
#include "engine/tape.h"
#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"

namespace frcnn {
namespace {

/// weight (O, ...) with row o times factors[o].
Tensor scaled_rows(const Tensor& weight, const std::vector<float>& factors) {
  Tensor scaled = Tensor::empty(weight.shape());
  const float* from = weight.data<float>();
  float* to = scaled.data<float>();
  const int64_t row = weight.numel() / std::max<int64_t>(1, weight.dim(0));
  kernels::parallel_for(weight.dim(0), 1 + 16384 / (row + 1), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o)
      for (int64_t i = o * row; i < (o + 1) * row; ++i)
        to[i] = factors[static_cast<size_t>(o)] * from[i];
  });
  return scaled;
}

}  // namespace

bool FoldedNorm::serves(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const NormLayer& norm) {
  return !x.device().is_gpu() && x.dtype() == DType::f32 && weight.dtype() == DType::f32 &&
         !Tape::recording({&x, &weight, &bias, &norm.tensors.gamma, &norm.tensors.beta});
}

Tensor FoldedNorm::forward(const Tensor& x, const Tensor& weight, const Tensor& bias,
                           Conv2dOptions options, const NormLayer& norm) {
  check(!options.relu, "[folded_norm] expected a convolution without a ReLU before the batch norm");
  options.relu = norm.params.relu;
  std::vector<float> factors, offsets;
  inference_form(norm, factors, offsets);
  check(std::ssize(factors) == weight.dim(0),
        "[folded_norm] expected a norm of {} channels, got {}", weight.dim(0), factors.size());
  if (bias)
    for (size_t o = 0; o < offsets.size(); ++o) offsets[o] += factors[o] * bias.span<float>()[o];
  std::unique_lock lock(mutex_);
  if (!weight_ || weight_id_ != weight.id() || weight_version_ != weight.version() ||
      factors_ != factors || offsets_ != offsets) {
    const MemoryPurposeScope purpose(MemoryPurpose::packed);
    packed_.clear();
    weight_ = scaled_rows(weight, factors);
    bias_ = Tensor::from({std::ssize(offsets)}, offsets);
    weight_id_ = weight.id(), weight_version_ = weight.version();
    factors_ = std::move(factors), offsets_ = std::move(offsets);
  }
  const Tensor folded = weight_, offset = bias_;
  lock.unlock();
  return conv2d(x, folded, offset, options, &packed_);
}

void FoldedNorm::clear() {
  const std::lock_guard lock(mutex_);
  weight_ = bias_ = {};
  packed_.clear();
}

}  // namespace frcnn
