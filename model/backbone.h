#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/layers.h"
#include "engine/ops/pooling.h"
#include "model/config.h"
#include "model/graph/import_onnx.h"
#include "model/graph/network_layers.h"

namespace frcnn {

/// One line of a backbone's definition.
struct LayerSpec {
  enum class Type { conv, max_pool, lrn };
  Type type = Type::conv;
  std::string name;
  int64_t channels = 0;  ///< conv: output channels
  int kernel = 3, stride = 1, padding = 1;
  bool batch_norm = false;  ///< conv: bias-free, with batch norm before the ReLU
  kernels::LrnParams lrn;
};

/// A convolutional network up to the feature map that the RPN and the detector share: one of the
/// built-in ones, which are a list of layers, or one imported from ONNX.
struct BackboneSpec {
  std::string name;
  std::vector<LayerSpec> layers;
  int64_t rpn_channels = 256;  ///< the paper's width of the RPN's window layer for this network
  bool ceil_mode = false;      ///< rounding of pooled sizes
  /// Instead of `layers`. Its values are there only where the file was read just now.
  std::shared_ptr<const ImportedNetwork> imported = nullptr;
  NetworkValue map = {};  ///< imported: what is known of its feature map

  int64_t stride() const { return strides()[0]; }  ///< image pixels per map cell, vertically
  std::array<int64_t, 2> strides() const;          ///< vertically and horizontally
  int64_t out_channels() const;
  /// Side in pixels of the image region that one cell of the map sees; with `window` > 1, that one
  /// cell of a window x window convolution on the map sees. Of several paths the one that sees
  /// most, of height and width the larger.
  int64_t receptive_field(int window = 1) const;
  /// Height and width of the map for an image of that height and width.
  std::array<int64_t, 2> map_size(int64_t height, int64_t width) const;
  /// Height of the map for a square image.
  int64_t map_size(int64_t image_size) const { return map_size(image_size, image_size)[0]; }
};

/// VGG16 (Simonyan & Zisserman, ICLR 2015, configuration D) up to conv5_3: stride 16.
BackboneSpec vgg16_spec();
/// ZF (Zeiler & Fergus, ECCV 2014, the "fast" version of SPP-net) up to conv5: stride 16.
BackboneSpec zf_spec();
/// AlexNet (Krizhevsky, "One weird trick", 2014) up to pool5: stride 32.
BackboneSpec alexnet_spec();
/// 3x3 convolutions of given widths and strides; small enough to train on a CPU in minutes.
BackboneSpec tiny_spec(const BackboneConfig& config);
/// By name; Error for a name that does not exist. For "onnx" it takes config.network or, where that
/// is not set, reads the file config.onnx and cuts it at config.cut.
BackboneSpec backbone_spec(const BackboneConfig& config);

/// The layers of a spec with their parameters ("backbone.<layer>.weight", ...). An imported network
/// begins with the values of its file.
class Backbone {
 public:
  Backbone(const BackboneSpec& spec, const BackboneConfig& config, Parameters& parameters);

  /// images (N, 3, H, W) to the feature map (N, C, H', W'). `training` concerns batch norm only.
  Tensor forward(const Tensor& images, bool training) const;
  const BackboneSpec& spec() const { return spec_; }

 private:
  void make_layers(const BackboneConfig& config, Parameters& parameters);
  void make_network(const BackboneConfig& config, Parameters& parameters);
  /// The reduced layer that reads the result of layer `i`, with only max pooling between; nullptr
  /// for none.
  const ReducedLayer* reader_of(size_t i) const;
  struct ConvLayer {
    Conv2d conv;
    std::vector<BatchNorm> norm;  // none or one
  };
  using Layer = std::variant<ConvLayer, kernels::MaxPoolParams, kernels::LrnParams>;
  BackboneSpec spec_;
  bool batch_statistics_;
  std::vector<Layer> layers_;
  std::optional<NetworkLayers> network_;  // instead of layers_
};

}  // namespace frcnn
