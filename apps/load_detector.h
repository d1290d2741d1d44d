#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model/detector.h"

namespace frcnn::apps {

/// A checkpoint on the program's device, computing as --cpu-math said. Where that is not float32,
/// a line on stderr says what it computes with. Throws as Detector::load() and
/// Detector::use_bf16() do.
Detector load_detector(const std::filesystem::path& file, const std::vector<std::string>& settings);

}  // namespace frcnn::apps
