#pragma once

#include <filesystem>
#include <vector>

#include "data/dataset.h"
#include "data/evaluate.h"

namespace frcnn::apps {

/// Least score of a detection that is drawn into an example.
inline constexpr float kExampleScore = 0.5F;

/// Draws detections into up to `most` pictures spread over the set and writes them as JPEG files
/// into `folder`, in the place of what was there.
void write_examples(const std::filesystem::path& folder, const Dataset& dataset,
                    const std::vector<Detection>& detections, int64_t most = 12);

}  // namespace frcnn::apps
