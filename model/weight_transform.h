#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/parameters.h"
#include "model/config.h"
#include "model/weight_names.h"
#include "weights/weight_file.h"

namespace frcnn {

/// How a stored array becomes a parameter.
struct WeightTransform {
  /// The file has it as a matrix (height * width * channels, out), which becomes
  /// (out, channels, height, width): convolutions and dense layers of Keras. For a dense layer that
  /// does not follow a map, height and width are 1.
  bool from_keras = false;
  int64_t height = 1, width = 1;
  /// Caffe's RPN has the background scores of all anchors first, then their object scores; here the
  /// two scores of an anchor are neighbours.
  bool interleave_scores = false;
  /// Caffe's detectors are saved with box deltas in plain units: row r is divided by
  /// stddev[r % 4], after mean[r % 4] was taken from a bias.
  std::vector<double> box_mean, box_std;

  /// "", "HWIO to OIHW", "(in, out) to (out, in)", ...
  std::string note() const;
};

/// nullopt when the shapes do not fit. `map_channels`: channels of the backbone's map.
std::optional<WeightTransform> fit_array(const WeightEntry& entry, WeightOrder order,
                                         NameScheme scheme, const Parameter& parameter,
                                         const RoiConfig& roi, int64_t map_channels);

/// Loads the numbers part by part, so that no second copy of a large array is in memory. Returns
/// how many of them are NaN or infinite.
int64_t load_array(const WeightFile& file, const WeightEntry& entry,
                   const WeightTransform& transform, const Parameter& parameter);

}  // namespace frcnn
