#include "model/rpn.h"

#include "engine/ops/elementwise.h"
#include "model/initializers.h"

namespace frcnn {

Rpn::Rpn(const RpnConfig& config, int64_t in_channels, int64_t window_channels,
         int64_t anchors_per_cell, Parameters& parameters)
    : softmax_(config.objectness == "softmax"),
      window_(config.window),
      // Padding n/2 keeps the map's size: one output cell per position of the window.
      conv_(parameters, "rpn.conv", in_channels, window_channels, config.window,
            Conv2dOptions::square(1, config.window / 2, true), make_initializer(config.init)),
      cls_(parameters, "rpn.cls", window_channels, anchors_per_cell * (softmax_ ? 2 : 1), 1, {},
           make_initializer(config.init)),
      box_(parameters, "rpn.box", window_channels, anchors_per_cell * 4, 1, {},
           make_initializer(config.init)) {}

RpnOutput Rpn::heads(const Tensor& hidden) const {
  return {map_to_rows(cls_.forward(hidden), softmax_ ? 2 : 1), map_to_rows(box_.forward(hidden), 4),
          hidden.dim(2), hidden.dim(3)};
}

RpnOutput Rpn::forward(const Tensor& map) const {
  return heads(conv_.forward(map));
}

RpnOutput Rpn::forward_tiles(const Tensor& map, const Tensor& cells, const Tensor& places) const {
  RpnOutput output = heads(conv_.forward_unpadded(gather_tiles(map, window_, cells, places)));
  output.map_h = map.dim(2);
  output.map_w = map.dim(3);
  return output;
}

}  // namespace frcnn
