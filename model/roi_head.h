#pragma once

#include <vector>

#include "engine/layers.h"
#include "engine/ops/elementwise.h"
#include "model/config.h"

namespace frcnn {

/// Raw outputs of the detection head for R regions.
struct RoiOutput {
  Tensor logits;  ///< (R, K + 1): background, then the classes
  Tensor deltas;  ///< (R, 4 (K + 1)), or (R, 4) when class-agnostic; normalised by roi.box_mean,
                  ///< box_std
};

/// Detection head (Fast R-CNN): RoI layer, dense layers with ReLU and dropout, class scores and box
/// regressor. Parameters: head.fc6, head.fc7, ... (one per entry of roi.hidden), head.cls,
/// head.box.
class RoiHead {
 public:
  /// stride_y, stride_x of forward() are image pixels per map cell.
  RoiHead(const RoiConfig& config, int64_t in_channels, int64_t classes, Parameters& parameters);
  /// rois (R, 5): batch index, x1, y1, x2, y2 in pixels of the network's input. They get a gradient
  /// where they require one, but with the layer roi_pool. Dropout is active only with
  /// `dropout_key`.
  RoiOutput forward(const Tensor& map, const Tensor& rois, double stride_y, double stride_x,
                    const StepKey* dropout_key) const;

 private:
  Tensor pool(const Tensor& map, const Tensor& rois, double stride_y, double stride_x) const;
  RoiConfig config_;
  std::vector<Linear> hidden_;
  std::vector<Linear> outputs_;  // cls, box
};

}  // namespace frcnn
