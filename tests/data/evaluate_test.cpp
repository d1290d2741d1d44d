#include "data/evaluate.h"

#include <algorithm>
#include <cmath>

#include "data/detections_io.h"
#include "kernels/random/philox.h"
#include "tests/data/voc_maker.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

Dataset one_picture(std::vector<Object> objects) {
  Dataset set;
  set.class_names = {"cat", "dog"};
  set.images.push_back({"a", "", 100, 100, std::move(objects), ""});
  return set;
}

/// Pictures with random boxes of `classes` classes, and detections: moved objects and false ones.
struct RandomCase {
  Dataset truth;
  std::vector<Detection> detections;
};

RandomCase random_case(uint64_t seed) {
  RandomCase c;
  const std::vector<float> u = random_vector<float>(4000, 0, 1, seed);
  size_t at = 0;
  const auto next = [&] { return u.at(at++); };
  c.truth.class_names = {"a", "b", "c"};
  for (int i = 0; i < 20; ++i) {
    ImageRecord image{std::to_string(i), "", 100, 100, {}, ""};
    const int count = static_cast<int>(next() * 6);
    for (int k = 0; k < count; ++k) {
      const float x = next() * 70, y = next() * 70;
      const Box box = {x, y, x + 5 + next() * 25, y + 5 + next() * 25};
      const int label = static_cast<int>(next() * 3);
      image.objects.push_back({box, label, next() < 0.2f});
      for (int d = 0; d < 2; ++d) {
        const float dx = (next() - 0.5f) * 12, dy = (next() - 0.5f) * 12;
        c.detections.push_back({i, label, next(), {box.x1 + dx, box.y1 + dy, box.x2 + dx, box.y2}});
      }
    }
    c.truth.images.push_back(std::move(image));
  }
  return c;
}

}  // namespace

TEST_CASE("A21 VOC AP: equal to the oracle at four IoU limits") {
  FRCNN_REQUIRE_REAL_DATA(data);
  const Dataset truth = read_truth_text(data / "voc_ap_oracle/groundtruths");
  const auto detections = read_detections_text(data / "voc_ap_oracle/detections", truth);
  REQUIRE(truth.class_names.size() == 1);
  CHECK(detections.size() == 24);
  struct Row {
    double iou, area, eleven;
  };
  for (const Row& row : {Row{0.1, 0.3371980676, 0.3333333333}, Row{0.3, 0.2456866804, 0.2683982683},
                         Row{0.5, 0.0222222222, 0.0303030303}, Row{0.75, 0, 0}}) {
    const EvaluationResult result = evaluate_voc(truth, detections, {row.iou, true});
    INFO("IoU " << row.iou);
    CHECK(result.map_area == Approx(row.area).margin(1e-6));
    CHECK(result.map_11point == Approx(row.eleven).margin(1e-6));
    CHECK(result.classes[0].objects == 15);
  }
}

TEST_CASE("A21 VOC AP: by hand") {
  // Two cats. Ranked: right, wrong, right: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
  const Dataset truth =
      one_picture({{{0, 0, 10, 10}, 0, false, false, 0}, {{50, 50, 60, 60}, 0, false, false, 0}});
  const std::vector<Detection> detections = {
      {0, 0, 0.7f, {50, 50, 60, 60}}, {0, 0, 0.9f, {0, 0, 10, 10}}, {0, 0, 0.8f, {20, 20, 30, 30}}};
  const EvaluationResult result = evaluate_voc(truth, detections);
  const ClassResult& cats = result.classes[0];
  CHECK(cats.ap_area == Approx(0.5 * 1 + 0.5 * 2 / 3));
  CHECK(cats.ap_11point == Approx((6 * 1 + 5 * 2.0 / 3) / 11));
  CHECK(cats.true_positives == 2);
  CHECK(cats.false_positives == 1);
  REQUIRE(cats.curve.size() == 3);
  CHECK(cats.curve[1].precision == Approx(0.5));
  CHECK(cats.curve[1].score == 0.8f);
  CHECK(std::isnan(result.classes[1].ap_area));  // no dog
  CHECK(result.map_area == cats.ap_area);
}

TEST_CASE("A21 VOC AP: a second hit is wrong, also when another object is free") {
  // Both detections overlap object 0 most; the devkit doesn't try object 1 for the second.
  const Dataset truth =
      one_picture({{{0, 0, 10, 10}, 0, false, false, 0}, {{4, 0, 14, 10}, 0, false, false, 0}});
  const std::vector<Detection> detections = {{0, 0, 0.9f, {0, 0, 10, 10}},
                                             {0, 0, 0.8f, {1, 0, 11, 10}}};
  const ClassResult cats = evaluate_voc(truth, detections, {0.5, false}).classes[0];
  CHECK(cats.true_positives == 1);
  CHECK(cats.false_positives == 1);
}

TEST_CASE("A21 VOC AP: difficult objects count neither for nor against") {
  const Dataset truth =
      one_picture({{{0, 0, 10, 10}, 0, true, false, 0}, {{50, 50, 60, 60}, 0, false, false, 0}});
  const std::vector<Detection> detections = {
      {0, 0, 0.9f, {0, 0, 10, 10}}, {0, 0, 0.8f, {0, 0, 10, 10}}, {0, 0, 0.7f, {50, 50, 60, 60}}};
  const ClassResult cats = evaluate_voc(truth, detections).classes[0];
  CHECK(cats.objects == 1);
  CHECK(cats.difficult == 1);
  CHECK(cats.true_positives == 1);
  CHECK(cats.false_positives == 0);
  CHECK(cats.ap_area == 1);
  CHECK(cats.ap_11point == 1);
}

TEST_CASE("A21 VOC AP: the limit itself is a hit; +1 areas change the IoU") {
  const Dataset truth = one_picture({{{0, 0, 10, 10}, 0, false, false, 0}});
  const std::vector<Detection> half = {{0, 0, 0.9f, {0, 0, 10, 5}}};  // IoU 1/2
  CHECK(evaluate_voc(truth, half, {0.5, false}).map_area == 1);
  CHECK(evaluate_voc(truth, half, {0.51, false}).map_area == 0);
  CHECK(evaluate_voc(truth, half, {0.54, true}).map_area == 1);  // 11 * 6 / 121 = 0.545
  CHECK(evaluate_voc(truth, half, {0.55, true}).map_area == 0);
}

TEST_CASE("A21 VOC AP: equal scores keep the order given") {
  const Dataset truth = one_picture({{{0, 0, 10, 10}, 0, false, false, 0}});
  const Detection right = {0, 0, 0.5f, {0, 0, 10, 10}}, wrong = {0, 0, 0.5f, {20, 20, 30, 30}};
  CHECK(evaluate_voc(truth, {right, wrong}).map_area == 1);
  CHECK(evaluate_voc(truth, {wrong, right}).map_area == 0.5);
}

TEST_CASE("A21 VOC AP: nothing detected, nothing to detect") {
  const Dataset truth = one_picture({{{0, 0, 10, 10}, 0, false, false, 0}});
  const EvaluationResult none = evaluate_voc(truth, {});
  CHECK(none.map_area == 0);
  CHECK(none.map_11point == 0);
  const EvaluationResult empty = evaluate_voc(one_picture({}), {{0, 0, 0.5f, {0, 0, 1, 1}}});
  CHECK(std::isnan(empty.map_area));
  CHECK(empty.classes[0].false_positives == 1);
}

TEST_CASE("A21 VOC AP: golden values of an independent program") {
  const auto objects = golden_f64("voc_ap", "objects");        // image, label, difficult, box
  const auto detections = golden_f64("voc_ap", "detections");  // image, label, score, box
  const auto iou = golden_f64("voc_ap", "iou");
  const auto expected = golden_f64("voc_ap", "ap");  // (iou, class, area | 11-point)
  Dataset truth;
  truth.class_names = {"a", "b", "c", "d"};
  truth.images.resize(static_cast<size_t>(golden_attribute("voc_ap", "/", "images")));
  for (size_t i = 0; i < objects.values.size(); i += 7) {
    const double* o = &objects.values[i];
    truth.images.at(static_cast<size_t>(o[0]))
        .objects.push_back(
            {{float(o[3]), float(o[4]), float(o[5]), float(o[6])}, int(o[1]), o[2] != 0, false, 0});
  }
  std::vector<Detection> found;
  for (size_t i = 0; i < detections.values.size(); i += 7) {
    const double* d = &detections.values[i];
    found.push_back({int64_t(d[0]),
                     int(d[1]),
                     float(d[2]),
                     {float(d[3]), float(d[4]), float(d[5]), float(d[6])}});
  }
  std::vector<double> actual;
  for (const double limit : iou.values) {
    for (const ClassResult& entry : evaluate_voc(truth, found, {limit, false}).classes) {
      actual.push_back(entry.ap_area);
      actual.push_back(entry.ap_11point);
    }
  }
  FRCNN_CHECK_SAME(std::span<const double>(actual), std::span<const double>(expected.values), 0,
                   1e-9);
}

TEST_CASE("A21 VOC AP: properties") {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    INFO("seed " << seed);
    const RandomCase c = random_case(seed);
    const EvaluationResult base = evaluate_voc(c.truth, c.detections);
    for (const ClassResult& entry : base.classes) {
      CHECK(entry.ap_area >= 0);
      CHECK(entry.ap_area <= 1);
      CHECK(entry.true_positives <= entry.objects);
      CHECK(entry.true_positives + entry.false_positives <= entry.detections);
      for (size_t i = 1; i < entry.curve.size(); ++i)
        CHECK(entry.curve[i].recall >= entry.curve[i - 1].recall);
    }
    // A monotone change of the scores changes nothing; all scores here differ.
    std::vector<Detection> squared = c.detections;
    for (Detection& d : squared) d.score = d.score * d.score * 0.5f;
    CHECK(evaluate_voc(c.truth, squared).map_area == base.map_area);
    // The order of the input doesn't matter either.
    std::vector<Detection> reversed(c.detections.rbegin(), c.detections.rend());
    CHECK(evaluate_voc(c.truth, reversed).map_area == base.map_area);
    // A stricter limit never finds more.
    double last = 1;
    for (const double iou : {0.1, 0.3, 0.5, 0.7, 0.9}) {
      const double value = evaluate_voc(c.truth, c.detections, {iou, false}).map_area;
      CHECK(value <= last + 1e-12);
      last = value;
    }
    // A false detection ranked last costs nothing; ranked first it costs.
    std::vector<Detection> more = c.detections;
    more.push_back({0, 0, -1.0f, {900, 900, 910, 910}});
    CHECK(evaluate_voc(c.truth, more).map_area == base.map_area);
    more.back().score = 2;
    CHECK(evaluate_voc(c.truth, more).map_area < base.map_area);
    // The truth itself, given as detections, is perfect.
    std::vector<Detection> perfect;
    for (size_t i = 0; i < c.truth.images.size(); ++i)
      for (const Object& o : c.truth.images[i].objects)
        perfect.push_back({static_cast<int64_t>(i), o.label, 0.5f, o.box});
    CHECK(evaluate_voc(c.truth, perfect).map_area == Approx(1));
    CHECK(evaluate_voc(c.truth, perfect).map_11point == Approx(1));
  }
}

TEST_CASE("A21 VOC AP: rejects what it cannot rank") {
  const Dataset truth = one_picture({});
  const float nan = std::nanf("");
  const auto message = [&](const Detection& d) {
    return error_of([&] { evaluate_voc(truth, {{0, 0, 0.5f, {}}, d}); });
  };
  CHECK(contains(message({1, 0, 0.5f, {}}), "detection 1: expected a picture below 1, got 1"));
  CHECK(contains(message({0, 2, 0.5f, {}}), "expected a label below 2, got 2"));
  CHECK(contains(message({0, 0, nan, {}}), "expected finite numbers"));
  CHECK(contains(message({0, 0, 0.5f, {0, 0, nan, 0}}), "expected finite numbers"));
  CHECK(contains(error_of([&] { evaluate_voc(truth, {}, {0, false}); }), "expected an IoU limit"));
}
