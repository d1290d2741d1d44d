#include "model/non_finite.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/dispatch.h"

namespace frcnn {
namespace {

/// "backbone.conv1_1" of "backbone.conv1_1.weight".
std::string layer_of(const std::string& parameter) {
  return parameter.substr(0, parameter.rfind('.'));
}

/// Images of a map (N, C, H, W) in which something is not finite; all where x is no map.
std::vector<size_t> images_of(const Tensor& x) {
  std::vector<size_t> images;
  if (x.rank() != 4) return images;
  const Tensor plain = x.to_block(1);
  for (int64_t n = 0; n < plain.dim(0); ++n)
    if (count_non_finite(plain.rows(n, 1))) images.push_back(static_cast<size_t>(n));
  return images;
}

}  // namespace

std::string NonFinite::string() const {
  std::string text = phase + ": ";
  if (!op.empty()) text += op + (layer.empty() ? "" : " ");
  if (!layer.empty()) text += layer.starts_with("after ") ? layer : "of " + layer;
  return text + fmt::format(", {}: {} of {} values are not finite ({} NaN, {} infinite; {})",
                            tensor, nan + infinite, elements, nan, infinite,
                            nan + infinite == elements
                                ? std::string("no other")
                                : fmt::format("the others from {:.6g} to {:.6g}", min, max));
}

std::optional<NonFinite> count_non_finite(const Tensor& tensor) {
  NonFinite found;
  if (tensor.dtype() != DType::f32 && tensor.dtype() != DType::f64) return std::nullopt;
  double low = std::numeric_limits<double>::infinity(), high = -low;
  with_float(tensor.dtype(), "non_finite", [&](auto t) {
    using T = decltype(t);
    for (const T value : tensor.span<T>()) {
      const auto x = static_cast<double>(value);
      if (std::isnan(x)) {
        ++found.nan;
      } else if (std::isinf(x)) {
        ++found.infinite;
      } else {
        low = std::min(low, x);
        high = std::max(high, x);
      }
    }
  });
  if (found.nan + found.infinite == 0) return std::nullopt;
  found.elements = tensor.stored_elements();
  if (low <= high) found.min = low, found.max = high;
  return found;
}

NonFiniteSearch::NonFiniteSearch(const FasterRcnn& model) : model_(model) {
  for (const Parameter& p : model.parameters().all()) {
    layers_.emplace(p.tensor.id(), layer_of(p.name));
    parameters_.insert(p.tensor.id());
  }
}

std::optional<NonFinite> NonFiniteSearch::check_weights(const std::string& phase) const {
  for (const Parameter& p : model_.parameters().all())
    if (auto found = count_non_finite(p.tensor)) {
      found->phase = phase;
      found->layer = p.name;
      found->tensor = p.kind == ParameterKind::buffer ? "buffer" : "weights";
      return found;
    }
  return std::nullopt;
}

std::optional<NonFinite> NonFiniteSearch::check_input(const ModelInput& input,
                                                      const std::vector<GroundTruth>& truth) const {
  if (auto found = count_non_finite(input.images)) {
    found->phase = "input";
    found->op = "batch";
    found->tensor = "pixels";
    found->images = images_of(input.images);
    return found;
  }
  for (size_t n = 0; n < truth.size(); ++n) {
    std::vector<float> numbers;
    for (const Box& b : truth[n].boxes) numbers.insert(numbers.end(), {b.x1, b.y1, b.x2, b.y2});
    const auto count = static_cast<int64_t>(numbers.size());
    if (auto found = count_non_finite(Tensor::from({count}, numbers))) {
      found->phase = "input";
      found->op = "batch";
      found->tensor = "boxes of objects";
      found->images = {n};
      return found;
    }
  }
  return std::nullopt;
}

std::optional<NonFinite> NonFiniteSearch::check_gradients() const {
  for (const Parameter& p : model_.parameters().all()) {
    if (!p.trainable() || !p.tensor.grad() || p.tensor.grad_is_reset()) continue;
    if (auto found = count_non_finite(p.tensor.grad())) {
      found->phase = "gradients";
      found->op = "sum over the passes";
      found->layer = p.name;
      found->tensor = "gradient";
      return found;
    }
  }
  return std::nullopt;
}

std::string NonFiniteSearch::label(const std::string& op, const std::vector<Tensor>& inputs,
                                   const std::vector<Tensor>& outputs) {
  // The layer of the operation's own parameter, or else the last one before it.
  std::string own, before;
  for (const Tensor& input : inputs) {
    const auto found = layers_.find(input.id());
    if (found == layers_.end()) continue;
    (parameters_.contains(input.id()) ? own : before) = found->second;
  }
  const std::string layer = own.empty() ? before : own;
  for (const Tensor& output : outputs) layers_[output.id()] = layer;
  if (layer.empty()) return op;
  return op + "\n" + (own.empty() ? "after " : "") + layer;
}

void NonFiniteSearch::attach(Tape& tape) {
  const auto raise = [](const std::string& phase, const std::string& label,
                        const std::string& tensor, const Tensor& value) {
    auto found = count_non_finite(value);
    if (!found) return;
    found->phase = phase;
    const size_t cut = label.find('\n');
    found->op = label.substr(0, cut);
    if (cut != std::string::npos) found->layer = label.substr(cut + 1);
    found->tensor = tensor;
    found->images = images_of(value);
    throw Found{*found};
  };
  tape.set_watcher([this, raise](const std::string& op, const std::vector<Tensor>& inputs,
                                 const std::vector<Tensor>& outputs) {
    std::string name = label(op, inputs, outputs);
    for (size_t i = 0; i < outputs.size(); ++i)
      raise("forward", name, i == 0 ? "output" : fmt::format("output {}", i), outputs[i]);
    return name;
  });
  tape.set_observer([raise](const std::string& op, const std::string& tensor, const Tensor& value) {
    raise("backward", op, "gradient of " + tensor, value);
  });
}

}  // namespace frcnn
