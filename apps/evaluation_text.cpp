#include "apps/evaluation_text.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "apps/terminal.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

std::string metric(double value) {
  return std::isnan(value) ? "-" : fmt::format("{:.4f}", value);
}

/// COCO's numbers are -1 where they are not defined.
std::string coco_metric(double value) {
  return value < 0 ? "-" : metric(value);
}

/// Rows of cells under a head, aligned: the first column on the left, the others on the right.
std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<int> widths;
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) {
      if (i == widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], static_cast<int>(row[i].size()));
    }
  std::string text;
  for (const auto& row : rows) {
    text += "  " + padded(row[0], widths[0]);
    for (size_t i = 1; i < row.size(); ++i) text += "  " + padded(row[i], -widths[i]);
    text += "\n";
  }
  return text;
}

std::string coco_text(const CocoResult& result) {
  std::string text = "\nCOCO metric (as pycocotools; -: no object counts)\n";
  for (const CocoNumberName& entry : coco_number_names())
    text += fmt::format("  {:<10} {:>7}  {}\n", entry.name,
                        coco_metric(result.numbers.*entry.value), entry.definition);
  std::vector<std::vector<std::string>> rows = {
      {"class", "objects", "AP", "AP50", "AP75", "small", "medium", "large", "AR100"}};
  for (const CocoClassResult& c : result.classes) {
    const CocoNumbers& n = c.numbers;
    rows.push_back({c.name, std::to_string(c.objects)});
    for (const double value : {n.ap, n.ap50, n.ap75, n.ap_small, n.ap_medium, n.ap_large, n.ar100})
      rows.back().push_back(coco_metric(value));
  }
  return text + aligned(rows);
}

std::string recall_text(const ProposalRecall& recall) {
  std::vector<std::vector<std::string>> rows = {{"best N", "IoU >= 0.5", "IoU >= 0.7", "AR@N"}};
  for (const RecallAt& at : recall.at)
    rows.push_back({std::to_string(at.proposals), metric(at.recall50), metric(at.recall70),
                    metric(at.average)});
  return fmt::format(
             "\nrecall of {} objects by the best N detections of a picture, whatever their class; "
             "AR@N: mean over IoU 0.50:0.95\n",
             recall.objects) +
         aligned(rows);
}

std::string errors_text(const ErrorResult& result) {
  std::vector<std::vector<std::string>> rows = {{"error", "count", "dAP"}};
  for (size_t i = 0; i < kErrorKinds; ++i)
    rows.push_back({error_kind_name(static_cast<ErrorKind>(i)),
                    std::to_string(result.kinds[i].count), metric(result.kinds[i].gain)});
  rows.push_back({"false positives", "", metric(result.false_positive_gain)});
  rows.push_back({"false negatives", "", metric(result.false_negative_gain)});
  return fmt::format(
             "\nerror shares (TIDE; right: IoU >= {:g}, background: IoU <= {:g}; dAP: what "
             "correcting them would add to {})\n",
             result.options.right, result.options.background, metric(result.map)) +
         aligned(rows);
}

std::string calibration_text(const CalibrationResult& result) {
  std::vector<std::vector<std::string>> rows = {{"score", "detections", "mean score", "precision"}};
  for (const CalibrationBin& bin : result.bins)
    rows.push_back({fmt::format("{:.1f} to {:.1f}", bin.low, bin.high), std::to_string(bin.count),
                    metric(bin.mean_score), metric(bin.precision)});
  return fmt::format("\ncalibration of {} detections at IoU {:g}: expected error {}, largest {}\n",
                     result.count, result.iou, metric(result.expected_error),
                     metric(result.largest_error)) +
         aligned(rows);
}

std::string confusion_text(const ConfusionMatrix& matrix) {
  std::vector<std::vector<std::string>> rows = {{"true \\ detected"}};
  for (const std::string& name : matrix.class_names) rows[0].push_back(name.substr(0, 10));
  rows[0].emplace_back("missed");
  for (size_t i = 0; i < matrix.counts.size(); ++i) {
    rows.push_back({i < matrix.class_names.size() ? matrix.class_names[i] : "background"});
    for (const int64_t count : matrix.counts[i]) rows.back().push_back(std::to_string(count));
  }
  return fmt::format("\nconfusion matrix (score >= {:g}, IoU >= {:g})\n", matrix.options.score,
                     matrix.options.iou) +
         aligned(rows);
}

std::string bootstrap_text(const BootstrapResult& result) {
  std::vector<std::vector<std::string>> rows = {{"metric", "value", "low", "high"}};
  const auto add = [&](const std::string& name, const Interval& entry) {
    rows.push_back({name, metric(entry.value), metric(entry.low), metric(entry.high)});
  };
  for (const Interval* entry :
       {&result.map_area, &result.map_11point, &result.coco_ap, &result.coco_ap50})
    add(entry->name, *entry);
  for (const Interval& entry : result.classes) add("AP area, " + entry.name, entry);
  return fmt::format("\n{:g} % intervals by bootstrap over {} pictures ({} resamples, seed {})\n",
                     100 * result.options.level, result.pictures, result.options.resamples,
                     result.options.seed) +
         aligned(rows);
}

std::string latency_text(const Latency& latency) {
  return fmt::format(
      "\nlatency per picture on {}: median {:.1f} ms, p95 {:.1f} ms, mean {:.1f} ms ({} pictures, "
      "one at a time, decoding not counted)\n",
      latency.device, 1e3 * latency.median, 1e3 * latency.p95, 1e3 * latency.mean,
      latency.pictures);
}

}  // namespace

std::string evaluation_table(const EvaluationResult& result) {
  int width = 12;
  for (const ClassResult& c : result.classes)
    width = std::max(width, static_cast<int>(c.name.size()) + 2);
  const std::string at = fmt::format("@{:g}", result.iou);
  const auto line = [&](const std::string& name, const std::string& objects,
                        const std::string& found, const std::string& area,
                        const std::string& voc07) {
    return padded(name, width) + padded(objects, -9) + padded(found, -12) + padded(area, -18) +
           padded(voc07, -24) + "\n";
  };
  std::string text = line("class", "objects", "detections", "AP" + at + " (area)",
                          "AP" + at + " (VOC07 11-point)");
  int64_t objects = 0, found = 0;
  for (const ClassResult& c : result.classes) {
    text += line(c.name, std::to_string(c.objects), std::to_string(c.detections), metric(c.ap_area),
                 metric(c.ap_11point));
    objects += c.objects;
    found += c.detections;
  }
  return text + line("mean (mAP)", std::to_string(objects), std::to_string(found),
                     metric(result.map_area), metric(result.map_11point));
}

std::string evaluation_text(const Evaluation& evaluation, const std::set<std::string>& shown) {
  const auto wanted = [&](const char* name) { return shown.count(name) > 0; };
  std::string text;
  if (wanted("voc")) text += evaluation_table(evaluation.voc);
  if (wanted("coco") && evaluation.coco) text += coco_text(*evaluation.coco);
  if (wanted("recall") && evaluation.recall) text += recall_text(*evaluation.recall);
  if (wanted("errors") && evaluation.errors) text += errors_text(*evaluation.errors);
  if (wanted("calibration") && evaluation.calibration)
    text += calibration_text(*evaluation.calibration);
  if (wanted("confusion") && evaluation.confusion) text += confusion_text(*evaluation.confusion);
  if (wanted("bootstrap") && evaluation.bootstrap) text += bootstrap_text(*evaluation.bootstrap);
  if (wanted("latency") && evaluation.latency) text += latency_text(*evaluation.latency);
  if (wanted("curves")) text += "\nprecision-recall curves: with --json or --out\n";
  return text.starts_with("\n") ? text.substr(1) : text;
}

}  // namespace frcnn::apps
