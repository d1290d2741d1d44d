#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/show_source.h"

namespace frcnn::apps {

/// Choices of single pictures.
struct ShowChoices {
  int64_t row = -1, column = -1;  ///< of the tile; -1: the middle
  int top = 100;                  ///< proposals drawn
  double score = 0.5;             ///< least score of detections
  int channels = 64;              ///< of the feature map
  bool common_scale = false;      ///< feature maps: one range for all channels
  uint64_t pass = 0;              ///< of training, whose random numbers the samples have
  int epochs = 9;                 ///< of augmentation, from the first
};

/// A picture, the end of its file's name, and a line that says what is on it.
struct NamedPicture {
  std::string suffix;
  Image image;
  std::string line;
};

/// Names that draw() knows, each with one line of help; those of ground truth alone need no model,
/// those of filters no picture.
struct ShowKind {
  const char* name;
  const char* help;
  bool needs_model, needs_picture;
};
const std::vector<ShowKind>& show_kinds();

/// Draws what `kind` names, but `augment`. `model` and `picture` are null where the kind does not
/// need them. Picture `index` of a data set as each of the first epochs of a training has it.
NamedPicture augmentations(const Dataset& dataset, size_t index, const Config& config, int epochs);

std::vector<NamedPicture> draw(const std::string& kind, const ShownModel* model,
                               const ShownPicture* picture, const std::vector<std::string>& classes,
                               const ShowChoices& choices);

}  // namespace frcnn::apps
