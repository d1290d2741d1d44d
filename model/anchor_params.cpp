// What the anchors' settings mean (declared beside the network that uses them).
#include <cmath>

#include "model/faster_rcnn.h"

namespace frcnn {

kernels::AnchorParams anchor_params(const AnchorConfig& config, const AnchorFrame& frame) {
  kernels::AnchorParams params;
  params.sizes = config.sizes;
  params.ratios = config.ratios;
  if (config.rounding == "torchvision")
    params.rounding = kernels::AnchorRounding::torchvision;
  else if (config.rounding == "none")
    params.rounding = kernels::AnchorRounding::none;
  else
    check(config.rounding == "paper",
          "anchors.rounding: expected \"paper\", \"torchvision\" or \"none\", got \"{}\"",
          config.rounding);
  check(config.centre == "cell" || config.centre == "corner",
        "anchors.centre: expected \"cell\" or \"corner\", got \"{}\"", config.centre);
  params.centre =
      config.centre == "cell" ? kernels::AnchorCentre::cell : kernels::AnchorCentre::corner;
  check(config.combine == "all" || config.combine == "first",
        "anchors.combine: expected \"all\" or \"first\", got \"{}\"", config.combine);
  params.combine =
      config.combine == "all" ? kernels::AnchorCombine::all : kernels::AnchorCombine::first;
  double unit = 1;
  if (config.unit == "image")
    unit = frame.input_h;
  else if (config.unit == "stride")
    unit = params.base = std::sqrt(frame.stride_y * frame.stride_x);
  else
    check(config.unit == "pixels",
          "anchors.unit: expected \"pixels\", \"image\" or \"stride\", got \"{}\"", config.unit);
  for (double& size : params.sizes) size *= unit;
  return params;
}

}  // namespace frcnn
