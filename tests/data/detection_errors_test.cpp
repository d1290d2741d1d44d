#include "data/detection_errors.h"

#include <cmath>

#include "tests/data/small_sets.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

Box box_of(const double* values) {
  return {float(values[0]), float(values[1]), float(values[2]), float(values[3])};
}

ErrorShare share(const ErrorResult& result, ErrorKind kind) {
  return result.kinds[static_cast<size_t>(kind)];
}

}  // namespace

TEST_CASE("error shares: counts and gains of the TIDE paper's program") {
  const auto names = golden_members("tide", "/");
  CHECK(names.size() == 3);
  for (const std::string& name : names) {
    INFO("case " << name);
    Dataset truth;
    truth.images.resize(static_cast<size_t>(golden_attribute("tide", name, "images")));
    for (int k = 0; k < static_cast<int>(golden_attribute("tide", name, "classes")); ++k)
      truth.class_names.push_back(std::to_string(k));
    const auto objects = golden_f64("tide", name + "/objects");
    for (size_t i = 0; i < objects.values.size(); i += 8) {
      const double* o = &objects.values[i];
      truth.images.at(static_cast<size_t>(o[0]))
          .objects.push_back(object_at(box_of(o + 2), int(o[1])));
    }
    const auto found = golden_f64("tide", name + "/detections");
    std::vector<Detection> detections;
    for (size_t i = 0; i < found.values.size(); i += 7) {
      const double* d = &found.values[i];
      detections.push_back({int64_t(d[0]), int(d[1]), float(d[2]), box_of(d + 3)});
    }
    const ErrorResult result = detection_errors(truth, detections);
    std::vector<double> actual = {result.map};
    for (const ErrorShare& kind : result.kinds) actual.push_back(static_cast<double>(kind.count));
    for (const ErrorShare& kind : result.kinds) actual.push_back(kind.gain);
    actual.push_back(result.false_positive_gain);
    actual.push_back(result.false_negative_gain);
    const auto expected = golden_f64("tide", name + "/expected");
    FRCNN_CHECK_SAME(std::span<const double>(actual), std::span<const double>(expected.values), 0,
                     1e-9);
  }
}

TEST_CASE("error shares: one of each kind") {
  const Dataset truth = one_picture({
      object_at({0, 0, 10, 10}, 0),     // found twice
      object_at({100, 0, 110, 10}, 0),  // found with a poor box
      object_at({200, 0, 210, 10}, 1),  // found as a cat
      object_at({300, 0, 310, 10}, 1),  // nobody finds it
      object_at({400, 0, 410, 10}, 1),  // poor box and wrong class
  });
  const std::vector<Detection> found = {
      {0, 0, 0.9f, {0, 0, 10, 10}},   {0, 0, 0.8f, {0, 0, 10, 9}},
      {0, 0, 0.7f, {100, 0, 110, 4}}, {0, 0, 0.6f, {200, 0, 210, 10}},
      {0, 0, 0.5f, {400, 0, 410, 3}}, {0, 0, 0.4f, {50, 50, 60, 60}},
  };
  const ErrorResult result = detection_errors(truth, found);
  CHECK(share(result, ErrorKind::duplicate).count == 1);
  CHECK(share(result, ErrorKind::localisation).count == 1);
  CHECK(share(result, ErrorKind::classification).count == 1);
  CHECK(share(result, ErrorKind::both).count == 1);
  CHECK(share(result, ErrorKind::background).count == 1);
  CHECK(share(result, ErrorKind::missed).count == 2);
  REQUIRE(result.errors.size() == 7);
  CHECK(result.errors[0].kind == ErrorKind::duplicate);
  CHECK(result.errors[0].object == 0);
  CHECK(result.errors[1].object == 1);
  CHECK(result.errors[2].object == 2);
  CHECK(result.errors[5].detection == -1);
  CHECK(result.errors[5].object == 3);
  // Cats: 1 of 2 found at rank 1: AP 51/101. Dogs: nothing.
  CHECK(result.map == Approx(51.0 / 101 / 2));
  // With the poor box mended, precision at recall 1 is 2/3.
  CHECK(share(result, ErrorKind::localisation).gain == Approx(50 * (2.0 / 3) / 101 / 2));
  // The cat becomes the first of three dogs.
  CHECK(share(result, ErrorKind::classification).gain == Approx(34.0 / 101 / 2));
  // Without the two dogs nobody finds, one dog is left, which is not found either.
  CHECK(share(result, ErrorKind::missed).gain == 0);
  CHECK(share(result, ErrorKind::background).gain == 0);  // ranked last
}

TEST_CASE("error shares: difficult objects and crowds make no errors") {
  Object difficult = object_at({0, 0, 10, 10});
  difficult.difficult = true;
  Object crowd = object_at({100, 100, 200, 200});
  crowd.crowd = true;
  const Dataset truth = one_picture({difficult, crowd, object_at({50, 0, 60, 10})});
  const ErrorResult result = detection_errors(truth, {{0, 0, 0.9f, {0, 0, 10, 10}},
                                                      {0, 0, 0.8f, {110, 110, 120, 120}},
                                                      {0, 0, 0.7f, {50, 0, 60, 10}}});
  CHECK(result.errors.empty());
  CHECK(result.map == Approx(1));
}

TEST_CASE("error shares: nothing detected, nothing to detect") {
  const ErrorResult none = detection_errors(one_picture({object_at({0, 0, 10, 10})}), {});
  CHECK(none.map == 0);
  CHECK(share(none, ErrorKind::missed).count == 1);
  CHECK(std::isnan(detection_errors(one_picture({}), {}).map));
  CHECK_THROWS_WITH(detection_errors(one_picture({}), {}, {0.5, 0.6, 100}),
                    mentions("expected 0 < background < right <= 1, got 0.6 and 0.5"));
}
