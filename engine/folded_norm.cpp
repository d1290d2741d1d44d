#include "engine/folded_norm.h"

#include <algorithm>

#include "engine/memory.h"
#include "engine/tape.h"
#include "kernels/launch/bfloat16.h"
#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"

namespace frcnn {

template <typename T>
Tensor scaled_rows(const Tensor& weight, const std::vector<float>& factors, DType dtype) {
  Tensor scaled = Tensor::empty(weight.shape(), dtype);
  const float* from = weight.data<float>();
  T* to = scaled.data<T>();
  const int64_t row = weight.numel() / std::max<int64_t>(1, weight.dim(0));
  kernels::parallel_for(weight.dim(0), 1 + 16384 / (row + 1), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      const float factor = factors.empty() ? 1 : factors[static_cast<size_t>(o)];
      for (int64_t i = o * row; i < (o + 1) * row; ++i) to[i] = T(factor * from[i]);
    }
  });
  return scaled;
}
template Tensor scaled_rows<float>(const Tensor&, const std::vector<float>&, DType);
template Tensor scaled_rows<kernels::Bfloat16>(const Tensor&, const std::vector<float>&, DType);

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
  const float* b = bias ? bias.data<float>() : nullptr;
  for (size_t o = 0; b && o < offsets.size(); ++o) offsets[o] += factors[o] * b[o];
  std::unique_lock lock(mutex_);
  if (!weight_ || weight_id_ != weight.id() || weight_version_ != weight.version() ||
      factors_ != factors || offsets_ != offsets) {
    const MemoryPurposeScope purpose(MemoryPurpose::packed);
    packed_.clear();
    weight_ = scaled_rows<float>(weight, factors, DType::f32);
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
