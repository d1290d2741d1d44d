#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/evaluation_text.h"
#include "apps/proposals.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

using Json = nlohmann::ordered_json;

Json number_or_null(double value) {
  if (std::isnan(value)) return nullptr;
  return value;
}

/// At most about `most` points, all of right detections, the last one always: [recall, precision,
/// score].
Json curve_json(const std::vector<PrPoint>& curve, size_t most = 200) {
  std::vector<const PrPoint*> right;
  for (const PrPoint& point : curve)
    if (point.right) right.push_back(&point);
  Json out = Json::array();
  const size_t step = right.size() / most + 1;
  for (size_t i = right.size() % step == 0 ? step - 1 : right.size() % step - 1; i < right.size();
       i += step)
    out.push_back({right[i]->recall, right[i]->precision, right[i]->score});
  return out;
}

Json voc_json(const EvaluationResult& result, bool curves) {
  Json classes = Json::array();
  for (const ClassResult& c : result.classes) {
    classes.push_back({{"name", c.name},
                       {"ap_area", number_or_null(c.ap_area)},
                       {"ap_voc07_11point", number_or_null(c.ap_11point)},
                       {"objects", c.objects},
                       {"difficult", c.difficult},
                       {"detections", c.detections},
                       {"true_positives", c.true_positives},
                       {"false_positives", c.false_positives}});
    if (curves) classes.back()["curve"] = curve_json(c.curve);
  }
  return {{"iou", result.iou},
          {"map_area", number_or_null(result.map_area)},
          {"map_voc07_11point", number_or_null(result.map_11point)},
          {"classes", std::move(classes)}};
}

Json coco_json(const CocoResult& result) {
  Json out = {{"definition",
               "COCO detection metric for boxes with the rules of pycocotools; at most 100 "
               "detections per picture and class; -1: no object counts"},
              {"definitions", Json::object()},
              {"classes", Json::array()}};
  const auto numbers = [](const CocoNumbers& values) {
    Json json;
    for (const CocoNumberName& entry : coco_number_names()) json[entry.name] = values.*entry.value;
    return json;
  };
  out["numbers"] = numbers(result.numbers);
  for (const CocoNumberName& entry : coco_number_names())
    out["definitions"][entry.name] = entry.definition;
  for (const CocoClassResult& entry : result.classes) {
    Json json = {{"name", entry.name},
                 {"objects", entry.objects},
                 {"ignored_objects", entry.ignored_objects}};
    json.update(numbers(entry.numbers));
    out["classes"].push_back(std::move(json));
  }
  return out;
}

Json errors_json(const ErrorResult& result) {
  Json kinds;
  for (size_t i = 0; i < kErrorKinds; ++i)
    kinds[error_kind_name(static_cast<ErrorKind>(i))] = {
        {"count", result.kinds[i].count}, {"gain", number_or_null(result.kinds[i].gain)}};
  return {{"definition",
           "error shares of Bolya et al. (TIDE, 2020); gain (dAP): growth of map when errors of "
           "the kind alone are corrected"},
          {"iou_right", result.options.right},
          {"iou_background", result.options.background},
          {"detections_per_picture", result.options.most},
          {"map", number_or_null(result.map)},
          {"kinds", std::move(kinds)},
          {"false_positive_gain", number_or_null(result.false_positive_gain)},
          {"false_negative_gain", number_or_null(result.false_negative_gain)}};
}

Json calibration_json(const CalibrationResult& result) {
  Json bins = Json::array();
  for (const CalibrationBin& bin : result.bins)
    bins.push_back({{"low", bin.low},
                    {"high", bin.high},
                    {"detections", bin.count},
                    {"mean_score", number_or_null(bin.mean_score)},
                    {"precision", number_or_null(bin.precision)}});
  return {{"definition",
           "expected calibration error (Guo et al., 2017): mean over the detections of |precision "
           "- mean score| of their score bin"},
          {"iou", result.iou},
          {"detections", result.count},
          {"expected_calibration_error", number_or_null(result.expected_error)},
          {"largest_calibration_error", number_or_null(result.largest_error)},
          {"bins", std::move(bins)}};
}

Json confusion_json(const ConfusionMatrix& matrix) {
  Json names = matrix.class_names;
  names.push_back("background");
  return {{"definition",
           "counts[true class][detected class]; last row: detections of no object, last column: "
           "objects without detection; pairs one to one by falling IoU"},
          {"score", matrix.options.score},
          {"iou", matrix.options.iou},
          {"classes", std::move(names)},
          {"counts", matrix.counts}};
}

Json interval_json(const Interval& interval) {
  return {{"name", interval.name},
          {"value", number_or_null(interval.value)},
          {"low", number_or_null(interval.low)},
          {"high", number_or_null(interval.high)}};
}

Json bootstrap_json(const BootstrapResult& result) {
  Json metrics = Json::array(), classes = Json::array();
  for (const Interval* entry :
       {&result.map_area, &result.map_11point, &result.coco_ap, &result.coco_ap50})
    metrics.push_back(interval_json(*entry));
  for (const Interval& entry : result.classes) classes.push_back(interval_json(entry));
  return {{"definition", "percentile bootstrap: pictures drawn with replacement; classes: area AP"},
          {"level", result.options.level},
          {"resamples", result.options.resamples},
          {"seed", result.options.seed},
          {"pictures", result.pictures},
          {"metrics", std::move(metrics)},
          {"classes", std::move(classes)}};
}

Json recall_of_detections_json(const ProposalRecall& recall) {
  Json json = {{"definition",
                "share of the objects that one of the best N detections of the picture, whatever "
                "its class, covers; average_recall (AR@N): mean over IoU 0.50:0.95"}};
  json.update(Json::parse(recall_json(recall)));
  return json;
}

Json latency_json(const Latency& latency) {
  return {{"definition",
           "milliseconds per picture, one at a time, from the decoded and resized picture to its "
           "detections, the first picture left out"},
          {"device", latency.device},
          {"pictures", latency.pictures},
          {"median_ms", number_or_null(1e3 * latency.median)},
          {"p95_ms", number_or_null(1e3 * latency.p95)},
          {"mean_ms", number_or_null(1e3 * latency.mean)}};
}

}  // namespace

std::string evaluation_json(const EvaluationResult& result) {
  return voc_json(result, false).dump(2) + "\n";
}

std::string evaluation_json(const Evaluation& evaluation) {
  Json json = {{"definition",
                "average precision of the VOC devkit: area under the interpolated curve "
                "(ap_area, map_area), mean of the interpolated precision at 11 recalls "
                "(ap_voc07_11point, map_voc07_11point)"}};
  json.update(voc_json(evaluation.voc, evaluation.curves));
  if (evaluation.coco) json["coco"] = coco_json(*evaluation.coco);
  if (evaluation.recall) json["recall"] = recall_of_detections_json(*evaluation.recall);
  if (evaluation.errors) json["errors"] = errors_json(*evaluation.errors);
  if (evaluation.calibration) json["calibration"] = calibration_json(*evaluation.calibration);
  if (evaluation.confusion) json["confusion"] = confusion_json(*evaluation.confusion);
  if (evaluation.bootstrap) json["bootstrap"] = bootstrap_json(*evaluation.bootstrap);
  if (evaluation.latency) json["latency"] = latency_json(*evaluation.latency);
  return json.dump(2) + "\n";
}

}  // namespace frcnn::apps
