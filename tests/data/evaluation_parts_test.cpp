#include <cmath>

#include "data/bootstrap.h"
#include "data/calibration.h"
#include "data/coco_evaluate.h"
#include "data/confusion.h"
#include "data/picture_scores.h"
#include "kernels/launch/parallel.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

Object object_at(const Box& box, int label = 0) {
  Object object;
  object.box = box, object.label = label;
  return object;
}

/// `pictures` pictures with one cat each; detections find those of the even pictures.
struct Case {
  Dataset truth;
  std::vector<Detection> found;
};

Case half_found(int pictures) {
  Case out;
  out.truth.class_names = {"cat", "dog"};
  for (int i = 0; i < pictures; ++i) {
    out.truth.images.emplace_back().objects = {object_at({0, 0, 10, 10})};
    const float x = i % 2 == 0 ? 0.0F : 50.0F;
    out.found.push_back({i, 0, 0.9F - 0.001F * float(i), {x, 0, x + 10, 10}});
  }
  return out;
}

}  // namespace

TEST_CASE("VOC metric: a crowd is ignored like a difficult object") {
  Dataset truth;
  truth.class_names = {"cat"};
  Object crowd = object_at({0, 0, 10, 10});
  crowd.crowd = true;
  truth.images.emplace_back().objects = {crowd, object_at({50, 0, 60, 10})};
  const ClassResult cats = evaluate_voc(truth, {{0, 0, 0.9F, {0, 0, 10, 10}},
                                                {0, 0, 0.8F, {0, 0, 10, 10}},
                                                {0, 0, 0.7F, {50, 0, 60, 10}}})
                               .classes[0];
  CHECK(cats.objects == 1);
  CHECK(cats.difficult == 1);
  CHECK(cats.false_positives == 0);
  CHECK(cats.ap_area == 1);
}

TEST_CASE("calibration: by hand") {
  Case c = half_found(4);
  // Two right ones of four, all in the last of ten bins but one.
  c.found[1].score = 0.25F;
  c.found[0].score = 1;
  c.found[2].score = c.found[3].score = 0.95F;
  const CalibrationResult result = calibration(evaluate_voc(c.truth, c.found));
  REQUIRE(result.bins.size() == 10);
  CHECK(result.count == 4);
  CHECK(result.bins[2].count == 1);
  CHECK(result.bins[2].precision == 0);
  CHECK(result.bins[9].count == 3);
  CHECK(result.bins[9].precision == Approx(2.0 / 3));
  CHECK(result.bins[9].mean_score == Approx(2.9 / 3));
  CHECK(result.expected_error == Approx((0.25 + 3 * 0.3) / 4));
  CHECK(result.largest_error == Approx(0.3));
  CHECK(std::isnan(result.bins[0].precision));
  CHECK(std::isnan(calibration(evaluate_voc(c.truth, {})).expected_error));
  CHECK_THROWS_WITH(calibration(EvaluationResult{}, 0), mentions("at least one bin"));
}

TEST_CASE("confusion matrix: pairs by falling IoU, background last") {
  Dataset truth;
  truth.class_names = {"cat", "dog"};
  Object difficult = object_at({80, 0, 90, 10});
  difficult.difficult = true;
  Object crowd = object_at({200, 0, 300, 100});
  crowd.crowd = true;
  truth.images.emplace_back().objects = {object_at({0, 0, 10, 10}, 0),
                                         object_at({20, 0, 30, 10}, 1),
                                         object_at({40, 0, 50, 10}, 1), difficult, crowd};
  const std::vector<Detection> found = {
      {0, 1, 0.9F, {0, 0, 10, 9}},       // a cat taken for a dog, but the next fits better
      {0, 0, 0.6F, {0, 0, 10, 10}},      // the cat
      {0, 0, 0.8F, {20, 0, 30, 10}},     // a dog taken for a cat
      {0, 0, 0.4F, {40, 0, 50, 10}},     // below the score
      {0, 0, 0.9F, {80, 0, 90, 10}},     // difficult: not counted
      {0, 1, 0.9F, {220, 20, 240, 40}},  // in the crowd: not counted
  };
  const ConfusionMatrix matrix = confusion_matrix(truth, found);
  using Row = std::vector<int64_t>;
  REQUIRE(matrix.counts.size() == 3);
  CHECK(matrix.counts[0] == Row{1, 0, 0});
  CHECK(matrix.counts[1] == Row{1, 0, 1});
  CHECK(matrix.counts[2] == Row{0, 1, 0});
  // Of equal IoUs the pair of one class goes first.
  const ConfusionMatrix equal = confusion_matrix(
      truth, {{0, 1, 0.9F, {0, 0, 10, 10}}, {0, 0, 0.6F, {0, 0, 10, 10}}}, {0.5, 0.5});
  CHECK(equal.counts[0] == Row{1, 0, 0});
  CHECK(equal.counts[2] == Row{0, 1, 0});
}

TEST_CASE("bootstrap: intervals hold the value, depend on the seed and shrink with more pictures") {
  const auto width = [](int pictures) {
    const Case c = half_found(pictures);
    const EvaluationResult voc = evaluate_voc(c.truth, c.found);
    const BootstrapResult result = bootstrap(c.truth, c.found, voc, {400, 7, 0.95});
    CHECK(result.pictures == pictures);
    CHECK(result.map_area.value == voc.map_area);
    CHECK(result.map_area.low <= voc.map_area);
    CHECK(result.map_area.high >= voc.map_area);
    CHECK(result.coco_ap.value == Approx(evaluate_coco(c.truth, c.found).numbers.ap));
    CHECK(result.coco_ap50.value == Approx(evaluate_coco(c.truth, c.found).numbers.ap50));
    CHECK(result.coco_ap.low < result.coco_ap.high);
    CHECK(result.map_11point.low < result.map_11point.high);
    REQUIRE(result.classes.size() == 2);
    CHECK(result.classes[0].low == result.map_area.low);
    CHECK(std::isnan(result.classes[1].low));  // no dog
    return result.map_area.high - result.map_area.low;
  };
  CHECK(width(200) < 0.7 * width(20));
  const Case c = half_found(30);
  const EvaluationResult voc = evaluate_voc(c.truth, c.found);
  const auto low = [&](uint64_t seed) {
    return bootstrap(c.truth, c.found, voc, {50, seed, 0.9}).map_area.low;
  };
  const int threads = kernels::num_threads();
  kernels::set_num_threads(1);
  const double one = low(3);
  kernels::set_num_threads(4);
  CHECK(low(3) == one);
  kernels::set_num_threads(threads);
  CHECK(low(4) != one);
}

TEST_CASE("bootstrap: the interval of a perfect detector is a point") {
  Case c = half_found(50);
  for (Detection& d : c.found) d.box = {0, 0, 10, 10};
  const BootstrapResult sure = bootstrap(c.truth, c.found, evaluate_voc(c.truth, c.found), {50, 1});
  CHECK(sure.map_area.low == Approx(1));
  CHECK(sure.map_area.high == Approx(1));
  CHECK_THROWS_WITH(bootstrap(c.truth, c.found, evaluate_voc(c.truth, c.found), {1, 1}),
                    mentions("at least 2 resamples, got 1"));
  CHECK_THROWS_WITH(bootstrap(c.truth, c.found, evaluate_voc(c.truth, c.found), {10, 1, 1.0}),
                    mentions("a level in (0, 1)"));
}

TEST_CASE("picture scores: best pictures first, empty ones left out") {
  Dataset truth;
  truth.class_names = {"cat"};
  const Box left = {0, 0, 10, 10}, right = {50, 0, 60, 10};
  Object difficult = object_at(right);
  difficult.difficult = true;
  truth.images.resize(4);
  truth.images[0].objects = {object_at(left), object_at(right)};
  truth.images[2].objects = {object_at(left), difficult};
  truth.images[3].objects = {object_at(left), object_at(right)};
  const std::vector<Detection> found = {
      {0, 0, 0.9F, left},  {0, 0, 0.8F, left},  // right, then a second hit
      {1, 0, 0.3F, left},                       // too low to count: the picture stays empty
      {2, 0, 0.9F, right}, {2, 0, 0.6F, left},  // difficult, right
      {3, 0, 0.7F, right}, {3, 0, 0.9F, left},
  };
  const auto scores = picture_scores(truth, found);
  REQUIRE(scores.size() == 3);
  CHECK(scores[0].image == 3);  // two found beat one
  CHECK(scores[0].right_detections == std::vector<int64_t>{6, 5});
  CHECK(scores[0].found_objects == std::vector<int64_t>{0, 1});
  CHECK(scores[1].image == 2);
  CHECK(scores[1].f1 == 1);
  CHECK(scores[2].f1 == Approx(0.5));
  CHECK(scores[2].wrong == 1);
  CHECK(scores[2].missed == 1);
}
