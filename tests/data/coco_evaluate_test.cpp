#include "data/coco_evaluate.h"

#include <algorithm>

#include "data/bootstrap.h"
#include "data/coco_matching.h"
#include "kernels/launch/parallel.h"
#include "kernels/random/philox.h"
#include "tests/data/small_sets.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

struct Case {
  Dataset truth;
  std::vector<Detection> detections;
  std::vector<double> expected;
};

Box box_of(const double* values) {
  return {float(values[0]), float(values[1]), float(values[2]), float(values[3])};
}

Case golden_case(const std::string& name) {
  Case out;
  const auto classes = static_cast<int>(golden_attribute("coco_eval", name, "classes"));
  for (int k = 0; k < classes; ++k) out.truth.class_names.push_back(std::to_string(k));
  for (const int64_t id : golden_i64("coco_eval", name + "/ids").values) {
    ImageRecord& image = out.truth.images.emplace_back();
    image.number = id;
  }
  const auto objects = golden_f64("coco_eval", name + "/objects");
  for (size_t i = 0; i < objects.values.size(); i += 8) {
    const double* o = &objects.values[i];
    Object object;
    object.label = int(o[1]), object.box = box_of(o + 2);
    object.crowd = o[6] != 0, object.area = o[7];
    out.truth.images.at(static_cast<size_t>(o[0])).objects.push_back(object);
  }
  const auto found = golden_f64("coco_eval", name + "/detections");
  for (size_t i = 0; i < found.values.size(); i += 7) {
    const double* d = &found.values[i];
    out.detections.push_back({int64_t(d[0]), int(d[1]), float(d[2]), box_of(d + 3)});
  }
  out.expected = golden_f64("coco_eval", name + "/numbers").values;
  return out;
}

std::vector<double> values_of(const CocoNumbers& numbers) {
  std::vector<double> values;
  for (const CocoNumberName& entry : coco_number_names()) values.push_back(numbers.*entry.value);
  return values;
}

}  // namespace

TEST_CASE("COCO metric: the twelve numbers of pycocotools") {
  const auto names = golden_members("coco_eval", "/");
  CHECK(names.size() == 10);
  for (const std::string& name : names) {
    INFO(name);
    const Case c = golden_case(name);
    const auto actual = values_of(evaluate_coco(c.truth, c.detections).numbers);
    REQUIRE(c.expected.size() == 12);
    FRCNN_CHECK_SAME(std::span<const double>(actual), std::span<const double>(c.expected), 0, 1e-9);
  }
}

TEST_CASE("COCO metric: the same with any number of threads") {
  const Case c = golden_case("ties");
  const int threads = kernels::num_threads();
  kernels::set_num_threads(1);
  const auto one = values_of(evaluate_coco(c.truth, c.detections).numbers);
  kernels::set_num_threads(3);
  const auto three = values_of(evaluate_coco(c.truth, c.detections).numbers);
  kernels::set_num_threads(threads);
  CHECK(one == three);
}

TEST_CASE("COCO metric: classes, and their mean") {
  const Case c = golden_case("empty classes");
  const CocoResult result = evaluate_coco(c.truth, c.detections);
  REQUIRE(result.classes.size() == 6);
  double sum = 0;
  int count = 0;
  for (const CocoClassResult& entry : result.classes) {
    CHECK((entry.numbers.ap < 0) == (entry.objects == 0));
    if (entry.numbers.ap >= 0) sum += entry.numbers.ap, ++count;
  }
  CHECK(result.classes[0].numbers.ap == -1);  // detections, but no objects
  CHECK(count == 4);
  CHECK(result.numbers.ap == Approx(sum / count));
}

TEST_CASE("COCO metric: a crowd takes any number of detections that lie in it") {
  Object crowd = object_at({0, 0, 100, 100});
  crowd.crowd = true;
  const Dataset truth = one_picture({crowd, object_at({200, 0, 210, 10})});
  // IoU with the crowd is far below 0.5; the share of the detection in it is 1.
  const std::vector<Detection> found = {{0, 0, 0.9f, {0, 0, 10, 10}},
                                        {0, 0, 0.8f, {50, 50, 70, 70}},
                                        {0, 0, 0.7f, {200, 0, 210, 10}}};
  CHECK(evaluate_coco(truth, found).numbers.ap == Approx(1));
  CHECK(evaluate_coco(truth, found).classes[0].ignored_objects == 1);
  // A difficult object takes one.
  Object difficult = object_at({0, 0, 10, 10});
  difficult.difficult = true;
  const Dataset other = one_picture({difficult, object_at({200, 0, 210, 10})});
  const std::vector<Detection> twice = {{0, 0, 0.9f, {0, 0, 10, 10}},
                                        {0, 0, 0.7f, {200, 0, 210, 10}}};
  CHECK(evaluate_coco(other, twice).numbers.ap == Approx(1));
}

TEST_CASE("COCO metric: the mask's area decides about small, medium and large") {
  Object object = object_at({0, 0, 100, 100});
  object.area = 500;
  const CocoNumbers numbers =
      evaluate_coco(one_picture({object}), {{0, 0, 0.9f, {0, 0, 100, 100}}}).numbers;
  CHECK(numbers.ap_small == Approx(1));
  CHECK(numbers.ap_medium == -1);
  CHECK(numbers.ap_large == -1);
  const CocoNumbers box = evaluate_coco(one_picture({object_at({0, 0, 100, 100})}), {}).numbers;
  CHECK(box.ap_small == -1);
  CHECK(box.ap_large == 0);
}

TEST_CASE("bootstrap: a resample has the metrics of the pictures that it drew, crowds included") {
  const Case c = golden_case("ordinary");
  const size_t pictures = c.truth.images.size();
  constexpr int kResamples = 9;
  constexpr uint64_t kSeed = 5;
  const BootstrapResult found = bootstrap(
      c.truth, c.detections, evaluate_voc(c.truth, c.detections), {kResamples, kSeed, 1 - 1e-9});
  CHECK(found.coco_ap.value == evaluate_coco(c.truth, c.detections).numbers.ap);
  // The same pictures as a data set of its own, each as often as it was drawn.
  std::vector<double> ap, map;
  for (int r = 0; r < kResamples; ++r) {
    Dataset set;
    set.class_names = c.truth.class_names;
    std::vector<Detection> detections;
    const kernels::RandomKey key{kSeed, kernels::kStreamBootstrap, static_cast<uint64_t>(r)};
    for (size_t i = 0; i < pictures; ++i) {
      const auto drawn = kernels::random_below(key, i, static_cast<uint32_t>(pictures));
      for (Detection d : c.detections)
        if (d.image == drawn) {
          d.image = static_cast<int64_t>(i);
          detections.push_back(d);
        }
      set.images.push_back(c.truth.images[drawn]);
      set.images.back().number = -1;
    }
    ap.push_back(evaluate_coco(set, detections).numbers.ap);
    map.push_back(evaluate_voc(set, detections).map_area);
  }
  CHECK(found.coco_ap.low == Approx(*std::min_element(ap.begin(), ap.end())).epsilon(1e-6));
  CHECK(found.coco_ap.high == Approx(*std::max_element(ap.begin(), ap.end())).epsilon(1e-6));
  CHECK(found.map_area.low == Approx(*std::min_element(map.begin(), map.end())).epsilon(1e-6));
  CHECK(found.map_area.high == Approx(*std::max_element(map.begin(), map.end())).epsilon(1e-6));
}

TEST_CASE("COCO metric: rejects what it cannot rank") {
  const Dataset truth = one_picture({});
  CHECK_THROWS_WITH(evaluate_coco(truth, {{0, 0, std::nanf(""), {}}}),
                    mentions("expected finite numbers"));
  CHECK_THROWS_WITH(evaluate_coco(truth, {{1, 0, 0.5f, {}}}), mentions("a picture below 1, got 1"));
}
