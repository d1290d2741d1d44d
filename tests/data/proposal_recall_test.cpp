#include "data/proposal_recall.h"

#include <cmath>

#include "kernels/launch/check.h"
#include "tests/support/catch.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

TEST_CASE("proposal recall: objects covered by the best boxes, difficult ones not counted") {
  Dataset set;
  set.class_names = {"cat"};
  // IoU with (0, 0, 10, 10): of (0, 0, 10, 6) 0.6, of (0, 0, 10, 8) 0.8.
  set.images.push_back({"a", "", 100, 100, {{{0, 0, 10, 10}, 0}, {{50, 50, 60, 60}, 0}}, ""});
  Object difficult{{1, 1, 9, 9}, 0};
  difficult.difficult = true;
  set.images.push_back({"b", "", 100, 100, {difficult, {{20, 20, 30, 30}, 0}}, ""});
  const std::vector<std::vector<Box>> boxes = {{{0, 0, 10, 6}, {0, 0, 10, 8}, {50, 50, 60, 60}},
                                               {{20, 20, 30, 30}}};
  const ProposalRecall recall = evaluate_proposals(set, boxes, {1, 2, 3});
  CHECK(recall.objects == 3);
  CHECK(recall.boxes_per_picture == 2);
  REQUIRE(recall.at.size() == 3);
  CHECK(recall.at[0].recall50 == Approx(2.0 / 3));  // 0.6 and 1
  CHECK(recall.at[0].recall70 == Approx(1.0 / 3));
  CHECK(recall.at[1].recall70 == Approx(2.0 / 3));  // 0.8 and 1
  CHECK(recall.at[2].recall70 == Approx(1));
  // Limits 0.5, 0.55, 0.6 take the first object, too (0.6 as a float is a little above 0.6).
  CHECK(recall.at[0].average == Approx((10 + 3) / 30.0));
  CHECK(recall.at[2].average == Approx((10 + 10 + 7) / 30.0));
  CHECK_THROWS_WITH(evaluate_proposals(set, {}), Catch::Matchers::Contains("2 pictures, got 0"));
}

TEST_CASE("proposal recall: a set without objects has none") {
  Dataset set;
  set.images.push_back({"a", "", 100, 100, {}, ""});
  const ProposalRecall recall = evaluate_proposals(set, {{{0, 0, 1, 1}}}, {10});
  CHECK(recall.objects == 0);
  CHECK(std::isnan(recall.at[0].recall50));
  CHECK(std::isnan(recall.at[0].average));
}

TEST_CASE("recall of detections: by falling score whatever the class, crowds not counted") {
  Dataset set;
  set.class_names = {"cat", "dog"};
  Object cat, crowd;
  cat.box = {0, 0, 10, 10};
  crowd.box = {50, 50, 60, 60}, crowd.crowd = true;
  set.images.emplace_back().objects = {cat, crowd};
  const std::vector<Detection> found = {{0, 0, 0.2F, {0, 0, 10, 8}},
                                        {0, 1, 0.9F, {0, 0, 10, 6}}};  // IoU 0.8 and 0.6
  const ProposalRecall recall = evaluate_recall(set, found, {1, 2});
  CHECK(recall.objects == 1);
  CHECK(recall.at[0].average == Approx(0.3));
  CHECK(recall.at[1].average == Approx(0.7));
}
