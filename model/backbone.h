#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "engine/layers.h"
#include "engine/ops/pooling.h"
#include "model/config.h"

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

/// A convolutional network up to the feature map that the RPN and the detector share.
struct BackboneSpec {
  std::string name;
  std::vector<LayerSpec> layers;
  int64_t rpn_channels = 256;  ///< the paper's width of the RPN's window layer for this network
  bool ceil_mode = false;      ///< rounding of pooled sizes

  int64_t stride() const;  ///< image pixels per map cell
  int64_t out_channels() const;
  /// Side in pixels of the image region that one cell of the map sees; with `window` > 1, that one
  /// cell of a window x window convolution on the map sees.
  int64_t receptive_field(int window = 1) const;
  /// Height or width of the map for an image of that height or width.
  int64_t map_size(int64_t image_size) const;
};

/// VGG16 (Simonyan & Zisserman, ICLR 2015, configuration D) up to conv5_3: stride 16.
BackboneSpec vgg16_spec();
/// ZF (Zeiler & Fergus, ECCV 2014, the "fast" version of SPP-net) up to conv5: stride 16.
BackboneSpec zf_spec();
/// AlexNet (Krizhevsky, "One weird trick", 2014) up to pool5: stride 32.
BackboneSpec alexnet_spec();
/// 3x3 convolutions of given widths and strides; small enough to train on a CPU in minutes.
BackboneSpec tiny_spec(const BackboneConfig& config);
/// By name; Error for a name that does not exist.
BackboneSpec backbone_spec(const BackboneConfig& config);

/// The layers of a spec with their parameters ("backbone.<layer>.weight", ...).
class Backbone {
 public:
  Backbone(const BackboneSpec& spec, const BackboneConfig& config, Parameters& parameters);

  /// images (N, 3, H, W) to the feature map (N, C, H', W'). `training` concerns batch norm only.
  Tensor forward(const Tensor& images, bool training) const;
  const BackboneSpec& spec() const { return spec_; }

 private:
  struct ConvLayer {
    Conv2d conv;
    std::vector<BatchNorm> norm;  // none or one
  };
  using Layer = std::variant<ConvLayer, kernels::MaxPoolParams, kernels::LrnParams>;
  BackboneSpec spec_;
  bool batch_statistics_;
  std::vector<Layer> layers_;
};

}  // namespace frcnn
