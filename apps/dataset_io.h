#pragma once

#include <filesystem>
#include <string>

#include "data/dataset.h"
#include "data/transforms.h"
#include "model/config.h"

namespace frcnn::apps {

/// The split of a data set as the config describes it. Class names are config.classes, or all names
/// found. Throws Error when the folder, the split or an annotation is unusable.
Dataset open_dataset(const std::filesystem::path& folder, const std::string& split,
                     const DataConfig& config);

/// What the reader noted, repaired and left out, to stderr: counts and the first findings of each
/// kind.
void print_findings(const Dataset& dataset, size_t most = 8);

/// Hexadecimal number that changes when pictures or objects of the set change.
std::string fingerprint(const Dataset& dataset);

InputSettings input_settings(const PreprocessConfig& preprocess);

}  // namespace frcnn::apps
