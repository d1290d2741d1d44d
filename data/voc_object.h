#pragma once

#include <optional>
#include <string>

#include "data/dataset.h"
#include "data/image.h"
#include "data/voc.h"
#include "data/voc_annotation.h"

namespace frcnn {

/// The picture that an object lies in, as the reader knows it.
struct VocFrame {
  VocCoordinates coordinates = VocCoordinates::one_based;  ///< not `detect`
  int width = 0, height = 0;                               ///< after EXIF orientation
  /// Set when boxes were drawn on the picture as stored and have to be turned with it.
  std::optional<ImageInfo> stored;
  double slack = 0;  ///< pixels by which a box may stick out and is clipped without a word
};

/// What becomes of an object: its box, or none when it is left out, and what is to be said.
struct VocVerdict {
  std::optional<Box> box;
  std::vector<Finding> findings;  ///< without file
};

/// Turns the corners as written into a box inside the picture, or says why that cannot be.
VocVerdict judge_object(const VocObject& object, const VocFrame& frame);

/// "'cat' (1, 2, 3, 4)", corners as written.
std::string corners_text(const VocObject& object);

}  // namespace frcnn
