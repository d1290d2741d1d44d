#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/weight_names.h"
#include "weights/weight_file.h"

namespace frcnn {

/// Channels, scale, mean and stddev of the pictures that weights were trained with; nullopt where
/// neither the file nor its kind tells. Files of this program carry them (metadata "format"
/// "frcnn", "config"; "torchvision" where detectors were exported for it). Known by kind:
///
///   Keras, vgg16             BGR 0..255, minus 103.939 116.779 123.68 (keras.applications)
///   torchvision              RGB / 255, minus 0.485 0.456 0.406, by 0.229 0.224 0.225
///   Caffe                    BGR 0..255, minus 102.9801 115.9465 122.7717 (py-faster-rcnn)
std::optional<PreprocessConfig> preprocess_of(const WeightFile& file, NameScheme scheme,
                                              const std::string& backbone);

/// A model that the file's arrays fit into.
struct ImportSetup {
  Config config;
  std::vector<std::string> classes;
  bool detector = false;    ///< the file has RPN and head: it is complete
  bool made_names = false;  ///< the file does not name its classes: VOC's or class1, class2, ...
};

/// The settings of a checkpoint, or those that follow from the shapes in the file and from the
/// program that made it: hidden layers, pooled size, anchors per cell, classes, rules of rounding.
/// `network`: "vgg16", "zf", "alexnet", or "" to find out by names and shapes. `classes`: names, or
/// empty. Throws Error when no built-in network fits.
ImportSetup setup_for(const WeightFile& file, const std::string& network,
                      const std::vector<std::string>& classes);

/// The same with given settings, which are taken as they are.
ImportSetup setup_for(const WeightFile& file, const Config& config,
                      const std::vector<std::string>& classes);

}  // namespace frcnn
