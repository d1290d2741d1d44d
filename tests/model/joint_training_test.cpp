// Which losses a training pass computes, and how far their gradients reach.
#include <algorithm>
#include <cmath>

#include "engine/tape.h"
#include "model/faster_rcnn.h"
#include "tests/support/devices.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

/// Stride 4, 6 anchors per cell, small enough for float64 reference loops.
ModelConfig tiny_config() {
  ModelConfig config;
  config.backbone.name = "tiny";
  config.backbone.frozen_until = "";
  config.backbone.tiny_channels = {4, 6};
  config.backbone.tiny_strides = {2, 2};
  config.backbone.batch_norm = false;
  config.anchors.sizes = {8, 16};
  config.anchors.rounding = "none";
  config.rpn.channels = 5;
  config.rpn.init = {"gauss", 0.1};
  config.rpn.batch = 32;
  config.rpn.only_inside = false;
  config.rpn.train = {200, 30, 0.7, 2};
  config.roi.pooled_height = config.roi.pooled_width = 2;
  config.roi.hidden = {7};
  config.roi.batch = 16;
  config.roi.init = {"gauss", 0.2};
  config.roi.box_init = {"gauss", 0.1};
  return config;
}

ModelInput noise(int64_t images, int64_t h, int64_t w, uint64_t seed) {
  ModelInput input;
  input.images =
      Tensor::from({images, 3, h, w},
                   random_vector<float>(static_cast<size_t>(images * 3 * h * w), -1, 1, seed));
  for (int64_t n = 0; n < images; ++n) input.sizes.push_back({h, w, 1, 1});
  return input;
}

std::vector<GroundTruth> two_objects() {
  return {{{{4, 4, 18, 20}, {14, 10, 30, 26}}, {0, 2}}};
}

/// Losses and gradients of a pass.
Losses pass(const FasterRcnn& model, const LossParts& parts) {
  Tape tape;
  Losses losses;
  {
    const Tape::Scope recording(tape);
    losses = model.losses(noise(1, 32, 36, 5), two_objects(), {3, 0}, nullptr, parts);
  }
  tape.backward(losses.total);
  return losses;
}

bool has_gradient(const FasterRcnn& model, const std::string& name) {
  return model.parameters().find(name)->tensor.grad().defined();
}

}  // namespace

TEST_CASE("A15 parts of the losses: each is what the whole has, the other one is 0 and unreached") {
  const ModelConfig config = tiny_config();
  std::vector<Device> devices = {Device{}};
  for (const Device& device : gpus()) devices.push_back(device);
  for (const Device& device : devices) {
    const auto make = [&] { return FasterRcnn(config, 3, 11, DType::f32, true, device); };
    const FasterRcnn joint = make(), rpn = make(), detector = make();
    const Losses whole = pass(joint, {});
    const Losses first = pass(rpn, {.detector = false});
    CHECK(first.rpn_class.item() == whole.rpn_class.item());
    CHECK(first.rpn_box.item() == whole.rpn_box.item());
    CHECK(first.total.item() == Approx(first.rpn_class.item() + first.rpn_box.item()));
    CHECK(first.roi_class.item() == 0);
    CHECK(first.roi_box.item() == 0);
    CHECK(has_gradient(rpn, "rpn.box.weight"));
    CHECK_FALSE(has_gradient(rpn, "head.fc6.weight"));

    const Losses second = pass(detector, {.rpn = false});
    CHECK(second.roi_class.item() == whole.roi_class.item());
    CHECK(second.roi_box.item() == whole.roi_box.item());
    CHECK(second.total.item() == Approx(second.roi_class.item() + second.roi_box.item()));
    CHECK(second.rpn_class.item() == 0);
    CHECK(second.rpn_box.item() == 0);
    CHECK_FALSE(has_gradient(detector, "rpn.conv.weight"));
    CHECK(has_gradient(detector, "head.fc6.weight"));
    CHECK(has_gradient(detector, "backbone.conv1.weight"));
  }
}

TEST_CASE("parts of the losses: given samples need only what the part reads; bad parts throw") {
  const FasterRcnn model(tiny_config(), 3, 11);
  const ModelInput input = noise(1, 32, 36, 5);
  std::optional<Samples> samples;
  const double whole = model.losses(input, two_objects(), {3, 0}, &samples).roi_class.item();
  samples->rpn = {};
  CHECK(model.losses(input, two_objects(), {3, 0}, &samples, {.rpn = false}).roi_class.item() ==
        whole);
  CHECK_THROWS_WITH(model.losses(input, two_objects(), {3, 0}, &samples), mentions("lack"));
  CHECK_THROWS_WITH(
      model.losses(input, two_objects(), {3, 0}, nullptr, {.rpn = false, .detector = false}),
      mentions("of the RPN or of the detector"));
  ModelConfig quantised = tiny_config();
  quantised.roi.layer = "roi_pool";
  const FasterRcnn pooling(quantised, 3, 11);
  CHECK_THROWS_AS(
      pooling.losses(input, two_objects(), {3, 0}, nullptr, {.proposal_gradients = true}),
      UsageError);
}
