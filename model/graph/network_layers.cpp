#include "model/graph/network_layers.h"

#include <limits>

#include "engine/ops/conv2d.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/linear.h"
#include "engine/ops/pooling.h"

namespace frcnn {
namespace {

constexpr Initializer kZero{Initializer::Method::zero, 0};
constexpr Initializer kOne{Initializer::Method::one, 0};

bool same_on_both_sides(const Padding& p) {
  return p.top == p.bottom && p.left == p.right;
}

/// Kernels know paddings that are the same on both sides; others are added to the map first.
Tensor padded(const Tensor& x, const Padding& p, double value) {
  if (p == Padding{}) return x;
  return pad2d(x, p.top, p.left, p.bottom, p.right, value);
}

/// The options of a convolution of x, which gets the padding that the kernels don't know.
Conv2dOptions conv_options(const NetworkNode& node, Tensor& x) {
  const NetworkWindow& w = node.window;
  Padding p = w.padding_for(x.dim(2), x.dim(3));
  if (!same_on_both_sides(p)) {
    x = padded(x, p, 0);
    p = {};
  }
  Conv2dOptions options;
  options.stride_h = static_cast<int>(w.stride_h);
  options.stride_w = static_cast<int>(w.stride_w);
  options.pad_h = static_cast<int>(p.top);
  options.pad_w = static_cast<int>(p.left);
  options.groups = static_cast<int>(node.groups);
  options.dilation_h = static_cast<int>(w.dilation_h);
  options.dilation_w = static_cast<int>(w.dilation_w);
  options.relu = node.relu;
  return options;
}

Tensor max_pool(const NetworkNode& node, Tensor x) {
  const NetworkWindow& w = node.window;
  Padding p = w.padding_for(x.dim(2), x.dim(3));
  if (!same_on_both_sides(p) || p.top > w.kernel_h / 2 || p.left > w.kernel_w / 2) {
    x = padded(x, p, -std::numeric_limits<double>::infinity());
    p = {};
  }
  return max_pool2d(x,
                    {w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, p.top, p.left, w.ceil_mode});
}

Tensor average_pool(const NetworkNode& node, Tensor x) {
  const NetworkWindow& w = node.window;
  Padding p = w.padding_for(x.dim(2), x.dim(3));
  if (!same_on_both_sides(p)) {  // only with count_padding, where it is zeros like any others
    x = padded(x, p, 0);
    p = {};
  }
  return avg_pool2d(x, {w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, p.top, p.left, w.ceil_mode,
                        node.count_padding});
}

/// (N, ...) of another shape, in row-major order.
Tensor reshaped(const Tensor& x, const std::vector<int64_t>& rest) {
  std::vector<int64_t> dims = {x.dim(0)};
  if (rest.size() == 1)
    dims.push_back(x.numel() / x.dim(0));
  else
    dims.insert(dims.end(), rest.begin(), rest.end());
  const Tensor plain = x.rank() == 4 ? convert_block(x, 1) : x;
  return reshape(plain, Shape(dims));
}

}  // namespace

NetworkLayers::NetworkLayers(Network network, const std::string& prefix,
                             const Initializer& initializer, Parameters& parameters)
    : network_(std::move(network)), prefix_(prefix) {
  const std::vector<NetworkValue> values = network_.check();
  const size_t before = parameters.all().size();
  for (const NetworkNode& node : network_.nodes)
    layers_.push_back(
        make_layer(node, values[static_cast<size_t>(node.inputs[0])], initializer, parameters));
  own_.assign(parameters.all().begin() + static_cast<long>(before), parameters.all().end());

  last_use_.assign(values.size(), 0);
  for (size_t i = 0; i < network_.nodes.size(); ++i)
    for (const int input : network_.nodes[i].inputs) last_use_[static_cast<size_t>(input)] = i;
  last_use_[static_cast<size_t>(network_.output)] = network_.nodes.size();

  std::vector<int> readers(values.size(), 0);
  ++readers[static_cast<size_t>(network_.output)];
  for (const NetworkNode& node : network_.nodes)
    for (const int input : node.inputs) ++readers[static_cast<size_t>(input)];
  for (size_t i = 0; i < network_.nodes.size(); ++i) {
    const NetworkNode& node = network_.nodes[i];
    if (node.op != NetworkOp::batch_norm || node.inputs[0] == 0) continue;
    const auto made = static_cast<size_t>(node.inputs[0]);
    const NetworkNode& maker = network_.nodes[made - 1];
    if (maker.op != NetworkOp::conv || maker.relu || readers[made] != 1) continue;
    layers_[made - 1].norm_behind = i;
    layers_[made - 1].folded = std::make_shared<FoldedNorm>();
  }
}

NetworkLayers::Layer NetworkLayers::make_layer(const NetworkNode& node, const NetworkValue& input,
                                               const Initializer& initializer,
                                               Parameters& parameters) {
  const std::string name = prefix_ + node.name;
  Layer layer;
  switch (node.op) {
    case NetworkOp::conv:
      layer.weight = parameters.create(
          name + ".weight",
          {node.channels, input.channels / node.groups, node.window.kernel_h, node.window.kernel_w},
          ParameterKind::weight, initializer);
      break;
    case NetworkOp::linear:
      layer.weight = parameters.create(name + ".weight", {node.channels, node.features},
                                       ParameterKind::weight, initializer);
      break;
    case NetworkOp::batch_norm: {
      const Shape shape = {input.channels};
      const auto make = [&](const char* part, ParameterKind kind, const Initializer& filler) {
        return parameters.create(name + part, shape, kind, filler);
      };
      layer.norm.params = {node.epsilon, node.momentum, node.relu};
      layer.norm.tensors = {make(".weight", ParameterKind::norm_scale, kOne),
                            make(".bias", ParameterKind::norm_scale, kZero),
                            make(".running_mean", ParameterKind::buffer, kZero),
                            make(".running_var", ParameterKind::buffer, kOne)};
      break;
    }
    case NetworkOp::scale:
    case NetworkOp::add_constant:
      if (node.per_channel) {
        layer.constant =
            parameters.create(name + ".constant", {input.channels}, ParameterKind::buffer, kZero);
      } else {
        layer.constant = Tensor::empty({1}, parameters.dtype(), parameters.device());
        layer.constant.fill(node.low);
      }
      break;
    default:
      break;
  }
  if (!layer.weight) return layer;
  layer.reduced = parameters.reduced_layer(name + ".weight");
  if (node.bias)
    layer.bias = parameters.create(name + ".bias", {node.channels}, ParameterKind::bias, kZero);
  return layer;
}

void NetworkLayers::load(const TensorMap& values) {
  for (Parameter& p : own_) {
    const auto found = values.find(p.name.substr(prefix_.size()));
    check(found != values.end(), "{}: no values for {}", network_.source, p.name);
    check(found->second.numel() == p.tensor.numel(), "{}: {} has shape {}, expected {}",
          network_.source, p.name, found->second.shape().string(), p.tensor.shape().string());
    p.tensor.copy_from(found->second.view(p.tensor.shape()).to(p.tensor.dtype()));
    p.tensor.bump_version();
  }
}

void NetworkLayers::freeze_until(const std::string& name, const std::string& key) {
  const int last = network_.find(name);
  if (last < 0) {
    std::string layers;
    for (const NetworkNode& node : network_.nodes)
      if (node.op == NetworkOp::conv || node.op == NetworkOp::linear)
        layers += (layers.empty() ? "" : ", ") + node.name;
    fail("{}: {} has no node \"{}\" before the cut; \"\" trains all of it; its layers are {}", key,
         network_.source, name, layers);
  }
  const std::vector<bool> needed = network_.ancestors(last);
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (!needed[i]) continue;
    Layer& layer = layers_[i];
    layer.frozen = true;
    for (Tensor* tensor :
         {&layer.weight, &layer.bias, &layer.norm.tensors.gamma, &layer.norm.tensors.beta})
      if (*tensor) tensor->set_requires_grad(false);
  }
}

Tensor NetworkLayers::forward(const Tensor& images, bool batch_statistics) const {
  check(images.rank() == 4 && images.dim(1) == network_.in_channels,
        "[network] {} takes pictures of {} channels, got {}", network_.source, network_.in_channels,
        images.shape().string());
  network_.sizes(images.dim(2), images.dim(3));  // pictures that are too small
  std::vector<Tensor> values(network_.nodes.size() + 1);
  values[0] = images;
  std::vector<bool> folded(network_.nodes.size());
  for (size_t i = 0; i < network_.nodes.size(); ++i) {
    const NetworkNode& node = network_.nodes[i];
    if (folded[i]) {  // the convolution before has done it
      values[i + 1] = values[static_cast<size_t>(node.inputs[0])];
    } else if (folds(i, values, batch_statistics)) {
      values[i + 1] = run_folded(i, values);
      folded[layers_[i].norm_behind] = true;
    } else {
      values[i + 1] = run(node, layers_[i], values, batch_statistics);
    }
    for (const int input : node.inputs)  // the tape keeps what it needs
      if (last_use_[static_cast<size_t>(input)] == i) values[static_cast<size_t>(input)] = {};
  }
  return values[static_cast<size_t>(network_.output)];
}

bool NetworkLayers::folds(size_t i, const std::vector<Tensor>& values,
                          bool batch_statistics) const {
  const Layer& layer = layers_[i];
  if (!layer.folded) return false;
  const Layer& norm = layers_[layer.norm_behind];
  if (batch_statistics && !norm.frozen) return false;
  return layer.reduced->active() ||
         FoldedNorm::serves(values[static_cast<size_t>(network_.nodes[i].inputs[0])], layer.weight,
                            layer.bias, norm.norm);
}

Tensor NetworkLayers::run_folded(size_t i, const std::vector<Tensor>& values) const {
  const Layer& layer = layers_[i];
  Tensor x = values[static_cast<size_t>(network_.nodes[i].inputs[0])];
  const Conv2dOptions options = conv_options(network_.nodes[i], x);
  layer.reduced->see(x);
  const NormLayer& norm = layers_[layer.norm_behind].norm;
  if (layer.reduced->active())
    return layer.reduced->conv2d(x, layer.weight, layer.bias, options, &norm);
  return layer.folded->forward(x, layer.weight, layer.bias, options, norm);
}

Tensor NetworkLayers::run(const NetworkNode& node, const Layer& layer,
                          const std::vector<Tensor>& values, bool batch_statistics) const {
  const auto input = [&](size_t i) { return values[static_cast<size_t>(node.inputs[i])]; };
  const Tensor x = input(0);
  switch (node.op) {
    case NetworkOp::conv: {
      Tensor padded_x = x;
      const Conv2dOptions options = conv_options(node, padded_x);
      layer.reduced->see(padded_x);
      if (layer.reduced->active())
        return layer.reduced->conv2d(padded_x, layer.weight, layer.bias, options);
      if (layer.folded) layer.folded->clear();
      return conv2d(padded_x, layer.weight, layer.bias, options, layer.packed.get());
    }
    case NetworkOp::batch_norm:
      return batch_norm(x, layer.norm.tensors, layer.norm.params,
                        batch_statistics && !layer.frozen);
    case NetworkOp::relu:
      return relu(x);
    case NetworkOp::leaky_relu:
      return leaky_relu(x, node.low);
    case NetworkOp::clip:
      return clip(x, node.low, node.high);
    case NetworkOp::sigmoid:
      return sigmoid(x);
    case NetworkOp::max_pool:
      return max_pool(node, x);
    case NetworkOp::average_pool:
      return average_pool(node, x);
    case NetworkOp::global_average:
      return global_avg_pool2d(x);
    case NetworkOp::add:
      return add(x, input(1));
    case NetworkOp::subtract:
      return sub(x, input(1));
    case NetworkOp::multiply:
      return mul(x, input(1));
    case NetworkOp::add_constant:
      return add(x, layer.constant);
    case NetworkOp::scale:
      return mul(x, layer.constant);
    case NetworkOp::concatenate: {
      std::vector<Tensor> maps;
      for (size_t i = 0; i < node.inputs.size(); ++i) maps.push_back(input(i));
      return concat_channels(maps);
    }
    case NetworkOp::pad:
      return padded(x, node.window.padding, node.low);
    case NetworkOp::local_response:
      return lrn(x, node.lrn);
    case NetworkOp::linear:
      layer.reduced->see(x);
      if (layer.reduced->active())
        return layer.reduced->linear(x, layer.weight, layer.bias, node.relu);
      return linear(x, layer.weight, layer.bias, node.relu, layer.packed.get());
    case NetworkOp::flatten:
      return reshaped(x, {-1});
    case NetworkOp::reshape:
      return reshaped(x, node.shape);
  }
  fail("[network] node '{}' has an operation that does not exist", node.name);
}

}  // namespace frcnn
