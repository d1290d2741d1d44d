#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "model/weight_import.h"
#include "weights/weight_file.h"

namespace frcnn::apps {

/// Smallest, largest, mean and standard deviation of the finite numbers of an array.
struct ArrayStatistics {
  double least = 0, most = 0, mean = 0, stddev = 0;
  int64_t not_finite = 0;
};
/// Reads the array part by part.
ArrayStatistics statistics_of(const WeightFile& file, const WeightEntry& entry);

/// A file of weights for a reader, or as JSON: format, arrays with statistics, who published it,
/// pictures it expects, what of it would be loaded where.
struct WeightsReport {
  std::string text, json;
};
WeightsReport inspect_weights(const std::filesystem::path& file);

/// The rows of an import and their counts as JSON text.
nlohmann::ordered_json import_json(const ImportPlan& plan);

}  // namespace frcnn::apps
