#pragma once

#include <string>

#include "data/dataset.h"
#include "model/anchor_coverage.h"
#include "model/trainer.h"

namespace frcnn::apps {

/// What a training's summary tells before step 0 (docs/before-training.md), as lines for a
/// terminal: how the pictures count, how the anchors fit the objects, and the memory. Reads
/// annotations only. Throws Error with advice when training needs more memory than there is.
std::string preflight(const Config& config, const Dataset& training, Trainer& trainer);

/// The objects that are training targets, in pixels of the network's input.
std::vector<CoverageImage> coverage_images(const Dataset& training, const Config& config);

}  // namespace frcnn::apps
