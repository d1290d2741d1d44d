#include "model/input.h"

#include <algorithm>

#include "kernels/image/image_size.h"
#include "kernels/image/resize.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace {

InputSize input_size(const PictureView& picture, const PreprocessConfig& p) {
  check(picture.rgb && picture.width > 0 && picture.height > 0,
        "[detect] expected a picture, got {} x {} pixels", picture.width, picture.height);
  const auto rounding =
      p.rounding == "floor" ? kernels::SizeRounding::floor : kernels::SizeRounding::nearest;
  const kernels::ImageSize size = kernels::scaled_image_size(
      picture.height, picture.width, p.shorter_side, p.longer_side, rounding, p.keep_aspect);
  const auto padded = [&](int64_t side) {
    return (side + p.pad_multiple - 1) / p.pad_multiple * p.pad_multiple;
  };
  return {size.height,
          size.width,
          static_cast<double>(size.height) / picture.height,
          static_cast<double>(size.width) / picture.width,
          padded(size.height),
          padded(size.width)};
}

}  // namespace

ModelInput make_input(std::span<const PictureView> pictures, const PreprocessConfig& p) {
  check(!pictures.empty(), "[detect] expected a picture, got none");
  ModelInput input;
  int64_t height = 0, width = 0;
  for (const PictureView& picture : pictures) {
    input.sizes.push_back(input_size(picture, p));
    height = std::max(height, input.sizes.back().padded_height);
    width = std::max(width, input.sizes.back().padded_width);
  }
  input.images = Tensor::empty({static_cast<int64_t>(pictures.size()), 3, height, width});
  kernels::ResizeParams resize;
  resize.padded_h = height;
  resize.padded_w = width;
  resize.order = p.channels == "bgr" ? kernels::ChannelOrder::bgr : kernels::ChannelOrder::rgb;
  resize.scale = p.scale;
  std::copy_n(p.mean.begin(), 3, resize.mean.begin());
  std::copy_n(p.stddev.begin(), 3, resize.std.begin());
  float* out = input.images.data<float>();
  for (size_t n = 0; n < pictures.size(); ++n, out += 3 * height * width) {
    resize.in_h = pictures[n].height;
    resize.in_w = pictures[n].width;
    resize.out_h = input.sizes[n].height;
    resize.out_w = input.sizes[n].width;
    kernels::cpu::resize_normalize(resize, pictures[n].rgb, out);
  }
  return input;
}

ModelInput make_input(const uint8_t* rgb, int width, int height, const PreprocessConfig& p) {
  const PictureView picture{rgb, width, height};
  return make_input(std::span(&picture, 1), p);
}

}  // namespace frcnn
