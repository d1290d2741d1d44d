#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "data/bootstrap.h"
#include "data/calibration.h"
#include "data/coco_evaluate.h"
#include "data/confusion.h"
#include "data/dataset.h"
#include "data/detection_errors.h"
#include "data/evaluate.h"
#include "data/proposal_recall.h"

namespace CLI {
class App;
}

namespace frcnn::apps {

/// What `frcnn eval` and `frcnn score` are asked to measure and how.
struct EvaluationRequest {
  EvaluateOptions voc;  ///< its IoU limit also holds for error shares and confusion matrix
  double score = 0.5;   ///< least score of a detection in the confusion matrix
  BootstrapOptions bootstrap;
  /// Of evaluation_metrics(), or "all"; empty: "voc" for text, all but "latency" for JSON.
  std::vector<std::string> metrics;
  bool json = false;
  std::string out;  ///< file for the JSON; empty: none

  /// The metrics that the text shows, and those that have to be computed.
  std::set<std::string> shown() const;
  std::set<std::string> computed() const;
};

/// Names of the metrics: "voc", "curves", "coco" ...
const std::vector<std::string>& evaluation_metrics();

/// Adds the options above to a command; "latency" only `with_latency`.
void add_evaluation_options(CLI::App& command, EvaluationRequest& request, bool with_latency);

/// Seconds per picture from the decoded picture to its detections, the first picture left out.
struct Latency {
  int64_t pictures = 0;
  double median = 0, p95 = 0, mean = 0;  ///< NaN without pictures
  std::string device;
};
/// Of the seconds that each picture took, in order. p95 is the nearest rank.
Latency latency_of(const std::vector<double>& seconds, const std::string& device);

/// Results; those not asked for are empty. The VOC metric is always there.
struct Evaluation {
  EvaluationResult voc;
  bool curves = false;  ///< the JSON holds the precision-recall curves, too
  std::optional<CocoResult> coco;
  std::optional<ProposalRecall> recall;
  std::optional<ErrorResult> errors;
  std::optional<CalibrationResult> calibration;
  std::optional<ConfusionMatrix> confusion;
  std::optional<BootstrapResult> bootstrap;
  std::optional<Latency> latency;
};

/// Computes what `metrics` names ("latency" apart, which the caller has measured or not). `voc`:
/// the VOC metric of the same, where it is known already.
Evaluation evaluate(const Dataset& truth, const std::vector<Detection>& detections,
                    const EvaluationRequest& request, const std::set<std::string>& metrics,
                    std::optional<EvaluationResult> voc = std::nullopt);

/// Prints the tables or the JSON that were asked for, and writes the file.
void show_evaluation(const Evaluation& evaluation, const EvaluationRequest& request);

}  // namespace frcnn::apps
