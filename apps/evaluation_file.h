#pragma once

#include <filesystem>
#include <vector>

#include "apps/run_folder.h"
#include "data/dataset.h"
#include "data/evaluate.h"

namespace frcnn::apps {

/// Evaluates the last validation of a run, `voc` being evaluate_voc() of it, by every metric but
/// the latency and writes RUN/evaluation.json: what evaluation_json() gives, "step", "split",
/// "images", and "pictures", the best and worst ones (picture_scores() at score and IoU 0.5):
/// {"kind", "id", "file", "width", "height", "f1", "right", "wrong", "missed", "objects":
/// [{"class", "box", "state"}], "detections":
/// [{"class", "score", "box", "right"}]}, boxes in pixels of the picture, "state" of found, missed
/// and ignored. The pictures themselves go to RUN/pictures, JPEG with a longer side of at most 800.
void write_run_evaluation(const RunFolder& folder, int64_t step, const std::string& split,
                          const Dataset& truth, const std::vector<Detection>& detections,
                          const EvaluationResult& voc, size_t most = 6);

/// Removes what write_run_evaluation() wrote: the run goes on from before it.
void remove_run_evaluation(const RunFolder& folder);

}  // namespace frcnn::apps
