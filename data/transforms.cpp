#include "data/transforms.h"

#include <algorithm>

#include "kernels/image/image_size.h"
#include "kernels/image/resize.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace {

int round_up(int64_t value, int multiple) {
  const int64_t step = std::max(1, multiple);
  return static_cast<int>((value + step - 1) / step * step);
}

void resize_pixels(const Image& image, const InputSettings& settings, bool flip, Sample& sample) {
  kernels::ResizeParams params;
  params.in_h = image.height;
  params.in_w = image.width;
  params.out_h = sample.height;
  params.out_w = sample.width;
  params.flip = flip;
  params.order = settings.bgr ? kernels::ChannelOrder::bgr : kernels::ChannelOrder::rgb;
  params.scale = settings.scale;
  params.mean = settings.mean;
  params.std = settings.stddev;
  sample.pixels.resize(static_cast<size_t>(sample.height) * sample.width * 3);
  kernels::cpu::resize_normalize(params, image.rgb.data(), sample.pixels.data());
}

}  // namespace

Sample make_sample(const Image& image, const ImageRecord& record, const InputSettings& settings,
                   bool flip) {
  check(image.width > 0 && image.height > 0, "[transform] expected a picture, got one of {}x{}",
        image.width, image.height);
  Sample sample;
  sample.id = record.id;
  sample.original_height = image.height;
  sample.original_width = image.width;
  const kernels::ImageSize size = kernels::scaled_image_size(
      image.height, image.width, settings.shorter_side, settings.longer_side,
      settings.round_down ? kernels::SizeRounding::floor : kernels::SizeRounding::nearest,
      settings.keep_aspect);
  sample.height = static_cast<int>(size.height);
  sample.width = static_cast<int>(size.width);
  sample.padded_height = round_up(size.height, settings.pad_multiple);
  sample.padded_width = round_up(size.width, settings.pad_multiple);
  sample.scale_x = static_cast<double>(sample.width) / image.width;
  sample.scale_y = static_cast<double>(sample.height) / image.height;
  sample.flipped = flip;
  resize_pixels(image, settings, flip, sample);
  for (const Object& object : record.objects) {
    if (object.crowd) continue;
    sample.boxes.push_back(to_input(object.box, sample));
    sample.labels.push_back(object.label);
    sample.difficult.push_back(object.difficult ? 1 : 0);
  }
  return sample;
}

Sample make_sample(const Image& image, const InputSettings& settings) {
  return make_sample(image, ImageRecord{}, settings);
}

void copy_padded(const Sample& sample, int64_t height, int64_t width, float* out) {
  check(sample.height <= height && sample.width <= width,
        "[copy_padded] expected room for {}x{}, got {}x{}", sample.height, sample.width, height,
        width);
  const float* from = sample.pixels.data();
  for (int64_t c = 0; c < 3; ++c) {
    for (int64_t y = 0; y < height; ++y, out += width) {
      const int64_t used = y < sample.height ? sample.width : 0;
      std::copy_n(from, used, out);
      std::fill(out + used, out + width, 0.0f);
      from += used;
    }
  }
}

Box to_input(const Box& box, const Sample& sample) {
  Box seen = box;
  if (sample.flipped) {
    const auto width = static_cast<float>(sample.original_width);
    seen.x1 = width - box.x2;
    seen.x2 = width - box.x1;
  }
  return {
      static_cast<float>(seen.x1 * sample.scale_x), static_cast<float>(seen.y1 * sample.scale_y),
      static_cast<float>(seen.x2 * sample.scale_x), static_cast<float>(seen.y2 * sample.scale_y)};
}

Box to_picture(const Box& box, const Sample& sample) {
  const Box scaled = {
      static_cast<float>(box.x1 / sample.scale_x), static_cast<float>(box.y1 / sample.scale_y),
      static_cast<float>(box.x2 / sample.scale_x), static_cast<float>(box.y2 / sample.scale_y)};
  if (!sample.flipped) return scaled;
  const auto width = static_cast<float>(sample.original_width);
  return {width - scaled.x2, scaled.y1, width - scaled.x1, scaled.y2};
}

}  // namespace frcnn
