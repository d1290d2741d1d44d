#pragma once

#include <set>
#include <string>

#include "apps/evaluation.h"
#include "data/evaluate.h"

namespace frcnn::apps {

/// Table of both metrics per class and their means, for a terminal.
std::string evaluation_table(const EvaluationResult& result);

/// Tables of the metrics that are named and there, each under a line that says what it is.
std::string evaluation_text(const Evaluation& evaluation, const std::set<std::string>& shown);

/// JSON {"iou", "map_area", "map_voc07_11point", "classes": [{"name", "ap_area", ...}]}; metrics
/// that are not defined (no objects) are null.
std::string evaluation_json(const EvaluationResult& result);

/// The same with a key for each metric that is there: "coco", "recall", "errors", "calibration",
/// "confusion", "bootstrap", "latency", each with its "definition", and with a "curve" in each
/// class. Only COCO's numbers are -1 where they are not defined.
std::string evaluation_json(const Evaluation& evaluation);

}  // namespace frcnn::apps
