#pragma once

#include <string>
#include <vector>

#include "data/dataset.h"
#include "model/anchor_coverage.h"

namespace frcnn::apps {

/// A split of a run's data and where it came from.
struct CardSplit {
  std::string split;  ///< as data.train_split or data.val_split has it
  std::vector<std::string> sources;
  const Dataset* set = nullptr;
};

/// RUN/dataset.json, for the report: an object with a list "splits", for each split its numbers of
/// pictures and objects, difficult ones and crowd regions, findings, picture sizes, objects by size
/// (data/doctor.h) and by class, and the hash of pictures and objects (fingerprint()). `coverage`,
/// of the first split, adds "anchors": how well anchors fit each class. Ends in a newline.
std::string data_card(const std::vector<CardSplit>& splits, const AnchorCoverage* coverage);

}  // namespace frcnn::apps
