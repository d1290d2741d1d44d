#include "model/backbone.h"

#include <algorithm>

#include "model/graph/resnet.h"
#include "model/initializers.h"

namespace frcnn {
namespace {

LayerSpec conv(std::string name, int64_t channels, int kernel = 3, int stride = 1,
               int padding = 1) {
  return {LayerSpec::Type::conv, std::move(name), channels, kernel, stride, padding, false, {}};
}
LayerSpec pool(std::string name, int kernel, int stride, int padding = 0) {
  return {LayerSpec::Type::max_pool, std::move(name), 0, kernel, stride, padding, false, {}};
}
LayerSpec lrn_layer(std::string name, int64_t size, double alpha) {
  return {LayerSpec::Type::lrn, std::move(name), 0, 1, 1, 0, false, {size, alpha, 0.75, 1.0}};
}

BackboneSpec imported_spec(const BackboneConfig& config) {
  auto imported = std::make_shared<ImportedNetwork>();
  if (config.network) {
    imported->network = *config.network;
  } else {
    check(!config.onnx.empty(), "backbone.name = \"onnx\" needs backbone.onnx, the file");
    *imported = import_onnx(read_onnx(config.onnx), config.cut);
  }
  const Network& network = imported->network;
  const NetworkValue map = network.check()[static_cast<size_t>(network.output)];
  check(network.in_channels == 3, "{}: takes pictures of {} channels, a detector's have 3",
        network.source, network.in_channels);
  check(
      map.map && map.stride_y > 0 && map.stride_x > 0,
      "{}: '{}' is no map (N, C, H, W) that follows the picture's size; cut the network before it",
      network.source, network.cut);
  BackboneSpec spec;
  spec.name = "onnx";
  spec.rpn_channels = map.channels >= 512 ? 512 : 256;  // as for VGG16 and ZF
  spec.map = map;
  spec.imported = std::move(imported);
  return spec;
}

/// A network of nodes that is known without a file.
BackboneSpec network_spec(const std::string& name, Network network) {
  BackboneSpec spec;
  spec.name = name;
  spec.map = network.check()[static_cast<size_t>(network.output)];
  spec.rpn_channels = spec.map.channels >= 512 ? 512 : 256;
  spec.imported =
      std::make_shared<ImportedNetwork>(ImportedNetwork{std::move(network), TensorMap{}});
  return spec;
}

}  // namespace

BackboneSpec vgg16_spec() {
  return {"vgg16",
          {conv("conv1_1", 64), conv("conv1_2", 64), pool("pool1", 2, 2), conv("conv2_1", 128),
           conv("conv2_2", 128), pool("pool2", 2, 2), conv("conv3_1", 256), conv("conv3_2", 256),
           conv("conv3_3", 256), pool("pool3", 2, 2), conv("conv4_1", 512), conv("conv4_2", 512),
           conv("conv4_3", 512), pool("pool4", 2, 2), conv("conv5_1", 512), conv("conv5_2", 512),
           conv("conv5_3", 512)},
          512};
}

BackboneSpec zf_spec() {
  return {"zf",
          {conv("conv1", 96, 7, 2, 3), lrn_layer("norm1", 3, 5e-5), pool("pool1", 3, 2, 1),
           conv("conv2", 256, 5, 2, 2), lrn_layer("norm2", 3, 5e-5), pool("pool2", 3, 2, 1),
           conv("conv3", 384), conv("conv4", 384), conv("conv5", 256)},
          256};
}

BackboneSpec alexnet_spec() {
  return {"alexnet",
          {conv("conv1", 64, 11, 4, 2), pool("pool1", 3, 2), conv("conv2", 192, 5, 1, 2),
           pool("pool2", 3, 2), conv("conv3", 384), conv("conv4", 256), conv("conv5", 256),
           pool("pool5", 3, 2)},
          256};
}

BackboneSpec tiny_spec(const BackboneConfig& config) {
  check(
      !config.tiny_channels.empty() && config.tiny_channels.size() == config.tiny_strides.size(),
      "backbone.tiny_channels and backbone.tiny_strides must have the same number of entries, got "
      "{} and {}",
      config.tiny_channels.size(), config.tiny_strides.size());
  BackboneSpec spec{"tiny", {}, 128};
  for (size_t i = 0; i < config.tiny_channels.size(); ++i) {
    spec.layers.push_back(
        conv(fmt::format("conv{}", i + 1), config.tiny_channels[i], 3, config.tiny_strides[i]));
    spec.layers.back().batch_norm = config.batch_norm;
  }
  return spec;
}

BackboneSpec backbone_spec(const BackboneConfig& config) {
  BackboneSpec spec;
  if (config.name == "vgg16")
    spec = vgg16_spec();
  else if (config.name == "zf")
    spec = zf_spec();
  else if (config.name == "alexnet")
    spec = alexnet_spec();
  else if (config.name == "resnet18_v2")
    return network_spec(config.name, resnet18_v2_network());
  else if (config.name == "tiny")
    spec = tiny_spec(config);
  else if (config.name == "onnx")
    return imported_spec(config);
  else
    fail(
        "backbone.name: expected \"vgg16\", \"zf\", \"alexnet\", \"resnet18_v2\", \"tiny\" or "
        "\"onnx\", got \"{}\"",
        config.name);
  spec.ceil_mode = config.ceil_mode;
  return spec;
}

std::array<int64_t, 2> BackboneSpec::strides() const {
  if (imported) return {map.stride_y, map.stride_x};
  int64_t product = 1;
  for (const LayerSpec& layer : layers) product *= layer.stride;
  return {product, product};
}

int64_t BackboneSpec::out_channels() const {
  if (imported) return map.channels;
  int64_t channels = 3;
  for (const LayerSpec& layer : layers)
    if (layer.type == LayerSpec::Type::conv) channels = layer.channels;
  return channels;
}

int64_t BackboneSpec::receptive_field(int window) const {
  if (imported)
    return std::max(map.field_y + (window - 1) * map.stride_y,
                    map.field_x + (window - 1) * map.stride_x);
  int64_t field = window;
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer)
    field = (field - 1) * layer->stride + layer->kernel;
  return field;
}

std::array<int64_t, 2> BackboneSpec::map_size(int64_t height, int64_t width) const {
  if (imported) {
    const Network& network = imported->network;
    return network.sizes(height, width)[static_cast<size_t>(network.output)];
  }
  std::array<int64_t, 2> sizes = {height, width};
  for (const LayerSpec& layer : layers) {
    const bool up = layer.type == LayerSpec::Type::max_pool && ceil_mode;
    for (int64_t& size : sizes) {
      const int64_t span = size + 2 * layer.padding - layer.kernel;
      size = (span + (up ? layer.stride - 1 : 0)) / layer.stride + 1;
      if (up && (size - 1) * layer.stride >= span + layer.kernel - layer.padding) --size;
    }
  }
  return sizes;
}

Backbone::Backbone(const BackboneSpec& spec, const BackboneConfig& config, Parameters& parameters)
    : spec_(spec), batch_statistics_(config.batch_norm_mode == "train") {
  if (spec.imported)
    make_network(config, parameters);
  else
    make_layers(config, parameters);
}

void Backbone::make_network(const BackboneConfig& config, Parameters& parameters) {
  network_.emplace(spec_.imported->network, "backbone.", make_initializer(config.init), parameters);
  if (!spec_.imported->values.empty()) {
    network_->load(spec_.imported->values);
    spec_.imported = std::make_shared<ImportedNetwork>(  // the values are in the parameters now
        ImportedNetwork{spec_.imported->network, {}});
  }
  if (spec_.name == "resnet18_v2")
    parameters.set_trainable(fmt::format("backbone.{}.", kResnetInputNorm), false);
  if (config.frozen_until.empty()) return;
  const Network& network = network_->network();
  const bool all = config.frozen_until == "*" && network.output > 0;
  network_->freeze_until(
      all ? network.nodes[static_cast<size_t>(network.output) - 1].name : config.frozen_until,
      "backbone.frozen_until");
}

void Backbone::make_layers(const BackboneConfig& config, Parameters& parameters) {
  const BackboneSpec& spec = spec_;
  int64_t channels = 3;
  for (const LayerSpec& layer : spec.layers) {
    const std::string name = "backbone." + layer.name;
    switch (layer.type) {
      case LayerSpec::Type::conv: {
        const auto options = Conv2dOptions::square(layer.stride, layer.padding, !layer.batch_norm);
        ConvLayer made{Conv2d(parameters, name, channels, layer.channels, layer.kernel, options,
                              make_initializer(config.init), !layer.batch_norm),
                       {}};
        if (layer.batch_norm)
          made.norm.emplace_back(parameters, name + ".norm", layer.channels, /*relu=*/true);
        layers_.emplace_back(std::move(made));
        channels = layer.channels;
        break;
      }
      case LayerSpec::Type::max_pool:
        layers_.emplace_back(kernels::MaxPoolParams::square(layer.kernel, layer.stride,
                                                            layer.padding, spec.ceil_mode));
        break;
      case LayerSpec::Type::lrn:
        layers_.emplace_back(layer.lrn);
        break;
    }
  }
  if (config.frozen_until.empty()) return;
  std::string names;
  for (const LayerSpec& layer : spec.layers) {
    parameters.set_trainable("backbone." + layer.name + ".", false);
    if (layer.name == config.frozen_until) return;
    names += (names.empty() ? "" : ", ") + layer.name;
  }
  if (config.frozen_until == "*") return;
  throw UsageError(fmt::format(
      "backbone.frozen_until: {} has no layer \"{}\"; its layers are {}, and \"\" trains "
      "all of them, \"*\" none",
      spec.name, config.frozen_until, names));
}

const ReducedLayer* Backbone::reader_of(size_t i) const {
  for (++i; i < layers_.size(); ++i) {
    if (const auto* conv_layer = std::get_if<ConvLayer>(&layers_[i])) {
      const ReducedLayer& reduced = conv_layer->conv.reduced();
      return reduced.active() ? &reduced : nullptr;
    }
    if (!std::holds_alternative<kernels::MaxPoolParams>(layers_[i])) return nullptr;
  }
  return nullptr;
}

Tensor Backbone::forward(const Tensor& images, bool training) const {
  if (network_) return network_->forward(images, training && batch_statistics_);
  Tensor x = images;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    if (const auto* conv_layer = std::get_if<ConvLayer>(&layer)) {
      const BatchNorm* batch_norm = conv_layer->norm.empty() ? nullptr : &conv_layer->norm.front();
      const NormLayer* norm = batch_norm ? &batch_norm->layer() : nullptr;
      const bool batch_statistics = training && batch_statistics_;
      if (conv_layer->conv.reduced().active()) {
        x = conv_layer->conv.forward_reduced(x, norm, reader_of(i));
      } else if (norm && !batch_statistics && conv_layer->conv.folds(x, *norm)) {
        x = conv_layer->conv.forward_folded(x, *norm);
      } else {
        x = conv_layer->conv.forward(x);
        if (batch_norm) x = batch_norm->forward(x, batch_statistics);
      }
    } else if (const auto* pool_layer = std::get_if<kernels::MaxPoolParams>(&layer)) {
      x = max_pool2d(x, *pool_layer);
    } else {
      x = lrn(x, std::get<kernels::LrnParams>(layer));
    }
  }
  return x;
}

}  // namespace frcnn
