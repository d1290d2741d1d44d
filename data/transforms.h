#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/image.h"

namespace frcnn {

/// How a picture becomes network input; the fields mean what PreprocessConfig's do.
struct InputSettings {
  bool bgr = true;
  double scale = 1.0;                                           // times pixel value 0..255
  std::array<double, 3> mean = {102.9801, 115.9465, 122.7717};  // in channel order
  std::array<double, 3> stddev = {1, 1, 1};
  int shorter_side = 600;
  int longer_side = 1000;
  int pad_multiple = 1;
  bool round_down = false;  // resized sizes: false to the nearest, true down (torchvision)
  bool keep_aspect = true;  // false: both sides are stretched to shorter_side and longer_side
};

/// One picture as network input, with its objects in input coordinates. Input pixels and boxes
/// relate to the picture's by x_input = x_picture * scale_x (after the flip), exactly:
/// scale_x = width / original_width, which rounding makes differ from scale_y.
struct Sample {
  std::vector<float> pixels;                // (3, height, width), not padded
  int height = 0, width = 0;                // after resizing
  int padded_height = 0, padded_width = 0;  // rounded up to the pad multiple
  int original_height = 0, original_width = 0;
  double scale_x = 1, scale_y = 1;
  bool flipped = false;
  std::vector<Box> boxes;  // input pixels
  std::vector<int> labels;
  std::vector<uint8_t> difficult;  // 0 or 1
  int64_t index = 0;               // position in Dataset::images
  std::string id;
};

/// Resizes by the rule of A18, mirrors left and right if `flip`, normalises.
Sample make_sample(const Image& image, const ImageRecord& record, const InputSettings& settings,
                   bool flip = false);

/// The same for a picture without objects.
Sample make_sample(const Image& image, const InputSettings& settings);

/// Copies the pixels into the top left corner of a (3, height, width) array and fills the rest with
/// zeros. Throws Error when the sample is larger.
void copy_padded(const Sample& sample, int64_t height, int64_t width,
                 float* out);  // (3, height, width)

/// Box of the picture in pixels of the input: mirrored if the sample is, times the scales.
Box to_input(const Box& box, const Sample& sample);

/// Box of the input back in pixels of the picture: divided by the scales, mirrored back if flipped.
Box to_picture(const Box& box, const Sample& sample);

}  // namespace frcnn
