// Which losses a training pass computes, and how far their gradients reach.
#include <algorithm>
#include <array>
#include <cmath>

#include "engine/ops/boxes.h"
#include "engine/tape.h"
#include "kernels/boxes/codec.h"
#include "model/faster_rcnn.h"
#include "model/loss_terms.h"
#include "tests/model/small_detector.h"
#include "tests/support/devices.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

ModelConfig joint_config() {
  ModelConfig config = small_config();
  config.roi.dropout = 0.5;
  return config;
}

/// The same in float64 with biases that keep every unit off the kink of its ReLU.
FasterRcnn double_model(const ModelConfig& config, Device device = {}) {
  FasterRcnn model(config, 3, 11, DType::f64);
  for (const Parameter& p : model.parameters().all())
    if (p.kind == ParameterKind::bias) {
      Tensor bias = p.tensor;
      Initializer{Initializer::Method::uniform, 0.3}.fill(
          bias, {5, 8, static_cast<uint64_t>(bias.numel())});
    }
  if (!device.is_gpu()) return model;
  FasterRcnn moved(config, 3, 11, DType::f64, true, device);
  for (const Parameter& p : model.parameters().all()) {
    Tensor to = moved.parameters().find(p.name)->tensor;
    to.copy_from(p.tensor);
    to.bump_version();
  }
  return moved;
}

/// Gradient of a parameter as numbers, or nothing where no gradient came.
std::vector<double> gradient_of(const FasterRcnn& model, const std::string& name) {
  const Tensor gradient = model.parameters().find(name)->tensor.grad();
  return gradient ? gradient.to_vector<double>() : std::vector<double>();
}
double largest(const std::vector<double>& values) {
  double most = 0;
  for (const double v : values) most = std::max(most, std::abs(v));
  return most;
}

/// Losses and gradients of a pass.
Losses pass(const FasterRcnn& model, const LossParts& parts,
            std::optional<Samples>* samples = nullptr) {
  Tape tape;
  Losses losses;
  {
    const Tape::Scope recording(tape);
    losses = model.losses(noise(1, 32, 36, 5), two_objects(), {3, 0}, samples, parts);
  }
  tape.backward(losses.total);
  return losses;
}

/// The samples as they would be had the RPN's boxes moved to where the model's weights put them
/// now: the objects stay, and the targets are encoded anew.
Samples moved_samples(const FasterRcnn& model, const Samples& drawn) {
  const ModelInput input = noise(1, 32, 36, 5);
  const RpnOutput rpn = model.rpn(model.features(input.images.to(DType::f64), true));
  const Tensor anchors = model.anchors(rpn.map_h, rpn.map_w, 32, 36);
  const Tensor rois =
      proposal_decode(rpn.deltas, anchors, image_limits(input.sizes, 0, DType::f64, {}),
                      drawn.roi.sources, drawn.roi.rois);
  Samples samples = drawn;
  samples.roi.deltas = drawn.roi.deltas.clone();
  const kernels::BoxCodecParams codec = roi_codec(model.config().roi);
  const auto labels = drawn.roi.labels.span<int32_t>();
  for (size_t r = 0; r < labels.size(); ++r) {
    if (labels[r] <= 0) continue;
    std::array<double, 4> object{};
    const double *before = drawn.roi.rois.data<double>() + 5 * r + 1,
                 *now = rois.data<double>() + 5 * r + 1;
    kernels::cpu::decode_boxes(codec, 1, before, drawn.roi.deltas.data<double>() + 4 * r, 4,
                               object.data());
    kernels::cpu::encode_boxes(codec, 1, now, object.data(),
                               samples.roi.deltas.data<double>() + 4 * r);
  }
  return samples;
}

bool has_gradient(const FasterRcnn& model, const std::string& name) {
  return model.parameters().find(name)->tensor.grad().defined();
}

}  // namespace

TEST_CASE("A15 parts of the losses: each is what the whole has, the other one is 0 and unreached") {
  const ModelConfig config = joint_config();
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
  const FasterRcnn model(joint_config(), 3, 11);
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
  CHECK_THROWS_WITH(model.losses(input, two_objects(), {3, 0}, nullptr,
                                 {.detector = false, .proposal_gradients = true}),
                    mentions("need the detector's losses"));
}

TEST_CASE("A17: the detector's loss reaches the RPN's boxes; finite differences end to end") {
  for (const char* layer : {"precise_roi", "roi_align", "roi_align_legacy"})
    for (const bool whole : {false, true}) {
      if (whole && std::string(layer) != "precise_roi") continue;
      const LossParts parts{.rpn = whole, .proposal_gradients = true};
      ModelConfig config = joint_config();
      config.roi.layer = layer;
      config.roi.sampling_ratio = 2;  // a number that follows from the size jumps
      FasterRcnn model = double_model(config);
      std::optional<Samples> samples;
      pass(model, parts, &samples);
      int proposals = 0;
      for (const int32_t source : samples->roi.sources.span<int32_t>()) proposals += source >= 0;
      CHECK(proposals > 4);
      CHECK(samples->roi.foreground > 0);
      CHECK(largest(gradient_of(model, "rpn.box.weight")) > 1e-4);
      CHECK(largest(gradient_of(model, "rpn.box.bias")) > 1e-4);
      const auto value = [&] {
        const Tape::NoGrad no_grad;
        std::optional<Samples> given = moved_samples(model, *samples);
        return model.losses(noise(1, 32, 36, 5), two_objects(), {3, 0}, &given, parts).total.item();
      };
      double worst = 0;
      for (const Parameter& p : model.parameters().all()) {
        const std::vector<double> gradient = gradient_of(model, p.name);
        if (!parts.rpn && p.name.starts_with("rpn.cls")) {
          CHECK(gradient.empty());  // scores choose proposals and move none
          continue;
        }
        Tensor w = p.tensor;
        const size_t stride = std::max<size_t>(1, gradient.size() / 4);
        for (size_t i = 0; i < gradient.size(); i += stride) {
          double& x = w.span<double>()[i];
          const double kept = x, step = 1e-6;
          x = kept + step;
          const double up = value();
          x = kept - step;
          const double down = value();
          x = kept;
          const double expected = (up - down) / (2 * step);
          INFO(layer << ", " << p.name << "[" << i << "]");
          CHECK(gradient[i] == Approx(expected).epsilon(1e-4).margin(1e-7));
          if (std::abs(expected) > 1e-3)
            worst = std::max(worst, std::abs(gradient[i] / expected - 1));
        }
      }
      CHECK(worst < 1e-3);
    }
}

TEST_CASE("A16: in the approximate scheme the detector's loss gives the RPN exactly nothing") {
  ModelConfig config = joint_config();
  config.roi.layer = "precise_roi";
  for (const bool through : {false, true}) {
    FasterRcnn model = double_model(config);
    pass(model, {.rpn = false, .proposal_gradients = through});
    for (const char* name : {"rpn.box.weight", "rpn.box.bias", "rpn.conv.weight"})
      CHECK(gradient_of(model, name).empty() != through);
    CHECK(largest(gradient_of(model, "backbone.conv1.weight")) > 0);
  }
}

TEST_CASE(
    "A17: train.proposal_gradient scales what reaches the RPN through proposals, nothing else") {
  for (const Device& device : [] {
         std::vector<Device> all = gpus();
         all.insert(all.begin(), Device{});
         return all;
       }()) {
    ModelConfig config = joint_config();
    config.roi.layer = "precise_roi";
    const FasterRcnn whole = double_model(config, device), half = double_model(config, device),
                     none = double_model(config, device);
    pass(whole, {.rpn = false, .proposal_gradients = true});
    pass(half, {.rpn = false, .proposal_gradients = true, .proposal_factor = 0.5});
    pass(none, {.rpn = false, .proposal_gradients = true, .proposal_factor = 0});
    std::vector<double> expected = gradient_of(whole, "rpn.box.weight");
    CHECK(largest(expected) > 1e-4);
    for (double& value : expected) value /= 2;
    FRCNN_CHECK_SAME(gradient_of(half, "rpn.box.weight"), expected, 1e-10, 1e-14);
    CHECK(largest(gradient_of(none, "rpn.box.weight")) == 0);
    FRCNN_CHECK_SAME(gradient_of(half, "head.fc6.weight"), gradient_of(whole, "head.fc6.weight"),
                     1e-10, 1e-14);
  }
}

TEST_CASE("A17: every sampled region is what its anchor decodes to; objects have no anchor") {
  ModelConfig config = joint_config();
  config.roi.layer = "roi_align";
  for (const char* filter : {"before", "after"}) {
    config.rpn.size_filter = filter;
    const FasterRcnn model(config, 3, 11);
    const ModelInput input = noise(2, 32, 36, 5);
    const std::vector<GroundTruth> truth = {two_objects()[0], {{{2, 3, 20, 30}}, {1}}};
    std::optional<Samples> samples;
    const Losses constant = model.losses(input, truth, {3, 0}, &samples);
    const RpnOutput rpn = model.rpn(model.features(input.images, true));
    const Tensor anchors = model.anchors(rpn.map_h, rpn.map_w, 32, 36);
    const Tensor rois =
        proposal_decode(rpn.deltas, anchors, image_limits(input.sizes, 0, DType::f32, {}),
                        samples->roi.sources, samples->roi.rois);
    CHECK(rois.to_vector<float>() == samples->roi.rois.to_vector<float>());
    int objects = 0;
    for (const int32_t source : samples->roi.sources.span<int32_t>()) objects += source < 0;
    CHECK(objects > 0);
    CHECK(objects <= 3);
    CHECK(samples->roi.sources.numel() == samples->roi.rois.dim(0));
    // So the losses are the same numbers in both schemes.
    std::optional<Samples> given = samples;
    const Losses moving = model.losses(input, truth, {3, 0}, &given, {.proposal_gradients = true});
    CHECK(moving.total.item() == constant.total.item());
    given->roi.sources = {};
    CHECK_THROWS_WITH(model.losses(input, truth, {3, 0}, &given, {.proposal_gradients = true}),
                      mentions("do not tell the anchors"));
  }
}

TEST_CASE("A17: a GPU gives the CPU's gradients through proposals") {
  for (const Device& device : gpus())
    for (const char* layer : {"precise_roi", "roi_align", "roi_align_legacy"})
      for (const bool append : {true, false}) {
        ModelConfig config = joint_config();
        config.roi.layer = layer;
        config.roi.append_ground_truth = append;
        const LossParts parts{.rpn = false, .proposal_gradients = true};
        const FasterRcnn host = double_model(config), gpu = double_model(config, device);
        const double expected = pass(host, parts).total.item();
        CHECK(pass(gpu, parts).total.item() == Approx(expected).epsilon(1e-9));
        INFO(layer << " on " << device.name() << ", objects added " << append);
        for (const Parameter& p : host.parameters().all())
          FRCNN_CHECK_SAME(gradient_of(gpu, p.name), gradient_of(host, p.name), 1e-8, 1e-10);
        CHECK(largest(gradient_of(gpu, "rpn.box.weight")) > 0);
      }
}

TEST_CASE("A17: quantised max pooling is refused in one line that names the key") {
  ModelConfig config = joint_config();
  config.roi.layer = "roi_pool";
  const FasterRcnn model(config, 3, 11);
  CHECK_THROWS_WITH(model.losses(noise(1, 32, 36, 5), two_objects(), {3, 0}, nullptr,
                                 {.proposal_gradients = true}),
                    mentions("roi.layer = \"roi_pool\"") && mentions("choose \"precise_roi\""));
}
