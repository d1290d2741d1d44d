#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/types.h"
#include "tests/support/support.h"

// Detectors small enough to be trained, or differentiated numerically, within a test.
namespace frcnn::test {

/// Small enough for float64 reference loops: stride 4, 6 anchors per cell, no batch norm.
inline ModelConfig small_config() {
  ModelConfig config;
  config.backbone.name = "tiny";
  config.backbone.frozen_until = "";
  config.backbone.tiny_channels = {4, 6};
  config.backbone.tiny_strides = {2, 2};
  config.backbone.batch_norm = false;
  config.anchors.sizes = {8, 16};
  config.anchors.rounding = "none";
  config.rpn.channels = 5;
  config.rpn.init = {"gauss", 0.1};
  config.rpn.batch = 32;
  config.rpn.only_inside = false;
  config.rpn.train = {200, 30, 0.7, 2};
  config.rpn.test = {100, 20, 0.7, 2};
  config.roi.pooled_height = config.roi.pooled_width = 2;
  config.roi.hidden = {7};
  config.roi.dropout = 0.3;
  config.roi.batch = 16;
  config.roi.init = {"gauss", 0.2};
  config.roi.box_init = {"gauss", 0.1};
  return config;
}

/// A batch of `images` pictures of noise of one size.
inline ModelInput noise(int64_t images, int64_t h, int64_t w, uint64_t seed) {
  ModelInput input;
  input.images =
      Tensor::from({images, 3, h, w},
                   random_vector<float>(static_cast<size_t>(images * 3 * h * w), -1, 1, seed));
  for (int64_t n = 0; n < images; ++n) input.sizes.push_back({h, w, 1, 1});
  return input;
}

/// Objects of one picture of at least 26 x 30 pixels, classes 0 and 2.
inline std::vector<GroundTruth> two_objects() {
  return {{{{4, 4, 18, 20}, {14, 10, 30, 26}}, {0, 2}}};
}

/// Settings of a detector that trains for some steps on pictures of 64 pixels; stride 8 with the
/// backbone as it stands here.
inline constexpr const char* kSmallToml = R"(
[preprocess]
shorter_side = 64
[backbone]
name = "tiny"
frozen_until = ""
tiny_channels = [8, 8, 12]
tiny_strides = [2, 2, 2]
[anchors]
sizes = [16.0, 32.0]
ratios = [0.5, 1.0]
rounding = "none"
[rpn]
channels = 12
batch = 32
train = { pre_nms = 100, post_nms = 20, nms_iou = 0.7, min_size = 2.0 }
test = { pre_nms = 100, post_nms = 10, nms_iou = 0.7, min_size = 2.0 }
[roi]
layer = "roi_align"
pooled_height = 3
pooled_width = 3
hidden = [16]
dropout = 0.0
batch = 8
[optimizer]
lr = 0.01
lr_steps = [0.5]
[train]
iter_size = 1
)";

}  // namespace frcnn::test
