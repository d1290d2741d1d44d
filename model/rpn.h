#pragma once

#include "engine/layers.h"
#include "model/config.h"

namespace frcnn {

/// Raw outputs of the RPN, one row per anchor in the order (N, H, W, A).
struct RpnOutput {
  Tensor logits;  ///< (N*H*W*A, 2) background, object with softmax; (N*H*W*A, 1) with sigmoid
  Tensor deltas;  ///< (N*H*W*A, 4) tx, ty, tw, th
  int64_t map_h = 0, map_w = 0;
};

/// Region proposal network (paper, section 3.1): an n x n convolution with ReLU slides over the
/// map, followed by two sibling 1 x 1 convolutions. Parameters: rpn.conv, rpn.cls (channel a*2 +
/// class, or a), rpn.box (channel a*4 + coordinate).
class Rpn {
 public:
  Rpn(const RpnConfig& config, int64_t in_channels, int64_t window_channels,
      int64_t anchors_per_cell, Parameters& parameters);
  RpnOutput forward(const Tensor& map) const;
  /// The same on the cells of gather_tiles() alone, one row per anchor in the order (tile, A);
  /// map_h and map_w are those of `map`.
  RpnOutput forward_tiles(const Tensor& map, const Tensor& cells, const Tensor& places) const;

 private:
  RpnOutput heads(const Tensor& hidden) const;
  bool softmax_;
  int window_;
  Conv2d conv_, cls_, box_;
};

}  // namespace frcnn
