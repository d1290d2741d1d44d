#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/transforms.h"
#include "model/config.h"

namespace frcnn::apps {

/// How open_dataset() takes what it finds.
struct OpenOptions {
  bool strict = false;   ///< what would be repaired or left out is an error
  bool lenient = false;  ///< errors of the annotations become findings
  bool pictures = true;  ///< off: pictures may be missing where their sizes are known
};

/// The split of one or more data sets of any format (data/formats.h), joined (join_datasets()), as
/// the config describes it. Class names are config.classes, or all names found after
/// config.class_map. `split` is one name for all sources, or one for each with commas between; a
/// source whose name is empty is left out. Throws Error when a source, the split or an annotation
/// is unusable, UsageError for a wrong number of splits.
Dataset open_dataset(const std::vector<std::string>& sources, const std::string& split,
                     const DataConfig& config, const OpenOptions& options = {});
Dataset open_dataset(const std::filesystem::path& source, const std::string& split,
                     const DataConfig& config, bool strict = false);

/// A set for a trained detector, whatever the layout of the one it was trained on: `own` are the
/// detector's settings, `classes` its class names, `split` may be empty (data.val_split).
Dataset open_for_detector(const std::vector<std::string>& sources, const std::string& split,
                          DataConfig own, const std::vector<std::string>& classes, bool strict);

/// What to ask of `sources` when a command's --split is `given` and may be empty: then `usual`, and
/// "all" of sources that are one split by themselves (.json, .csv).
std::string split_or_usual(const std::vector<std::string>& sources, const std::string& given,
                           const std::string& usual);

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
