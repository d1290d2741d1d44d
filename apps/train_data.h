#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "apps/run_folder.h"
#include "data/dataset.h"
#include "model/config.h"

namespace frcnn::apps {

/// The data sets of a training run: --data and --val-data.
struct DataSources {
  std::vector<std::string> training, validation;  ///< validation empty: the same sets
};

/// Those given on the command line or, without --data, those of the run to be resumed.
DataSources data_sources(const RunFolder& folder, const std::vector<std::string>& data,
                         const std::vector<std::string>& val_data);

/// Writes them, absolute, as members "data" and "val_data" of run.json: one string where there is
/// one.
void add_data_sources(nlohmann::ordered_json& info, const DataSources& sources);

/// The training set, data.train_split of --data. Throws Error when it has no object.
Dataset open_training(const std::vector<std::string>& sources, const Config& config, bool strict);

/// Adds dataset.json to the folder of a run that lacks it, marked "later", where run.json names
/// data that can still be read. Returns why not, or nothing.
std::string complete_data_card(const RunFolder& folder);

/// The validation set, data.val_split of --val-data or --data; its classes are those of the
/// training set. A single file given as --data holds no validation set: UsageError.
Dataset open_validation(const DataSources& sources, const Config& config, const Dataset& training,
                        bool strict);

}  // namespace frcnn::apps
