#pragma once

#include <string>

#include "engine/folded_norm.h"
#include "engine/ops/conv2d.h"
#include "engine/ops/norm.h"
#include "engine/packed_weights.h"
#include "engine/parameters.h"
#include "engine/reduced_layer.h"

namespace frcnn {

/// Convolution layer: parameters "<name>.weight" (O, C, k, k) and, with a bias, "<name>.bias" (O).
class Conv2d {
 public:
  Conv2d(Parameters& parameters, const std::string& name, int64_t in_channels, int64_t out_channels,
         int kernel, const Conv2dOptions& options, const Initializer& initializer,
         bool bias = true);
  Tensor forward(const Tensor& x) const;
  /// The same without padding: on x (N, C, k, k), the filter at one place.
  Tensor forward_unpadded(const Tensor& x) const;
  /// For active reduced(): the layer and the batch norm behind it (or nullptr), with a result that
  /// `next` reads (ReducedLayer::conv2d()).
  Tensor forward_reduced(const Tensor& x, const NormLayer* norm, const ReducedLayer* next) const;
  const ReducedLayer& reduced() const { return *reduced_; }
  /// Whether forward_folded() can take this pass over x (FoldedNorm::serves()).
  bool folds(const Tensor& x, const NormLayer& norm) const;
  /// The layer and the batch norm behind it, with its running statistics, in one pass.
  Tensor forward_folded(const Tensor& x, const NormLayer& norm) const;

 private:
  Tensor weight_, bias_;
  Conv2dOptions options_;
  std::shared_ptr<ReducedLayer> reduced_;
  std::shared_ptr<PackedWeights> packed_ = std::make_shared<PackedWeights>();
  std::shared_ptr<FoldedNorm> folded_ = std::make_shared<FoldedNorm>();
};

/// Dense layer: parameters "<name>.weight" (out, in) and "<name>.bias" (out).
class Linear {
 public:
  Linear(Parameters& parameters, const std::string& name, int64_t in, int64_t out, bool relu,
         const Initializer& initializer);
  Tensor forward(const Tensor& x) const;
  /// For active reduced(): a result that `next` reads; float32 without one.
  Tensor forward_reduced(const Tensor& x, const ReducedLayer* next) const;
  const ReducedLayer& reduced() const { return *reduced_; }

 private:
  Tensor weight_, bias_;
  bool relu_;
  std::shared_ptr<ReducedLayer> reduced_;
  std::shared_ptr<PackedWeights> packed_ = std::make_shared<PackedWeights>();
};

/// Batch normalisation with a fused ReLU: parameters "<name>.weight" and ".bias" (gamma, beta),
/// buffers "<name>.running_mean" and ".running_var".
class BatchNorm {
 public:
  BatchNorm(Parameters& parameters, const std::string& name, int64_t channels, bool relu);
  /// `training`: normalise with the batch's statistics and update the running ones.
  Tensor forward(const Tensor& x, bool training) const;
  const NormLayer& layer() const { return layer_; }

 private:
  NormLayer layer_;
};

}  // namespace frcnn
