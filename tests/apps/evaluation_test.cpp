#include "apps/evaluation.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/evaluation_text.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::apps;

namespace {

Dataset two_cats() {
  Dataset set;
  set.class_names = {"cat", "dog"};
  Object cat;
  cat.box = {0, 0, 50, 50};
  set.images.emplace_back().objects = {cat};
  set.images.emplace_back().objects = {cat};
  return set;
}

const std::vector<Detection> kFound = {{0, 0, 0.9F, {0, 0, 50, 50}}, {1, 1, 0.8F, {0, 0, 50, 50}}};

}  // namespace

TEST_CASE("evaluation: text shows the VOC table, JSON holds all but the latency") {
  EvaluationRequest request;
  CHECK(request.shown() == std::set<std::string>{"voc"});
  CHECK(request.computed() == request.shown());
  request.json = true;
  CHECK(request.computed().count("bootstrap") == 1);
  CHECK(request.computed().count("latency") == 0);
  request.metrics = {"all"};
  CHECK(request.computed().size() == evaluation_metrics().size());
  request.metrics = {"coco", "errors"};
  CHECK(request.computed() == std::set<std::string>{"coco", "errors"});
}

TEST_CASE("evaluation: the JSON names and defines every metric") {
  EvaluationRequest request;
  request.json = true;
  request.bootstrap.resamples = 10;
  const Evaluation evaluation = evaluate(two_cats(), kFound, request, request.computed());
  const auto json = nlohmann::json::parse(evaluation_json(evaluation));
  CHECK(json["map_area"].get<double>() == Approx(0.5));
  CHECK(json["classes"][0]["curve"].size() == 1);
  CHECK(json["classes"][1]["ap_area"].is_null());
  CHECK(json["coco"]["numbers"]["ap"].get<double>() == Approx(51.0 / 101));
  CHECK(json["coco"]["numbers"]["ap_small"].get<double>() == -1);
  CHECK(json["coco"]["definitions"].size() == 12);
  CHECK(json["errors"]["kinds"]["classification"]["count"] == 1);
  CHECK(json["recall"]["recall"][0]["average_recall"].get<double>() == Approx(1));
  CHECK(json["calibration"]["detections"] == 2);
  CHECK(json["confusion"]["counts"][0] == std::vector<int>{1, 1, 0});
  CHECK(json["bootstrap"]["resamples"] == 10);
  CHECK(json["bootstrap"]["metrics"].size() == 4);
  for (const char* key : {"coco", "recall", "errors", "calibration", "confusion", "bootstrap"})
    CHECK(json[key]["definition"].is_string());
  CHECK(!json.contains("latency"));
  // The VOC part is what validations of a training write.
  const auto voc = nlohmann::json::parse(evaluation_json(evaluation.voc));
  CHECK(json["map_area"] == voc["map_area"]);
  CHECK(!voc["classes"][0].contains("curve"));
}

TEST_CASE("evaluation: latency leaves the first picture out") {
  std::vector<double> seconds = {100};
  for (int i = 1; i <= 100; ++i) seconds.push_back(i);
  const Latency latency = latency_of(seconds, "cpu");
  CHECK(latency.pictures == 100);
  CHECK(latency.median == Approx(50.5));
  CHECK(latency.p95 == 95);
  CHECK(latency.mean == Approx(50.5));
  CHECK(latency_of({3}, "cpu").median == 3);
  CHECK(std::isnan(latency_of({}, "cpu").p95));
}
