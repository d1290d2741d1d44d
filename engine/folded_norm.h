#pragma once

#include <mutex>
#include <vector>

#include "engine/ops/conv2d.h"
#include "engine/ops/norm.h"

namespace frcnn {

/// Float32 weights (O, ...) with row o times factors[o] (as they are without factors), in numbers T
/// of `dtype`: float or kernels::Bfloat16.
template <typename T>
Tensor scaled_rows(const Tensor& weight, const std::vector<float>& factors, DType dtype);

/// A convolution and the batch norm behind it as one convolution, for inference. With the norm's
/// inference form y = f x + s (inference_form()) it has the weights f W and the bias f b + s; they
/// are made at the first pass and again when the layer's values have changed. Results differ from
/// those of the two layers by rounding. Thread-safe.
class FoldedNorm {
 public:
  /// Whether a pass over x can be folded: float32 on the CPU, running statistics, and nothing that
  /// the tape would record.
  static bool serves(const Tensor& x, const Tensor& weight, const Tensor& bias,
                     const NormLayer& norm);

  /// Both layers; shapes and errors as conv2d(). `options.relu` must be false: the norm's counts.
  Tensor forward(const Tensor& x, const Tensor& weight, const Tensor& bias, Conv2dOptions options,
                 const NormLayer& norm);
  /// Frees the folded weights: for a pass that is recorded, which has no use for what a validation
  /// has left.
  void clear();

 private:
  std::mutex mutex_;
  uint64_t weight_id_ = 0, weight_version_ = 0;
  std::vector<float> factors_, offsets_;  // f and f b + s
  Tensor weight_, bias_;
  PackedWeights packed_;
};

}  // namespace frcnn
