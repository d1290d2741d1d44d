#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "model/backbone.h"
#include "weights/weight_file.h"

namespace frcnn {

/// Who named the arrays of a file of weights.
enum class NameScheme : uint8_t {
  own,                   ///< checkpoints of frcnn, and files with the same names
  keras,                 ///< block1_conv1/kernel, fc1/kernel; HWIO
  torchvision,           ///< classification nets: features.0.weight, classifier.0.weight
  torchvision_detector,  ///< backbone.0.weight, rpn.head.cls_logits.weight, roi_heads.*
  caffe,                 ///< conv1_1/weight, fc6/weight, rpn_cls_score/weight, bbox_pred/weight
};
/// "frcnn", "Keras", "torchvision", "torchvision Faster R-CNN", "Caffe".
const char* name_of(NameScheme scheme);

/// By names and data order that only one scheme has; `own` where nothing else fits.
NameScheme recognise_names(const WeightFile& file);

/// Where the arrays of a file go in a model with a given backbone and head.
class NameTable {
 public:
  /// `hidden`: number of dense layers of the detection head (fc6, fc7, ...).
  NameTable(const WeightFile& file, NameScheme scheme, const BackboneSpec& backbone, int hidden);

  struct Place {
    std::string parameter;  ///< "backbone.conv1_1.weight"; "" when it has none by design, then:
    std::string reason;     ///< "classification layer", "state of the training"
  };
  /// nullopt: the name means nothing to this table.
  std::optional<Place> find(const std::string& entry) const;

 private:
  void add_backbone(const WeightFile& file, const BackboneSpec& backbone);
  void add_head(const WeightFile& file, const BackboneSpec& backbone, int hidden);
  NameScheme scheme_;
  /// Layer in the file to layer in the model, "" for one that is left out by design.
  std::map<std::string, std::string> layers_;
};

/// "conv1_1/kernel" or "conv1_1.weight" in two: the layer, and the array's name in our words
/// (weight, bias, running_mean, running_var); the array is "" when the name ends in none of those.
struct SplitName {
  std::string layer, array;
};
SplitName split_name(const std::string& entry);

}  // namespace frcnn
