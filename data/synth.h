#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace frcnn {

struct SynthOptions {
  int images = 300;
  int width = 224, height = 192;
  int classes = 3;  ///< 1..6: circle, square, triangle, star, ring, cross
  int min_objects = 1, max_objects = 5;
  int min_size = 24, max_size = 96;  ///< side of an object's box, pixels
  double max_overlap =
      0.15;          ///< of two objects, share of the smaller one's box that may be covered
  double noise = 8;  ///< standard deviation of the grain, of 255
  double val_share = 0.1, test_share = 0.2;  ///< the rest is the split "train"
  uint64_t seed = 1;
};

/// Names of the first `classes` shapes.
std::vector<std::string> synth_class_names(int classes);

/// Draws a labelled set of shapes in VOC layout (Annotations, JPEGImages, ImageSets/Main with
/// train, val, trainval, test): anti-aliased shapes of random colour, size and angle on a softly
/// textured background. The same options give the same files. Written below a temporary name beside
/// `folder`, then renamed; throws Error when `folder` exists and is not empty.
void make_synthetic(const std::filesystem::path& folder, const SynthOptions& options);

}  // namespace frcnn
