// The graph as a whole: gradients, constants, translation, sampling rules, losses, detections.
#include "model/faster_rcnn.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/ops/elementwise.h"
#include "engine/tape.h"
#include "model/detections.h"
#include "model/trainer.h"
#include "tests/model/small_detector.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

struct Run {
  Losses losses;
  std::optional<Samples> samples;
};

Run run_losses(const FasterRcnn& model, const ModelInput& input,
               const std::vector<GroundTruth>& truth, std::optional<Samples> given = {}) {
  Run run;
  run.samples = std::move(given);
  Tape tape;
  {
    Tape::Scope recording(tape);
    run.losses = model.losses(input, truth, {3, 0}, &run.samples);
  }
  tape.backward(run.losses.total);
  return run;
}

}  // namespace

TEST_CASE("gradient check of the whole detector in float64, every parameter, softmax and sigmoid") {
  for (const bool softmax : {true, false}) {
    ModelConfig config = small_config();
    config.rpn.objectness = softmax ? "softmax" : "sigmoid";
    config.roi.layer = softmax ? "roi_pool" : "roi_align";
    config.roi.class_agnostic = !softmax;
    config.rpn.normaliser = softmax ? "paper" : "batch";
    config.rpn.lambda = softmax ? 10 : 1;
    FasterRcnn model(config, 3, 11, DType::f64);
    for (const Parameter& p : model.parameters().all())  // no unit sits on the kink of its ReLU
      if (p.kind == ParameterKind::bias) {
        Tensor bias = p.tensor;
        Initializer{Initializer::Method::uniform, 0.3}.fill(
            bias, {5, 8, static_cast<uint64_t>(bias.numel())});
      }
    const ModelInput input = noise(1, 32, 36, 5);
    const auto truth = two_objects();
    const Run run = run_losses(model, input, truth);
    CHECK(run.losses.rpn_box.item() > 0);
    CHECK(run.losses.roi_box.item() > 0);
    const auto value = [&] {
      const Tape::NoGrad no_grad;
      std::optional<Samples> samples = run.samples;
      return model.losses(input, truth, {3, 0}, &samples).total.item();
    };
    for (const Parameter& p : model.parameters().all()) {
      Tensor w = p.tensor;
      const size_t stride = std::max<size_t>(1, w.span<double>().size() / 7);
      for (size_t i = 0; i < w.span<double>().size(); i += stride) {
        double& x = w.span<double>()[i];
        const double kept = x, step = 1e-6;
        x = kept + step;
        const double up = value();
        x = kept - step;
        const double down = value();
        x = kept;
        INFO(p.name << "[" << i << "]");
        CHECK(w.grad().span<double>()[i] ==
              Approx((up - down) / (2 * step)).epsilon(1e-4).margin(1e-7));
      }
    }
  }
}

TEST_CASE(
    "A16 approximate joint training: the detector's loss has no gradient in the RPN's boxes") {
  ModelConfig config = small_config();
  FasterRcnn model(config, 3, 11);
  const ModelInput input = noise(1, 32, 36, 5);
  Tape tape;
  Tensor detector_loss;
  {
    Tape::Scope recording(tape);
    std::optional<Samples> samples;
    const Losses losses = model.losses(input, two_objects(), {3, 0}, &samples);
    detector_loss = weighted_sum({losses.roi_class, losses.roi_box}, {1, 1});
  }
  tape.backward(detector_loss);
  const auto gradient = [&](const std::string& name) {
    return model.parameters().find(name)->tensor.grad();
  };
  // The RPN's own layers are not even reached; the shared backbone is.
  CHECK_FALSE(gradient("rpn.box.weight").defined());
  CHECK_FALSE(gradient("rpn.box.bias").defined());
  CHECK_FALSE(gradient("rpn.conv.weight").defined());
  REQUIRE(gradient("backbone.conv1.weight").defined());
  double largest = 0;
  for (const float g : gradient("backbone.conv1.weight").span<float>())
    largest = std::max(largest, double(std::abs(g)));
  CHECK(largest > 0);
}

TEST_CASE("A13 translation: a shift by one stride shifts interior proposals by one stride") {
  ModelConfig config = small_config();
  config.rpn.test = {100000, 100000, 1.0, 0};  // every anchor's box, no suppression
  const FasterRcnn model(config, 3, 2);
  const int64_t h = 64, w = 72, stride = model.backbone_spec().stride();
  ModelInput here = noise(1, h, w, 9), there = here;
  there.images = Tensor::zeros({1, 3, h, w});
  for (int64_t row = 0; row < 3 * h; ++row)  // everything moves right by one stride
    std::copy_n(here.images.data<float>() + row * w, w - stride,
                there.images.data<float>() + row * w + stride);
  const auto proposals = [&](const ModelInput& input) {
    const Tape::NoGrad no_grad;
    const RpnOutput out = model.rpn(model.features(input.images, false));
    return out;
  };
  const RpnOutput a = proposals(here), b = proposals(there);
  const int64_t anchors = model.anchors_per_cell();
  int64_t compared = 0;
  for (int64_t y = 4; y < a.map_h - 4; ++y)
    for (int64_t x = 4; x < a.map_w - 5; ++x)
      for (int64_t k = 0; k < anchors * 4; ++k) {
        const float from = a.deltas.data<float>()[(y * a.map_w + x) * anchors * 4 + k];
        const float to = b.deltas.data<float>()[(y * a.map_w + x + 1) * anchors * 4 + k];
        if (!(std::abs(from - to) <= 1e-5))
          FAIL("cell " << y << ", " << x << ": " << from << " became " << to);
        ++compared;
      }
  CHECK(compared > 500);
  // The anchors themselves move by exactly one stride from cell to cell.
  const Tensor grid = model.anchors(a.map_h, a.map_w, h, w);
  for (int64_t k = 0; k < anchors; ++k)
    CHECK(grid.data<float>()[(anchors + k) * 4] - grid.data<float>()[k * 4] == float(stride));
}

TEST_CASE(
    "A6 A9 A10 A19 anchor sampling: 256 per image, up to half positive, crossing ones ignored") {
  ModelConfig config;
  config.backbone.frozen_until = "";
  config.roi.hidden = {8};
  const FasterRcnn model(config, 20);
  const int64_t h = 600, w = 1000, map_h = 37, map_w = 62;
  const Tensor anchors = model.anchors(map_h, map_w, h, w);
  CHECK(anchors.dim(0) == 20646);
  std::vector<GroundTruth> truth = {{{{100, 100, 300, 350}, {420, 40, 800, 500}}, {4, 7}}};
  RpnConfig rpn = config.rpn;
  const RpnTargets t =
      sample_anchors(anchors, {{h, w, 1, 1}}, truth, rpn, {1, kernels::kStreamAnchorSample, 0});
  CHECK(t.sampled == 256);
  CHECK(t.positives > 0);
  CHECK(t.positives <= 128);
  int64_t sampled = 0;
  for (int64_t i = 0; i < anchors.dim(0); ++i) {
    const int32_t label = t.labels.data<int32_t>()[i];
    if (label < 0) continue;
    ++sampled;
    const float* b = anchors.data<float>() + 4 * i;
    CHECK((b[0] >= 0 && b[1] >= 0 && b[2] <= w && b[3] <= h));
    float best = 0;
    for (const Box& object : truth[0].boxes)
      best = std::max(best, iou(Box{b[0], b[1], b[2], b[3]}, object));
    if (label == 0) CHECK(best < 0.3f);
  }
  CHECK(sampled == 256);

  // More positives than half of the mini-batch: exactly half are taken.
  rpn.positive_iou = 0.3;
  rpn.negative_iou = 0.3;
  const RpnTargets many = sample_anchors(anchors, {{h, w, 1, 1}}, truth, rpn, {1, 4, 0});
  CHECK(many.positives == 128);
  CHECK(many.sampled == 256);
}

TEST_CASE("A6 matching: each object has a positive anchor, however small its overlap") {
  ModelConfig config = small_config();
  const FasterRcnn model(config, 3, 2);
  const Tensor anchors = model.anchors(8, 9, 32, 36);
  RpnConfig rpn = config.rpn;
  rpn.batch = 100000;
  std::vector<GroundTruth> truth = {{{{1, 1, 4, 4}}, {0}}};  // far smaller than every anchor
  CHECK(sample_anchors(anchors, {{32, 36, 1, 1}}, truth, rpn, {1, 4, 0}).positives >= 1);
  rpn.match_best = false;
  CHECK(sample_anchors(anchors, {{32, 36, 1, 1}}, truth, rpn, {1, 4, 0}).positives == 0);
}

TEST_CASE(
    "A20 proposals: 12000 to 2000 in training, 6000 to 300 in testing, 16 px at original scale") {
  ModelConfig config;
  CHECK(config.rpn.train.pre_nms == 12000);
  CHECK(config.rpn.train.post_nms == 2000);
  CHECK(config.rpn.test.pre_nms == 6000);
  CHECK(config.rpn.test.post_nms == 300);
  CHECK(config.rpn.test.nms_iou == 0.7);
  config.backbone.frozen_until = "";
  config.roi.hidden = {8};
  const FasterRcnn model(config, 20);
  const int64_t map_h = 37, map_w = 50, h = 600, w = 800;
  const Tensor anchors = model.anchors(map_h, map_w, h, w);
  const int64_t count = anchors.dim(0);
  RpnOutput out;
  out.map_h = map_h;
  out.map_w = map_w;
  out.logits =
      Tensor::from({count, 2}, random_vector<float>(static_cast<size_t>(2 * count), -3, 3, 1));
  // Widths shrink to a twentieth at most: some boxes fall below the limit.
  out.deltas =
      Tensor::from({count, 4}, random_vector<float>(static_cast<size_t>(4 * count), -3, 0.3, 2));
  const std::vector<InputSize> sizes = {{h, w, 1.6, 1.6}};
  for (const bool training : {true, false}) {
    const Proposals p = model.propose(out, anchors, sizes, training);
    CHECK(p.counts[0] == (training ? 2000 : 300));
    CHECK(p.rois().shape() == Shape{p.counts[0], 5});
    for (int64_t i = 0; i < p.counts[0]; ++i) {
      const float* b = p.boxes.data<float>() + 4 * i;
      REQUIRE(b[2] - b[0] >= 16 * 1.6f);
      REQUIRE(b[3] - b[1] >= 16 * 1.6f);
      REQUIRE((b[0] >= 0 && b[1] >= 0 && b[2] <= w && b[3] <= h));
      if (i) REQUIRE(p.scores.data<float>()[i] <= p.scores.data<float>()[i - 1]);
      for (int64_t j = std::max<int64_t>(0, i - 50); j < i; ++j) {
        const float* o = p.boxes.data<float>() + 4 * j;
        REQUIRE(iou(Box{b[0], b[1], b[2], b[3]}, Box{o[0], o[1], o[2], o[3]}) <= 0.7f);
      }
    }
  }
}

TEST_CASE(
    "B4 F7 proposal targets: shares, thresholds, labels, objects added, background without "
    "overlap") {
  RoiConfig roi;
  roi.batch = 128;
  roi.foreground_fraction = 0.5;
  roi.foreground_iou = roi.background_high = 0.7;
  Proposals p{Tensor::zeros({1, 400, 4}), Tensor::zeros({1, 400}), {400}};
  const Box object{100, 100, 200, 200};
  for (int64_t i = 0; i < 400; ++i) {
    // Even rows: the object moved a little. Odd rows: far from it.
    const float shift = i % 2 ? 300 + float(i) : float(i % 20) / 4;
    const float box[4] = {100 + shift, 100, 200 + shift, 200};
    std::copy_n(box, 4, p.boxes.data<float>() + 4 * i);
  }
  const std::vector<GroundTruth> truth = {{{object}, {6}}};
  const RoiTargets t = sample_rois(p, truth, roi, {1, kernels::kStreamRoiSample, 0});
  CHECK(t.rois.shape() == Shape{128, 5});
  CHECK(t.foreground == 64);
  for (int64_t r = 0; r < 128; ++r) {
    const float* b = t.rois.data<float>() + 5 * r;
    const float overlap = iou(Box{b[1], b[2], b[3], b[4]}, object);
    const float* d = t.deltas.data<float>() + 4 * r;
    if (t.labels.data<int32_t>()[r] == 0) {
      CHECK(overlap < 0.7f);
      CHECK((d[0] == 0 && d[1] == 0 && d[2] == 0 && d[3] == 0));
    } else {
      CHECK(t.labels.data<int32_t>()[r] == 7);  // class 6 behind the background
      CHECK(overlap >= 0.7f);
      CHECK(d[0] == Approx((100 - b[1]) / 100 / 0.1).margin(1e-4));
    }
  }
  // Without a proposal near it, the object itself is the foreground; background_low shuts out the
  // rest.
  p.counts = {0};
  const RoiTargets alone = sample_rois(p, truth, roi, {1, 5, 0});
  CHECK(alone.rois.dim(0) == 1);
  CHECK(alone.foreground == 1);
  p.counts = {400};
  roi.background_low = 0.1;
  roi.append_ground_truth = false;
  CHECK(sample_rois(p, truth, roi, {1, 5, 0}).rois.dim(0) == 64);
  // An image without objects gives background only.
  roi.background_low = 0;
  const RoiTargets none = sample_rois(p, {{{}, {}}}, roi, {1, 5, 0});
  CHECK(none.foreground == 0);
  CHECK(none.rois.dim(0) == 128);
}

TEST_CASE("A7 F5 losses: the sum is lambda-weighted; images without objects give finite losses") {
  ModelConfig config = small_config();
  config.rpn.lambda = 10;
  config.roi.lambda = 3;
  FasterRcnn model(config, 3, 11);
  const Run run = run_losses(model, noise(1, 32, 36, 5), two_objects());
  CHECK(run.losses.total.item() ==
        Approx(run.losses.rpn_class.item() + 10 * run.losses.rpn_box.item() +
               run.losses.roi_class.item() + 3 * run.losses.roi_box.item()));
  const Run empty = run_losses(model, noise(1, 32, 36, 5), {{{}, {}}});
  CHECK(std::isfinite(empty.losses.total.item()));
  CHECK(empty.losses.rpn_box.item() == 0);
  CHECK(empty.losses.roi_box.item() == 0);
}

TEST_CASE("A7 normalisation: N_cls = 256 and N_reg = positions with the paper's normaliser") {
  ModelConfig config = small_config();
  const ModelInput input = noise(1, 32, 36, 5);
  FasterRcnn batch(config, 3, 11);
  const Run a = run_losses(batch, input, two_objects());
  config.rpn.normaliser = "paper";
  FasterRcnn paper(config, 3, 11);
  const Run b = run_losses(paper, input, two_objects(), a.samples);
  const double sampled = static_cast<double>(a.samples->rpn.sampled);
  CHECK(b.losses.rpn_class.item() * config.rpn.batch ==
        Approx(a.losses.rpn_class.item() * sampled));
  CHECK(b.losses.rpn_box.item() * 8 * 9 == Approx(a.losses.rpn_box.item() * sampled));
}

TEST_CASE("B3 F9 head: class-wise and class-agnostic boxes, sizes configurable, empty input") {
  ModelConfig config = small_config();
  config.roi.hidden = {40, 20};
  for (const bool agnostic : {false, true}) {
    config.roi.class_agnostic = agnostic;
    const FasterRcnn model(config, 3, 1);
    const Tensor map = Tensor::zeros({1, 6, 8, 9});
    const Tensor rois = Tensor::from({2, 5}, std::vector<float>{0, 1, 1, 9, 9, 0, 4, 4, 30, 30});
    const RoiOutput out = model.head().forward(map, rois, 4, 4, nullptr);
    CHECK(out.logits.shape() == Shape{2, 4});
    CHECK(out.deltas.shape() == Shape{2, agnostic ? 4 : 16});
    CHECK(model.head().forward(map, Tensor::zeros({0, 5}), 4, 4, nullptr).logits.shape() ==
          Shape{0, 4});
  }
}

TEST_CASE("detections: a batch gives what its images give alone, bit for bit") {
  const FasterRcnn model(small_config(), 3, 4);
  const ModelInput both = noise(2, 32, 36, 8);
  const auto together = model.detect(both);
  for (int64_t n = 0; n < 2; ++n) {
    ModelInput one;
    one.images = both.images.rows(n, 1).clone();
    one.sizes = {both.sizes[static_cast<size_t>(n)]};
    const auto alone = model.detect(one)[0];
    REQUIRE(alone.size() == together[static_cast<size_t>(n)].size());
    for (size_t i = 0; i < alone.size(); ++i) {
      CHECK(alone[i].box == together[static_cast<size_t>(n)][i].box);
      CHECK(alone[i].score == together[static_cast<size_t>(n)][i].score);
    }
  }
}

TEST_CASE("detections: per-class suppression, threshold, limit and order") {
  RoiConfig roi;
  roi.class_agnostic = true;
  TestConfig test;
  test.score = 0.2;
  const Tensor rois = Tensor::from(
      {3, 5}, std::vector<float>{0, 10, 10, 60, 60, 0, 12, 10, 62, 60, 0, 100, 100, 150, 150});
  RoiOutput out;
  out.logits = Tensor::from({3, 3}, std::vector<float>{0, 3, 2.5f, 0, 2, -9, 9, 0, 0});
  out.deltas = Tensor::zeros({3, 4});
  const auto found = select_detections(out, rois, {{200, 200, 1, 1}}, roi, test, 2)[0];
  REQUIRE(found.size() == 2);  // class 0: the first box lost to the second; the third is background
  CHECK(found[0].label == 0);
  CHECK(found[1].label == 1);
  CHECK(found[0].score > found[1].score);
  CHECK(found[0].box.x1 == Approx(12));
  CHECK(found[1].box.x1 == Approx(10));
  test.max_detections = 1;
  CHECK(select_detections(out, rois, {{200, 200, 1, 1}}, roi, test, 2)[0].size() == 1);
}

TEST_CASE("trainer: a restored run goes on with the same bits; losses fall on one picture") {
  Config config;
  config.model = small_config();
  config.model.test.score = 0.01;
  config.optimizer.lr = 0.02;
  config.train.iter_size = 2;
  const std::vector<std::string> classes = {"a", "b", "c"};
  const ModelInput input = noise(1, 32, 36, 5);
  const auto truth = two_objects();
  const auto steps = [&](Trainer& trainer, int count) {
    StepStats stats;
    for (int i = 0; i < count; ++i) {
      trainer.accumulate(input, truth);
      trainer.accumulate(input, truth);
      stats = trainer.update();
    }
    return stats;
  };
  Trainer straight(config, classes, 60);
  const StepStats first = steps(straight, 1), early = steps(straight, 9);
  const Checkpoint middle = straight.checkpoint(1, 2);
  const TempDir folder;
  save_checkpoint(folder.path() / "middle.h5", middle);
  const StepStats last = steps(straight, 50);
  CHECK(early.step == 10);
  CHECK(last.total < 0.6 * first.total);

  Trainer resumed(config, classes, 60);
  const Checkpoint read = load_checkpoint(folder.path() / "middle.h5");
  CHECK(read.training_int("epoch") == 1);
  CHECK(read.training_int("position") == 2);
  resumed.restore(read);
  CHECK(resumed.steps() == 10);
  CHECK(steps(resumed, 50).total == last.total);
  for (const Parameter& p : straight.model().parameters().all())
    FRCNN_CHECK_SAME(resumed.model().parameters().find(p.name)->tensor.to_vector<float>(),
                     p.tensor.to_vector<float>(), 0, 0);

  Config other = config;
  other.model.roi.hidden = {9};
  Trainer wrong(other, classes, 60);
  CHECK_THROWS_WITH(wrong.restore(read),
                    mentions("head.fc6.weight has shape (7, 24), the model needs (9, 24)"));
}
