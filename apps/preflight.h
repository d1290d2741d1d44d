#pragma once

#include <cstdint>
#include <string>

#include "data/dataset.h"
#include "model/anchor_coverage.h"
#include "model/memory_estimate.h"
#include "model/trainer.h"

namespace frcnn::apps {

/// What a training's summary tells before step 0 (docs/before-training.md).
struct Preflight {
  std::string text;  ///< lines for a terminal: pictures, anchors, memory
  AnchorCoverage coverage;
  MemoryEstimate memory;          ///< at the largest input of the set
  int64_t height = 0, width = 0;  ///< that input, pixels
};

/// How the pictures count, how the anchors fit the objects, and the memory. Reads annotations only.
/// Throws Error with advice when training needs more memory than there is.
Preflight preflight(const Config& config, const Dataset& training, Trainer& trainer);

/// The objects that are training targets, in pixels of the network's input.
std::vector<CoverageImage> coverage_images(const Dataset& training, const Config& config);

}  // namespace frcnn::apps
