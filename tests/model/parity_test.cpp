// The whole detector against torchvision's Faster R-CNN: same weights, same picture, same samples.
// tests/golden/make_parity.py made the expected values and tells what they are.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "data/image.h"
#include "engine/tape.h"
#include "kernels/boxes/iou_match.h"
#include "model/detector.h"
#include "model/faster_rcnn.h"
#include "model/input.h"
#include "model/options.h"
#include "model/trainer.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

/// One group of a golden file with its config and pictures.
struct Case {
  std::string file, group;
  Config config;
  std::vector<Image> pictures;

  Golden<float> f32(const std::string& name) const { return golden_f32(file, group + name); }
  Golden<int64_t> i64(const std::string& name) const { return golden_i64(file, group + name); }
  int64_t classes() const { return static_cast<int64_t>(config.data.classes.size()); }
};

Case tiny_case(const std::string& name) {
  const std::filesystem::path folder = source_dir() / "tests/golden";
  Case c{"parity_tiny", name + "/", load_config(folder / ("parity_tiny_" + name + ".toml")), {}};
  c.pictures.push_back(decode_image(folder / "parity_tiny_1.png"));
  if (name == "batch_norm") c.pictures.push_back(decode_image(folder / "parity_tiny_2.png"));
  return c;
}

void load_weights(const Case& c, FasterRcnn& model) {
  for (const Parameter& p : model.parameters().all()) {
    const bool buffer = p.kind == ParameterKind::buffer;
    const Golden<float> value = c.f32((buffer ? "buffers/" : "parameters/") + p.name);
    Tensor target = p.tensor;
    target.copy_from(Tensor::from(p.tensor.shape(), value.values));
    target.bump_version();
  }
}

/// All pictures of a case as one batch, padded to the largest.
ModelInput batch_of(const Case& c) {
  std::vector<ModelInput> single;
  int64_t h = 0, w = 0;
  for (const Image& picture : c.pictures) {
    single.push_back(
        make_input(picture.rgb.data(), picture.width, picture.height, c.config.model.preprocess));
    h = std::max(h, single.back().images.dim(2));
    w = std::max(w, single.back().images.dim(3));
  }
  ModelInput all;
  all.images = Tensor::zeros({static_cast<int64_t>(single.size()), 3, h, w});
  for (size_t n = 0; n < single.size(); ++n) {
    const Tensor& x = single[n].images;
    for (int64_t row = 0; row < 3 * x.dim(2); ++row)
      std::copy_n(x.data<float>() + row * x.dim(3), x.dim(3),
                  all.images.data<float>() +
                      ((static_cast<int64_t>(n) * 3 + row / x.dim(2)) * h + row % x.dim(2)) * w);
    all.sizes.push_back(single[n].sizes[0]);
    // torchvision lets every image see the whole batch's frame.
    all.sizes.back().padded_height = all.sizes.back().padded_width = 0;
  }
  return all;
}

std::vector<GroundTruth> truth_of(const Case& c, const ModelInput& input) {
  const auto boxes = c.f32("train/gt_boxes");
  const auto labels = c.i64("train/gt_labels"), image = c.i64("train/gt_image");
  std::vector<GroundTruth> truth(input.sizes.size());
  for (size_t i = 0; i < labels.values.size(); ++i) {
    const auto n = static_cast<size_t>(image.values[i]);
    const float sx = static_cast<float>(input.sizes[n].scale_x),
                sy = static_cast<float>(input.sizes[n].scale_y);
    const float* b = boxes.values.data() + 4 * i;
    truth[n].boxes.push_back({b[0] * sx, b[1] * sy, b[2] * sx, b[3] * sy});
    truth[n].labels.push_back(static_cast<int>(labels.values[i]));
  }
  return truth;
}

/// The samples that torchvision drew, in our form.
Samples samples_of(const Case& c, int64_t anchors_total, int64_t anchors_per_image) {
  Samples s;
  const auto index = c.i64("train/rpn_samples"), label = c.i64("train/rpn_sample_labels");
  const auto target = c.f32("train/rpn_sample_targets");
  s.rpn.labels = Tensor::empty({anchors_total}, DType::i32);
  s.rpn.labels.fill(-1);
  s.rpn.deltas = Tensor::zeros({anchors_total, 4});
  for (size_t i = 0; i < label.values.size(); ++i) {
    const int64_t row = index.values[2 * i] * anchors_per_image + index.values[2 * i + 1];
    s.rpn.labels.data<int32_t>()[row] = static_cast<int32_t>(label.values[i]);
    if (label.values[i] > 0)
      std::copy_n(target.values.data() + 4 * i, 4, s.rpn.deltas.data<float>() + 4 * row);
    ++s.rpn.sampled;
    s.rpn.positives += label.values[i] > 0;
  }
  const auto rois = c.f32("train/rois"), deltas = c.f32("train/roi_targets");
  const auto labels = c.i64("train/roi_labels");
  const auto rows = static_cast<int64_t>(labels.values.size());
  s.roi.rois = Tensor::from({rows, 5}, rois.values);
  s.roi.deltas = Tensor::from({rows, 4}, deltas.values);
  s.roi.labels =
      Tensor::from({rows}, std::vector<int32_t>(labels.values.begin(), labels.values.end()));
  return s;
}

struct Differences {
  double box = 0, score = 0, loss = 0, gradient = 0;
  std::string worst_gradient;
};

void check_detections(const Case& c, const FasterRcnn& model, Differences& d) {
  const Image& picture = c.pictures[0];
  const ModelInput input =
      make_input(picture.rgb.data(), picture.width, picture.height, c.config.model.preprocess);
  const std::vector<ScoredBox> ours = model.detect(input)[0];
  const auto boxes = c.f32("detections/boxes"), scores = c.f32("detections/scores");
  const auto labels = c.i64("detections/labels");
  REQUIRE(ours.size() == labels.values.size());
  for (size_t i = 0; i < ours.size(); ++i) {
    INFO("detection " << i);
    CHECK(ours[i].label == labels.values[i]);
    CHECK(std::abs(ours[i].score - scores.values[i]) <= 1e-4);
    d.score = std::max(d.score, double(std::abs(ours[i].score - scores.values[i])));
    const InputSize& size = input.sizes[0];
    const double got[4] = {ours[i].box.x1 / size.scale_x, ours[i].box.y1 / size.scale_y,
                           ours[i].box.x2 / size.scale_x, ours[i].box.y2 / size.scale_y};
    for (size_t k = 0; k < 4; ++k) {
      CHECK(std::abs(got[k] - double(boxes.values[4 * i + k])) <= 0.01);
      d.box = std::max(d.box, std::abs(got[k] - double(boxes.values[4 * i + k])));
    }
  }
}

void check_matching(const Case& c, const FasterRcnn& model, const Tensor& anchors,
                    const std::vector<GroundTruth>& truth) {
  const auto expected = c.i64("train/rpn_labels");
  const RpnConfig& rpn = model.config().rpn;
  const int64_t count = anchors.dim(0);
  for (size_t n = 0; n < truth.size(); ++n) {
    std::vector<float> boxes;
    for (const Box& b : truth[n].boxes) boxes.insert(boxes.end(), {b.x1, b.y1, b.x2, b.y2});
    const auto objects = static_cast<int64_t>(truth[n].boxes.size());
    std::vector<float> best(static_cast<size_t>(count)), object_best(boxes.size() / 4);
    std::vector<int32_t> index(best.size()), labels(best.size());
    kernels::cpu::iou_best<float>(count, objects, anchors.data<float>(), boxes.data(), nullptr,
                                  best.data(), index.data(), object_best.data());
    kernels::cpu::match_labels<float>({rpn.positive_iou, rpn.negative_iou, true}, count, objects,
                                      anchors.data<float>(), boxes.data(), nullptr, best.data(),
                                      object_best.data(), labels.data());
    const auto first = expected.values.begin() + static_cast<int64_t>(n) * count;
    FRCNN_CHECK_SAME(std::vector<int64_t>(labels.begin(), labels.end()),
                     std::vector<int64_t>(first, first + count));
  }
}

void check_training_step(const Case& c, FasterRcnn& model, Differences& d) {
  const ModelInput input = batch_of(c);
  const std::vector<GroundTruth> truth = truth_of(c, input);
  const int64_t h = input.images.dim(2), w = input.images.dim(3);
  const Tensor anchors =
      model.anchors(model.backbone_spec().map_size(h), model.backbone_spec().map_size(w), h, w);
  check_matching(c, model, anchors, truth);
  std::optional<Samples> samples =
      samples_of(c, anchors.dim(0) * static_cast<int64_t>(input.sizes.size()), anchors.dim(0));
  Tape tape;
  Losses losses;
  {
    Tape::Scope recording(tape);
    losses = model.losses(input, truth, {1, 0}, &samples);
  }
  tape.backward(losses.total);
  const auto expected = c.f32("train/losses");
  const Tensor* ours[] = {&losses.rpn_class, &losses.rpn_box, &losses.roi_class, &losses.roi_box};
  for (size_t i = 0; i < 4; ++i) {
    const double relative = std::abs(ours[i]->item() / double(expected.values[i]) - 1);
    INFO("loss " << i << ": " << ours[i]->item() << ", expected " << expected.values[i]);
    CHECK(relative <= 1e-4);
    d.loss = std::max(d.loss, relative);
  }
  for (const Parameter& p : model.parameters().all()) {
    if (!p.trainable()) continue;
    const auto gradient = c.f32("train/gradients/" + p.name);
    REQUIRE(p.tensor.grad());
    const double error = relative_l2(p.tensor.grad().to_vector<float>(), gradient.values);
    INFO(p.name << ": relative error " << error);
    CHECK(error <= 1e-4);
    if (error > d.gradient) d.gradient = error, d.worst_gradient = p.name;
  }
}

Differences check_parity(const Case& c, FasterRcnn& model) {
  Differences d;
  check_detections(c, model, d);
  check_training_step(c, model, d);
  return d;
}

}  // namespace

TEST_CASE("parity with torchvision: small nets, plain, with frozen and with training batch norm") {
  for (const std::string name : {"plain", "frozen_norm", "batch_norm"}) {
    INFO(name);
    Case c = tiny_case(name);
    if (name == "frozen_norm") c.config.model.backbone.batch_norm_mode = "frozen";
    FasterRcnn model(c.config.model, c.classes());
    load_weights(c, model);
    check_parity(c, model);
    if (name != "batch_norm") continue;
    for (const Parameter& p : model.parameters().all())
      if (p.kind == ParameterKind::buffer) {
        INFO(p.name);
        FRCNN_CHECK_SAME(p.tensor.to_vector<float>(), c.f32("train/buffers/" + p.name).values, 1e-4,
                         1e-5);
      }
  }
}

TEST_CASE("parity with torchvision: VGG16, made by make_parity.py vgg16", "[.][vgg16]") {
  // Too large to be kept: tests/golden/make_parity.py writes it, docs/parity.md holds the result.
  const char* folder = std::getenv("FRCNN_PARITY");
  const std::filesystem::path path = folder ? folder : source_dir() / "build/parity";
  if (!std::filesystem::exists(path / "expected.h5")) {
    WARN("[skipped] " << path.string() << " holds no expected.h5");
    return;
  }
  Case c{
      "../../" + std::filesystem::relative(path / "expected", source_dir()).string(), "", {}, {}};
  const Checkpoint checkpoint = load_checkpoint(path / "parity_model.h5");
  c.config = parse_config(checkpoint.config, "parity_model.h5");
  c.pictures.push_back(decode_image(path / "input.png"));
  FasterRcnn model(c.config.model, c.classes());
  load_parameters(model, checkpoint, "parity_model.h5");
  const Differences d = check_parity(c, model);
  WARN("largest differences: box " << d.box << " px, score " << d.score << ", loss " << d.loss
                                   << " relative, gradient " << d.gradient << " relative L2 ("
                                   << d.worst_gradient << ")");
}
