#pragma once

#include <filesystem>
#include <string>

#include "data/dataset.h"
#include "data/transforms.h"
#include "model/config.h"

namespace frcnn::apps {

/// The split of a data set as the config describes it. Class names are config.classes, or all names
/// found. Throws Error when the folder, the split or an annotation is unusable; with `strict` also
/// for what would otherwise be repaired or left out.
Dataset open_dataset(const std::filesystem::path& folder, const std::string& split,
                     const DataConfig& config, bool strict = false);

/// What the reader repaired and left out (and, with `notes`, inferred): one line for each of the
/// first findings of a kind, and how many there are.
std::string findings_text(const Dataset& dataset, bool notes);

/// Throws Error naming the first picture that is not whole (a JPEG without end marker, anything
/// else that does not decode), so that a long run does not find it hours later.
void check_pictures(const Dataset& dataset);

/// Hexadecimal number that changes when pictures or objects of the set change.
std::string fingerprint(const Dataset& dataset);

InputSettings input_settings(const PreprocessConfig& preprocess);

}  // namespace frcnn::apps
