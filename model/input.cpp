#include "model/input.h"

#include <algorithm>

#include "kernels/image/image_size.h"
#include "kernels/image/resize.h"

namespace frcnn {

ModelInput make_input(const uint8_t* rgb, int width, int height, const PreprocessConfig& p) {
  const auto rounding =
      p.rounding == "floor" ? kernels::SizeRounding::floor : kernels::SizeRounding::nearest;
  const kernels::ImageSize size = kernels::scaled_image_size(
      height, width, p.shorter_side, p.longer_side, rounding, p.keep_aspect);
  const auto padded = [&](int64_t side) {
    return (side + p.pad_multiple - 1) / p.pad_multiple * p.pad_multiple;
  };
  kernels::ResizeParams resize;
  resize.in_h = height;
  resize.in_w = width;
  resize.out_h = size.height;
  resize.out_w = size.width;
  resize.padded_h = padded(size.height);
  resize.padded_w = padded(size.width);
  resize.order = p.channels == "bgr" ? kernels::ChannelOrder::bgr : kernels::ChannelOrder::rgb;
  resize.scale = p.scale;
  std::copy_n(p.mean.begin(), 3, resize.mean.begin());
  std::copy_n(p.stddev.begin(), 3, resize.std.begin());

  ModelInput input;
  input.images = Tensor::empty({1, 3, resize.padded_h, resize.padded_w});
  kernels::cpu::resize_normalize(resize, rgb, input.images.data<float>());
  input.sizes.push_back({size.height, size.width, static_cast<double>(size.height) / height,
                         static_cast<double>(size.width) / width, resize.padded_h,
                         resize.padded_w});
  return input;
}

}  // namespace frcnn
