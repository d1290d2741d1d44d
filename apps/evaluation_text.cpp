#include "apps/evaluation_text.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/terminal.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

std::string metric(double value) {
  return std::isnan(value) ? "-" : fmt::format("{:.4f}", value);
}

nlohmann::ordered_json number_or_null(double value) {
  if (std::isnan(value)) return nullptr;
  return value;
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

std::string evaluation_json(const EvaluationResult& result) {
  nlohmann::ordered_json classes = nlohmann::ordered_json::array();
  for (const ClassResult& c : result.classes)
    classes.push_back({{"name", c.name},
                       {"ap_area", number_or_null(c.ap_area)},
                       {"ap_voc07_11point", number_or_null(c.ap_11point)},
                       {"objects", c.objects},
                       {"difficult", c.difficult},
                       {"detections", c.detections},
                       {"true_positives", c.true_positives},
                       {"false_positives", c.false_positives}});
  const nlohmann::ordered_json json = {{"iou", result.iou},
                                       {"map_area", number_or_null(result.map_area)},
                                       {"map_voc07_11point", number_or_null(result.map_11point)},
                                       {"classes", std::move(classes)}};
  return json.dump(2) + "\n";
}

}  // namespace frcnn::apps
