#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/tensor.h"
#include "kernels/boxes/box.h"

namespace frcnn {

/// Size of one image inside a batch, in pixels of the network's input, padding not counted.
struct InputSize {
  int64_t height = 0, width = 0;
  double scale_y = 1, scale_x = 1;  ///< input pixels per pixel of the original picture
  /// Rows and columns of the batch that the image has when it is alone: its size rounded up to
  /// preprocess.pad_multiple. 0: all of the batch.
  int64_t padded_height = 0, padded_width = 0;
};

/// A batch as the network takes it. Images of different padded sizes may be in it: what is outside
/// of an image's padded size is not seen by the network (model/batch_parts.h).
struct ModelInput {
  Tensor images;  ///< (N, 3, H, W), normalised; zero outside of each image's own size
  std::vector<InputSize> sizes;  ///< N
  /// Given proposals of each image in pixels of the network's input, which take the place of the
  /// RPN's; empty: the RPN's.
  std::vector<std::vector<Box>> regions = {};
  std::vector<std::string> names = {};  ///< N or none: the images' names, for messages
};

/// A picture of 8-bit R, G, B values, row by row from the top: (height, width, 3).
struct PictureView {
  const uint8_t* rgb = nullptr;
  int width = 0, height = 0;
};

/// Labelled objects of one image, in pixels of the network's input.
struct GroundTruth {
  std::vector<Box> boxes;
  std::vector<int> labels;  ///< 0 .. K-1; class lists hold no background
};

/// One detected object.
struct ScoredBox {
  Box box;
  int label = 0;  ///< 0 .. K-1, index of class_names()
  float score = 0;
};

}  // namespace frcnn
