#include "model/why.h"

#include <cmath>
#include <functional>

#include "data/evaluate.h"
#include "model/detections.h"
#include "tests/model/small_detector.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

const std::vector<std::string> kClasses = {"cat", "dog"};
constexpr Box kObject = {20, 20, 60, 60};
constexpr Box kShifted = {36, 20, 76, 60};  // IoU 3/7 with the object: does not reach it
constexpr Box kFar = {0, 70, 30, 99};

/// What the network says about one anchor.
struct Saying {
  Box anchor;
  float objectness = 3;                      // logit
  std::array<float, 3> classes = {0, 5, 0};  // logits of background, cat, dog
  float rpn_shift = 0, head_shift = 0;       // tx, in widths
};

/// An inference whose network said what the test wants; the steps between are the real ones.
struct Scene {
  ModelConfig config;
  InputSize size{100, 100, 1, 1};
  std::vector<Saying> sayings;
  JudgedTruth truth{{{kObject}, {0}}, {0}, {}};

  Scene() {
    config.rpn.objectness = "sigmoid";
    config.rpn.test = {10, 10, 0.7, 2};
    config.roi.box_std = {1, 1, 1, 1};
    config.test = {0.3, 0.3, 10, 0};
    sayings = {{kObject}};
  }

  InferenceRecord record() const {
    const auto count = static_cast<int64_t>(sayings.size());
    std::vector<float> anchors, logits, deltas;
    for (const Saying& s : sayings) {
      for (const float v : {s.anchor.x1, s.anchor.y1, s.anchor.x2, s.anchor.y2})
        anchors.push_back(v);
      logits.push_back(s.objectness);
      for (const float v : {s.rpn_shift, 0.0F, 0.0F, 0.0F}) deltas.push_back(v);
    }
    InferenceRecord record;
    record.anchors = Tensor::from({count, 4}, anchors);
    record.rpn = {Tensor::from({count, 1}, logits), Tensor::from({count, 4}, deltas), 1, 1};
    record.proposals =
        make_proposals(record.rpn, record.anchors, {size}, config.rpn, config.rpn.test);
    record.rois = record.proposals.rois();
    std::vector<float> scores, boxes;
    for (int64_t r = 0; r < record.rois.dim(0); ++r) {
      const Saying& s = sayings[static_cast<size_t>(record.proposals.sources.data<int32_t>()[r])];
      scores.insert(scores.end(), s.classes.begin(), s.classes.end());
      for (int k = 0; k < 3; ++k)
        for (const float v : {s.head_shift, 0.0F, 0.0F, 0.0F}) boxes.push_back(v);
    }
    record.roi = {Tensor::from({record.rois.dim(0), 3}, scores),
                  Tensor::from({record.rois.dim(0), 12}, boxes)};
    record.detections =
        select_detections(record.roi, record.rois, {size}, config.roi, config.test, 2)[0];
    return record;
  }

  PictureExplanation explain() const {
    const InferenceRecord made = record();
    const InferenceTrace trace = trace_inference(made, size, config, 2);
    const AnchorMatches matches = match_anchors(made.anchors, size, truth.objects, config.rpn);
    return explain_picture(trace, truth, matches, config, size, kClasses);
  }

  /// The only missed object; fails where there is another number of them.
  MissedObject missed() const {
    const PictureExplanation e = explain();
    REQUIRE(e.missed.size() == 1);
    return e.missed[0];
  }
};

/// "stage: sentence".
std::string said(const MissedObject& m) {
  return std::string(name_of(m.stage)) + ": " + m.sentence;
}

#define CHECK_SAYS(missed, text)               \
  do {                                         \
    const std::string sentence = said(missed); \
    INFO(sentence);                            \
    CHECK(sentence.find(text) == 0);           \
  } while (false)

}  // namespace

TEST_CASE("why: a found object is not explained") {
  const PictureExplanation e = Scene().explain();
  CHECK(e.missed.empty());
  CHECK(e.wrong.empty());
  CHECK(e.right == 1);
  CHECK(e.found_by == std::vector<int64_t>{0});
}

TEST_CASE("why: lost at the anchors") {
  Scene s;
  s.sayings = {{kFar}};
  CHECK_SAYS(s.missed(), "anchors: no anchor is trained to be it: no anchor overlaps it");
  CHECK(s.missed().anchors.best_anchor == -1);
  s.sayings = {{kShifted}};
  s.config.rpn.match_best = false;
  CHECK_SAYS(s.missed(),
             "anchors: no anchor is trained to be it: its best anchor has IoU 0.43, below "
             "rpn.positive_iou = 0.7, and rpn.match_best = false; anchors.sizes near 40 and "
             "anchors.ratios near 1.00 would fit it");
  CHECK(s.missed().anchor_label == -1);
  s.sayings = {{{-30, 20, 35, 60}}};
  s.config.rpn.match_best = true;
  CHECK_SAYS(s.missed(),
             "anchors: no anchor is trained to be it: only anchors across the border overlap it "
             "(IoU 0.17), which rpn.only_inside = true leaves out");
}

TEST_CASE("why: lost by the RPN's box regression") {
  Scene s;
  s.sayings[0].rpn_shift = 1;
  const MissedObject m = s.missed();
  CHECK_SAYS(m, "rpn_boxes: no anchor's decoded box reaches IoU 0.5 (best 0.00, its anchor 1.00)");
  CHECK(m.anchor_iou == 1);
  CHECK(m.anchor_label == 1);
  CHECK(m.anchors.positives == 1);
}

TEST_CASE("why: lost to the least size of proposals") {
  Scene s;
  s.sayings.push_back({{0, 0, 99, 99}, 2});
  s.config.rpn.test.min_size = 50;
  for (const char* filter : {"before", "after"}) {
    s.config.rpn.size_filter = filter;
    CHECK_SAYS(s.missed(),
               "rpn_min_size: rpn.test.min_size = 50 cut it: its proposal is 40 x 40 pixels");
    CHECK(s.missed().rank == (s.config.rpn.size_filter == "before" ? -1 : 0));
  }
}

TEST_CASE("why: lost to the limit in front of suppression") {
  Scene s;
  s.sayings.push_back({kFar, 4});
  s.config.rpn.test.pre_nms = 1;
  const MissedObject m = s.missed();
  CHECK_SAYS(m, "pre_nms: rpn.test.pre_nms = 1 cut it at rank 2 (objectness 0.9526)");
  CHECK(m.rank == 1);
  CHECK(m.roi == -1);
}

TEST_CASE("why: lost to the suppression of proposals") {
  Scene s;
  s.sayings.push_back({kShifted, 4});
  s.config.rpn.test.nms_iou = 0.3;
  const MissedObject m = s.missed();
  CHECK_SAYS(m,
             "rpn_nms: rpn.test.nms_iou = 0.3: a proposal of objectness 0.982 that overlaps its "
             "best one with IoU 0.43, and the object with 0.43, suppressed it");
  CHECK(m.proposal_suppressor.by == 1);
  CHECK(m.proposal_suppressor.iou == Approx(3.0 / 7));
}

TEST_CASE("why: lost to the limit behind suppression") {
  Scene s;
  s.sayings.push_back({kFar, 4});
  s.config.rpn.test.post_nms = 1;
  CHECK_SAYS(s.missed(), "post_nms: rpn.test.post_nms = 1 cut it at rank 2 of those left");
}

TEST_CASE("why: lost by the head's box regression") {
  Scene s;
  s.sayings[0].head_shift = 1;
  const MissedObject m = s.missed();
  CHECK_SAYS(m, "head_boxes: the head's box moved away: IoU 1.00 as RoI, 0.00 as cat (p = 0.987)");
  CHECK(m.roi == 0);
  CHECK(m.roi_iou == 1);
}

TEST_CASE("why: lost to the threshold of scores") {
  Scene s;
  s.sayings[0].classes = {3, 1, 0};
  const MissedObject m = s.missed();
  CHECK_SAYS(m, "score: test.score = 0.3 cut it: p(cat) = 0.114; background has 0.844");
  CHECK(m.winner == -1);
  CHECK(m.final_iou == 1);
  s.sayings[0].classes = {0, 1, 3};
  CHECK_SAYS(s.missed(), "score: test.score = 0.3 cut it: p(cat) = 0.114; dog has 0.844");
}

TEST_CASE("why: lost to the least size of detections") {
  Scene s;
  s.config.test.min_size = 50;
  CHECK_SAYS(s.missed(), "min_size: test.min_size = 50 cut it: its box is 40 x 40 pixels");
}

TEST_CASE("why: lost to the suppression of detections") {
  Scene s;
  s.sayings.push_back({kShifted, 2, {0, 6, 0}});
  const MissedObject m = s.missed();
  CHECK_SAYS(m,
             "nms: test.nms_iou = 0.3: a cat of score 0.995 (no object's) that overlaps it with "
             "IoU 0.43 suppressed it (score 0.987)");
  CHECK(m.suppressor.by == 1 * 2 + 0);
}

TEST_CASE("why: lost to the number of detections") {
  Scene s;
  s.sayings.push_back({kFar, 2, {0, 6, 0}});
  s.config.test.max_detections = 1;
  CHECK_SAYS(s.missed(), "max_detections: test.max_detections = 1 cut it at rank 2 (score 0.987)");
}

TEST_CASE("why: a detection that counts for another object") {
  Scene s;
  s.truth = {{{kObject, {30, 20, 70, 60}}, {0, 0}}, {0, 0}, {}};
  s.sayings = {{{28, 20, 68, 60}}};
  const MissedObject m = s.missed();
  CHECK(m.object == 0);
  CHECK_SAYS(m, "matching: each cat found on it (best score 0.987, IoU 0.67) overlaps another");
}

TEST_CASE("why: kinds of false detections") {
  const auto kind = [](const Scene& s) {
    const PictureExplanation e = s.explain();
    REQUIRE(e.wrong.size() == 1);
    CHECK(!e.wrong[0].sentence.empty());
    return std::string(name_of(e.wrong[0].kind));
  };
  Scene s;
  s.sayings.push_back({{26, 20, 66, 60}, 2, {0, 4, 0}});
  s.config.rpn.test.nms_iou = s.config.test.nms_iou = 0.9;
  CHECK(kind(s) == "duplicate");
  s.sayings = {{kShifted}};
  CHECK(kind(s) == "localisation");
  s.sayings = {{kObject, 3, {0, 0, 5}}};
  CHECK(kind(s) == "confusion");
  s.sayings = {{kShifted, 3, {0, 0, 5}}};
  CHECK(kind(s) == "both");
  s.sayings = {{kFar}};
  CHECK(kind(s) == "background");
  CHECK(s.explain().wrong[0].nearest == -1);
}

TEST_CASE("why: difficult objects and crowds are not judged") {
  Scene s;
  s.truth.difficult = {1};
  CHECK(s.explain().not_judged == 1);
  s.sayings[0].classes = {5, 0, 0};
  CHECK(s.explain().missed.empty());
  Scene crowd;
  crowd.truth = {{}, {}, {{{0, 0, 100, 100}}, {0}}};
  CHECK(crowd.explain().wrong.empty());
  CHECK(crowd.explain().not_judged == 1);
  crowd.truth.crowds.labels = {1};
  CHECK(crowd.explain().wrong.size() == 1);
}

TEST_CASE("the trace of a picture ends in the detections of detect()") {
  ModelConfig config = small_config();
  config.test = {0.2, 0.4, 8, 3};
  for (const char* filter : {"before", "after"}) {
    config.rpn.size_filter = filter;
    const FasterRcnn model(config, 3, 5);
    for (uint64_t seed = 0; seed < 4; ++seed) {
      const ModelInput input = noise(1, 40, 52, seed);
      const InferenceRecord record = model.record(input);
      const auto found = model.detect(input)[0];
      const InferenceTrace trace = trace_inference(record, input.sizes[0], config, 3);
      REQUIRE(trace.detections.size() == found.size());
      REQUIRE(!found.empty());
      for (size_t i = 0; i < found.size(); ++i) {
        CHECK(trace.detections[i].box == found[i].box);
        CHECK(trace.detections[i].score == found[i].score);
        const DetectionTrace& box = trace.boxes.at(static_cast<size_t>(trace.sources.at(i)));
        CHECK(box.detection == static_cast<int64_t>(i));
      }
      int64_t kept = 0;
      for (size_t a = 0; a < trace.proposals.size(); ++a) {
        const ProposalTrace& p = trace.proposals[a];
        kept += p.end == ProposalEnd::kept;
        const Suppression by = trace.proposal_suppressor(static_cast<int64_t>(a));
        CHECK((by.by >= 0) == (p.end == ProposalEnd::suppressed));
        if (by.by < 0) continue;
        CHECK(by.iou > config.rpn.test.nms_iou);
        CHECK(trace.proposals[static_cast<size_t>(by.by)].rank < p.rank);
      }
      CHECK(kept == record.rois.dim(0));
      for (size_t row = 0; row < trace.boxes.size(); ++row)
        CHECK((trace.detection_suppressor(static_cast<int64_t>(row)).by >= 0) ==
              (trace.boxes[row].end == DetectionEnd::suppressed));
    }
  }
}

TEST_CASE("a record that was not this model's is refused") {
  const ModelConfig config = small_config();
  const FasterRcnn model(config, 3, 5);
  const ModelInput input = noise(1, 40, 52, 1);
  InferenceRecord record = model.record(input);
  REQUIRE(!record.detections.empty());
  record.detections[0].score += 0.01F;
  CHECK_THROWS_AS(trace_inference(record, input.sizes[0], config, 3), Error);
  record = model.record(input);
  ModelConfig other = config;
  other.rpn.test.nms_iou = 0.1;
  CHECK_THROWS_AS(trace_inference(record, input.sizes[0], other, 3), Error);
  CHECK_THROWS_AS(model.record(noise(2, 40, 52, 1)), Error);
}

TEST_CASE("explanations judge detections as the evaluation does") {
  ModelConfig config = small_config();
  config.test = {0.1, 0.5, 20, 0};
  const FasterRcnn model(config, 3, 5);
  Dataset set;
  set.class_names = {"a", "b", "c"};
  std::vector<Detection> all;
  int64_t right = 0, wrong = 0, not_judged = 0, missed = 0;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const ModelInput input = noise(1, 40, 52, seed);
    const InferenceRecord record = model.record(input);
    const auto index = static_cast<int64_t>(seed);
    const auto jitter = random_vector<float>(400, -3, 3, 100 + seed);
    JudgedTruth truth;
    ImageRecord image;
    for (size_t i = 0; i < record.detections.size(); ++i) {
      const ScoredBox& d = record.detections[i];
      all.push_back({index, d.label, d.score, d.box});
      if (i % 3 == 2) continue;
      Object object;
      object.box = {d.box.x1 + jitter[4 * i], d.box.y1, d.box.x2 + 4 + jitter[4 * i + 1],
                    d.box.y2 + 4 + jitter[4 * i + 2]};
      object.label = i % 5 == 4 ? 0 : d.label;
      object.difficult = i % 4 == 3;
      image.objects.push_back(object);
      truth.objects.boxes.push_back(object.box);
      truth.objects.labels.push_back(object.label);
      truth.difficult.push_back(object.difficult ? 1 : 0);
    }
    set.images.push_back(image);
    const InferenceTrace trace = trace_inference(record, input.sizes[0], config, 3);
    const PictureExplanation e = explain_picture(
        trace, truth, match_anchors(record.anchors, input.sizes[0], truth.objects, config.rpn),
        config, input.sizes[0], set.class_names);
    right += e.right;
    wrong += static_cast<int64_t>(e.wrong.size());
    missed += static_cast<int64_t>(e.missed.size());
    not_judged += e.not_judged;
  }
  int64_t true_positives = 0, false_positives = 0, objects = 0;
  for (const ClassResult& c : evaluate_voc(set, all).classes) {
    true_positives += c.true_positives;
    false_positives += c.false_positives;
    objects += c.objects;
  }
  CHECK(right > 10);
  CHECK(wrong > 10);
  CHECK(not_judged > 0);
  CHECK(right == true_positives);
  CHECK(wrong == false_positives);
  CHECK(missed == objects - true_positives);
}

TEST_CASE("anchor matches are the labels of training and the best overlaps") {
  const ModelConfig config = small_config();
  const FasterRcnn model(config, 3, 5);
  const Tensor anchors = model.anchors(10, 13, 40, 52);
  const InputSize size{40, 52, 1, 1};
  RpnConfig rpn = config.rpn;
  for (const bool inside : {false, true}) {
    rpn.only_inside = inside;
    const GroundTruth truth = two_objects()[0];
    const AnchorMatches m = match_anchors(anchors, size, truth, rpn);
    CHECK(m.positives + m.negatives + m.ignored + m.outside == anchors.dim(0));
    CHECK((m.outside > 0) == inside);
    CHECK(m.objects[0].positives + m.objects[1].positives == m.positives);
    for (size_t i = 0; i < truth.boxes.size(); ++i) {
      float best = 0;
      for (int64_t a = 0; a < anchors.dim(0); ++a) {
        const float* b = anchors.data<float>() + 4 * a;
        if (m.used[static_cast<size_t>(a)])
          best = std::max(best, iou<float>({b[0], b[1], b[2], b[3]}, truth.boxes[i]));
      }
      CHECK(m.objects[i].best_iou == best);
      CHECK(m.labels[static_cast<size_t>(m.objects[i].best_anchor)] == 1);
      CHECK(m.objects[i].best_iou_of_all >= best);
    }
  }
}
