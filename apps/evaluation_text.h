#pragma once

#include <string>

#include "data/evaluate.h"

namespace frcnn::apps {

/// Table of both metrics per class and their means, for a terminal.
std::string evaluation_table(const EvaluationResult& result);

/// JSON {"iou", "map_area", "map_voc07_11point", "classes": [{"name", "ap_area", ...}]}; metrics
/// that are not defined (no objects) are null.
std::string evaluation_json(const EvaluationResult& result);

}  // namespace frcnn::apps
