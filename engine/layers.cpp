#include "engine/layers.h"

#include "engine/ops/linear.h"

namespace frcnn {
namespace {

constexpr Initializer kZero{Initializer::Method::zero, 0};
constexpr Initializer kOne{Initializer::Method::one, 0};

}  // namespace

Conv2d::Conv2d(Parameters& parameters, const std::string& name, int64_t in_channels,
               int64_t out_channels, int kernel, const Conv2dOptions& options,
               const Initializer& initializer, bool bias)
    : weight_(parameters.create(name + ".weight", {out_channels, in_channels, kernel, kernel},
                                ParameterKind::weight, initializer)),
      options_(options),
      reduced_(parameters.reduced_layer(name + ".weight")) {
  if (bias) bias_ = parameters.create(name + ".bias", {out_channels}, ParameterKind::bias, kZero);
}

Tensor Conv2d::forward(const Tensor& x) const {
  reduced_->see(x);
  if (reduced_->active()) return forward_reduced(x, nullptr, nullptr);
  folded_->clear();
  return conv2d(x, weight_, bias_, options_, packed_.get());
}

Tensor Conv2d::forward_unpadded(const Tensor& x) const {
  Conv2dOptions options = options_;
  options.pad_h = options.pad_w = 0;
  return conv2d(x, weight_, bias_, options, packed_.get());
}

Tensor Conv2d::forward_reduced(const Tensor& x, const NormLayer* norm,
                               const ReducedLayer* next) const {
  return reduced_->conv2d(x, weight_, bias_, options_, norm, next);
}

Linear::Linear(Parameters& parameters, const std::string& name, int64_t in, int64_t out, bool relu,
               const Initializer& initializer)
    : weight_(parameters.create(name + ".weight", {out, in}, ParameterKind::weight, initializer)),
      bias_(parameters.create(name + ".bias", {out}, ParameterKind::bias, kZero)),
      relu_(relu),
      reduced_(parameters.reduced_layer(name + ".weight")) {}

Tensor Linear::forward_reduced(const Tensor& x, const ReducedLayer* next) const {
  return reduced_->linear(x, weight_, bias_, relu_, next);
}

Tensor Linear::forward(const Tensor& x) const {
  reduced_->see(x);
  if (reduced_->active()) return forward_reduced(x, nullptr);
  return linear(x, weight_, bias_, relu_, packed_.get());
}

BatchNorm::BatchNorm(Parameters& parameters, const std::string& name, int64_t channels, bool relu) {
  layer_.tensors.gamma =
      parameters.create(name + ".weight", {channels}, ParameterKind::norm_scale, kOne);
  layer_.tensors.beta =
      parameters.create(name + ".bias", {channels}, ParameterKind::norm_scale, kZero);
  layer_.tensors.running_mean =
      parameters.create(name + ".running_mean", {channels}, ParameterKind::buffer, kZero);
  layer_.tensors.running_var =
      parameters.create(name + ".running_var", {channels}, ParameterKind::buffer, kOne);
  layer_.params.relu = relu;
}

Tensor BatchNorm::forward(const Tensor& x, bool training) const {
  return batch_norm(x, layer_.tensors, layer_.params, training);
}

bool Conv2d::folds(const Tensor& x, const NormLayer& norm) const {
  return FoldedNorm::serves(x, weight_, bias_, norm);
}

Tensor Conv2d::forward_folded(const Tensor& x, const NormLayer& norm) const {
  reduced_->see(x);
  return folded_->forward(x, weight_, bias_, options_, norm);
}

}  // namespace frcnn
