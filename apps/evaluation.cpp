#include "apps/evaluation.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>

#include "apps/evaluation_text.h"
#include "data/files.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

std::set<std::string> all_but_latency() {
  std::set<std::string> names(evaluation_metrics().begin(), evaluation_metrics().end());
  names.erase("latency");
  return names;
}

std::set<std::string> named(const std::vector<std::string>& metrics) {
  std::set<std::string> names;
  for (const std::string& name : metrics) {
    if (name != "all") names.insert(name);
    if (name == "all") names.insert(evaluation_metrics().begin(), evaluation_metrics().end());
  }
  return names;
}

}  // namespace

const std::vector<std::string>& evaluation_metrics() {
  static const std::vector<std::string> kNames = {"voc",       "curves",    "coco",
                                                  "recall",    "errors",    "calibration",
                                                  "confusion", "bootstrap", "latency"};
  return kNames;
}

std::set<std::string> EvaluationRequest::shown() const {
  return metrics.empty() ? std::set<std::string>{"voc"} : named(metrics);
}

std::set<std::string> EvaluationRequest::computed() const {
  if (!metrics.empty()) return named(metrics);
  return json || !out.empty() ? all_but_latency() : shown();
}

void add_evaluation_options(CLI::App& command, EvaluationRequest& request, bool with_latency) {
  std::vector<std::string> names = evaluation_metrics();
  if (!with_latency) names.pop_back();
  names.push_back("all");
  command
      .add_option("--metrics", request.metrics,
                  "what to measure (docs/evaluation.md); default: voc, in JSON all but latency")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember(names))
      ->type_name("LIST");
  command
      .add_option("--iou", request.voc.iou,
                  "least IoU of a right detection (voc, curves, errors, calibration, confusion)")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      .add_option("--score", request.score, "least score of a detection in the confusion matrix")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command.add_option("--resamples", request.bootstrap.resamples, "draws of the bootstrap")
      ->check(CLI::Range(2, 1000000))
      ->capture_default_str();
  command.add_option("--seed", request.bootstrap.seed, "seed of the bootstrap")
      ->capture_default_str();
  command.add_option("--out", request.out, "write the result as JSON to this file")
      ->type_name("FILE");
  command.add_flag("--json", request.json, "print the result as JSON");
}

Latency latency_of(const std::vector<double>& seconds, const std::string& device) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  // Tuning and first-touch of memory belong to the first picture.
  std::vector<double> sorted(seconds.begin() + (seconds.size() > 1 ? 1 : 0), seconds.end());
  if (sorted.empty()) return {0, kNone, kNone, kNone, device};
  std::sort(sorted.begin(), sorted.end());
  const size_t n = sorted.size();
  Latency out{static_cast<int64_t>(n), 0, 0, 0, device};
  out.median = n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
  out.p95 = sorted[(95 * n + 99) / 100 - 1];
  out.mean = std::accumulate(sorted.begin(), sorted.end(), 0.0) / static_cast<double>(n);
  return out;
}

Evaluation evaluate(const Dataset& truth, const std::vector<Detection>& detections,
                    const EvaluationRequest& request, const std::set<std::string>& metrics,
                    std::optional<EvaluationResult> voc) {
  const auto wanted = [&](const char* name) { return metrics.count(name) > 0; };
  Evaluation out;
  out.voc = voc ? std::move(*voc) : evaluate_voc(truth, detections, request.voc);
  out.curves = wanted("curves");
  if (wanted("coco")) out.coco = evaluate_coco(truth, detections);
  if (wanted("recall")) out.recall = evaluate_recall(truth, detections);
  if (wanted("errors")) {
    ErrorOptions options;
    options.right = request.voc.iou;
    options.background = std::min(options.background, options.right / 2);
    out.errors = detection_errors(truth, detections, options);
  }
  if (wanted("calibration")) out.calibration = calibration(out.voc);
  if (wanted("confusion"))
    out.confusion = confusion_matrix(truth, detections, {request.score, request.voc.iou});
  if (wanted("bootstrap")) out.bootstrap = bootstrap(truth, detections, out.voc, request.bootstrap);
  return out;
}

void show_evaluation(const Evaluation& evaluation, const EvaluationRequest& request) {
  if (!request.out.empty()) write_file(request.out, std::string_view(evaluation_json(evaluation)));
  const std::string text =
      request.json ? evaluation_json(evaluation) : evaluation_text(evaluation, request.shown());
  std::fputs(text.c_str(), stdout);
}

}  // namespace frcnn::apps
