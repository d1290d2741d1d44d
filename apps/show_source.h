#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/image.h"
#include "data/transforms.h"
#include "model/detector.h"
#include "model/faster_rcnn.h"

namespace frcnn::apps {

/// What `frcnn show` and `frcnn why` were told to look at.
struct ShowArguments {
  std::string model, config, preset;  ///< one of them, or none where a data set is enough
  std::vector<std::string> settings;
  std::vector<std::string> data;  ///< joined
  std::string split = "all", picture;
  std::vector<std::string> images;
  int count = 1;
};

/// The model whose work is drawn: a trained one, or that of settings as a training begins with it.
class ShownModel {
 public:
  /// Takes a checkpoint where one is named, else the settings, of which a detector of `classes` is
  /// made, with backbone.weights. It lies on the CPU. UsageError where neither is named.
  ShownModel(const ShowArguments& arguments, const std::vector<std::string>& classes);

  const Config& config() const { return config_; }
  const FasterRcnn& model() const { return own_ ? *own_ : detector_->model(); }
  const std::vector<std::string>& classes() const { return classes_; }
  bool trained() const { return detector_.has_value(); }
  /// For titles: the checkpoint's name, or "untrained".
  const std::string& name() const { return name_; }

 private:
  Config config_;
  std::vector<std::string> classes_;
  std::optional<Detector> detector_;
  std::unique_ptr<FasterRcnn> own_;
  std::string name_;
};

/// The settings of the arguments without their model: of the checkpoint, the config or preset, or
/// the defaults.
Config shown_config(const ShowArguments& arguments);

/// A data set and those of its pictures that are looked at.
struct ShownSet {
  Dataset dataset;
  std::vector<size_t> chosen;
};

/// The data set of --data with the pictures of --image, or the first --count; or the file of
/// --picture without objects. Class names are `classes`, or those found. UsageError where there is
/// neither, Error for an id that does not exist.
ShownSet shown_pictures(const ShowArguments& arguments, const DataConfig& config,
                        const std::vector<std::string>& classes);

/// One picture as the network takes it, with its objects in pixels of the input.
struct ShownPicture {
  Sample sample;      ///< crowds are not among its boxes
  Image seen;         ///< the input as a picture
  ModelInput input;   ///< a batch of one
  GroundTruth truth;  ///< the objects that training uses
  std::string id;
};
ShownPicture shown_picture(const Dataset& dataset, size_t index, const PreprocessConfig& preprocess,
                           bool use_difficult);

}  // namespace frcnn::apps
