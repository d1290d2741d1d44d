// Batches: images of different sizes in one batch give what they give one by one.
#include "model/batch_parts.h"

#include <algorithm>
#include <cmath>

#include "engine/tape.h"
#include "model/faster_rcnn.h"
#include "model/graph/network.h"
#include "model/trainer.h"
#include "tests/support/devices.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

ModelConfig detector(const std::string& backbone) {
  ModelConfig config;
  config.backbone.name = backbone;
  config.backbone.frozen_until = "";
  config.backbone.tiny_channels = {4, 6, 8};
  config.backbone.tiny_strides = {2, 2, 2};
  config.backbone.batch_norm = false;
  config.anchors.sizes = {16, 32};
  config.anchors.rounding = "none";
  config.rpn.channels = 6;
  config.rpn.init = {"gauss", 0.1};
  config.rpn.only_inside = false;
  config.rpn.train = {300, 30, 0.7, 2};
  config.rpn.test = {300, 20, 0.7, 2};
  config.roi.layer = "roi_align";
  config.roi.pooled_height = config.roi.pooled_width = 2;
  config.roi.hidden = {16};
  config.roi.dropout = 0;
  config.roi.init = {"gauss", 0.2};
  config.roi.box_init = {"gauss", 0.1};
  config.test.score = 0.01;
  return config;
}

/// Convolutions with biases, an average and a max pool that round their sizes up, and batch norm.
std::shared_ptr<const Network> pooling_network() {
  auto network = std::make_shared<Network>();
  network->source = "pools";
  const auto add = [&](NetworkOp op, const std::string& name, int kernel, int stride, int padding) {
    NetworkNode node;
    node.op = op;
    node.name = name;
    node.inputs = {static_cast<int>(network->nodes.size())};
    node.window.kernel_h = node.window.kernel_w = kernel;
    node.window.stride_h = node.window.stride_w = stride;
    node.window.padding = {padding, padding, padding, padding};
    node.window.ceil_mode = op != NetworkOp::conv;
    node.channels = op == NetworkOp::conv ? 6 : 0;
    node.bias = op == NetworkOp::conv;
    node.relu = op == NetworkOp::conv || op == NetworkOp::batch_norm;
    network->nodes.push_back(node);
  };
  add(NetworkOp::conv, "c1", 3, 2, 1);
  add(NetworkOp::batch_norm, "n1", 1, 1, 0);
  add(NetworkOp::max_pool, "p1", 3, 2, 1);
  add(NetworkOp::conv, "c2", 3, 1, 1);
  add(NetworkOp::average_pool, "p2", 2, 2, 0);
  add(NetworkOp::conv, "c3", 3, 1, 1);
  network->output = static_cast<int>(network->nodes.size());
  network->cut = "c3";
  return network;
}

ModelConfig pooling_config() {
  ModelConfig config = detector("onnx");
  config.backbone.network = pooling_network();
  return config;
}

/// Biases and statistics that would show in the padding of an image.
void fill_biases(FasterRcnn& model) {
  for (const Parameter& p : model.parameters().all()) {
    Tensor t = p.tensor;
    const double half = p.name.ends_with("running_var") ? 0 : 0.4;
    if (p.kind == ParameterKind::bias || p.name.ends_with("norm.bias") ||
        p.name.ends_with("running_mean"))
      Initializer{Initializer::Method::uniform, half}.fill(
          t, {5, 8, static_cast<uint64_t>(t.numel())});
  }
}

/// Noise in images of the given sizes (each padded to multiples of 4), one of them inside the
/// other. What lies outside of an image's own frame is `outside`.
ModelInput batch(const std::vector<std::array<int64_t, 2>>& sizes, float outside, uint64_t seed) {
  int64_t h = 0, w = 0;
  const auto up = [](int64_t side) { return (side + 3) / 4 * 4; };
  for (const auto& size : sizes) h = std::max(h, up(size[0])), w = std::max(w, up(size[1]));
  ModelInput input;
  const auto images = static_cast<int64_t>(sizes.size());
  input.images =
      Tensor::from({images, 3, h, w},
                   random_vector<float>(static_cast<size_t>(images * 3 * h * w), -1, 1, seed));
  float* x = input.images.data<float>();
  for (const auto& size : sizes) {
    const InputSize s{size[0], size[1], 1, 1, up(size[0]), up(size[1])};
    for (int64_t row = 0; row < 3 * h; ++row)
      for (int64_t column = 0; column < w; ++column, ++x) {
        if (row % h >= s.padded_height || column >= s.padded_width)
          *x = outside;
        else if (row % h >= s.height || column >= s.width)
          *x = 0;
      }
    input.sizes.push_back(s);
  }
  return input;
}

const std::vector<std::array<int64_t, 2>> kSizes = {{64, 83}, {64, 83}, {90, 61}, {75, 75}};
const std::vector<GroundTruth> kTruth = {
    {{{4, 4, 38, 40}, {30, 20, 80, 60}}, {0, 2}},
    {{}, {}},
    {{{10, 30, 50, 66}}, {1}},
    {{{5, 8, 30, 40}, {20, 8, 70, 70}, {2, 2, 20, 22}}, {2, 1, 0}}};

/// Image n of a batch, cut out by hand.
ModelInput alone(const ModelInput& batch, size_t n) {
  const InputSize& size = batch.sizes[n];
  const int64_t h = batch.images.dim(2), w = batch.images.dim(3);
  ModelInput one;
  one.images = Tensor::empty({1, 3, size.padded_height, size.padded_width});
  for (int64_t row = 0; row < 3 * size.padded_height; ++row)
    std::copy_n(
        batch.images.data<float>() + ((static_cast<int64_t>(n) * 3 + row / size.padded_height) * h +
                                      row % size.padded_height) *
                                         w,
        size.padded_width, one.images.data<float>() + row * size.padded_width);
  one.sizes = {size};
  return one;
}

using Found = std::vector<ScoredBox>;
bool same(const Found& a, const Found& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.box == y.box && x.label == y.label && x.score == y.score;
  });
}

/// |a - b| / |b|; NaN where a value is.
double apart(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  return std::sqrt(difference / std::max(size, 1e-30));
}

using Gradients = std::vector<std::vector<double>>;

Gradients gradients(FasterRcnn& model, const ModelInput& input,
                    const std::vector<GroundTruth>& truth, double& total) {
  for (const Parameter& p : model.parameters().all()) {
    Tensor t = p.tensor;
    if (t.grad()) t.reset_grad();
  }
  Tape tape;
  Losses losses;
  {
    const Tape::Scope recording(tape);
    losses = model.losses(input, truth, {3, 0});
  }
  total = losses.total.item();
  tape.backward(losses.total);
  Gradients all;
  for (const Parameter& p : model.parameters().all())
    if (p.trainable()) all.push_back(p.tensor.grad().to_vector<double>());
  return all;
}

}  // namespace

TEST_CASE("batch: images of different sizes are detected as if alone, bit for bit") {
  std::vector<std::pair<std::string, ModelConfig>> cases = {{"tiny", detector("tiny")},
                                                            {"norms", detector("tiny")},
                                                            {"vgg16", detector("vgg16")},
                                                            {"zf", detector("zf")},
                                                            {"pools", pooling_config()}};
  cases[1].second.backbone.batch_norm = true;
  cases[1].second.backbone.batch_norm_mode = "frozen";
  cases[3].second.backbone.ceil_mode = true;
  for (const auto& [name, config] : cases)
    for (const std::string rule : {"nominal", "exact"}) {
      if (name == "vgg16" && rule == "exact") continue;  // once is slow enough
      INFO(name << " " << rule);
      ModelConfig own = config;
      own.anchors.stride_rule = rule;
      FasterRcnn model(own, 3, 4);
      fill_biases(model);
      const ModelInput all = batch(kSizes, 0, 8);
      const auto together = model.detect(all);
      const auto other = model.detect(batch(kSizes, 1e6F, 8));  // nothing outside is seen
      size_t found = 0;
      for (size_t n = 0; n < kSizes.size(); ++n) {
        CHECK(same(together[n], model.detect(alone(all, n))[0]));
        CHECK(same(together[n], other[n]));
        found += together[n].size();
      }
      CHECK(found > 20);
    }
}

TEST_CASE("batch: losses and gradients are the means of the images' own, whatever their sizes") {
  for (const bool paper : {true, false}) {
    std::vector<ModelConfig> configs = {detector("tiny"), detector("tiny"), pooling_config()};
    configs[1].backbone.batch_norm = true;
    for (ModelConfig& config : configs) {
      config.backbone.batch_norm_mode = "frozen";
      config.rpn.objectness = paper ? "softmax" : "sigmoid";
      config.rpn.normaliser = paper ? "paper" : "batch";
      // All that can be sampled is, so that no random number decides.
      config.rpn.batch = config.roi.batch = 100000;
      config.rpn.positive_fraction = config.roi.foreground_fraction = 0.5;
      FasterRcnn model(config, 3, 11, DType::f64);
      fill_biases(model);
      const ModelInput all = batch(kSizes, 1e6F, 8);
      double total = 0, sum = 0;
      const Gradients together = gradients(model, all, kTruth, total);
      Gradients mean(together.size());
      for (size_t n = 0; n < kSizes.size(); ++n) {
        double one = 0;
        const Gradients own = gradients(model, alone(all, n), {kTruth[n]}, one);
        sum += one / static_cast<double>(kSizes.size());
        for (size_t i = 0; i < own.size(); ++i) {
          mean[i].resize(own[i].size());
          for (size_t k = 0; k < own[i].size(); ++k)
            mean[i][k] += own[i][k] / static_cast<double>(kSizes.size());
        }
      }
      CHECK(total == Approx(sum).epsilon(1e-12));
      for (size_t i = 0; i < mean.size(); ++i) {
        INFO(model.parameters().all()[i].name);
        CHECK(apart(together[i], mean[i]) < 1e-10);
      }
    }
  }
}

TEST_CASE("batch: a GPU follows the CPU with images of different sizes") {
  Config config;
  config.model = detector("tiny");
  config.model.roi.dropout = 0.2;
  config.model.rpn.batch = 32;
  config.model.roi.batch = 16;
  config.train.batch = 4;
  config.train.iter_size = 1;
  config.optimizer.lr = 0.01;
  const auto run = [&](Device device) {
    Trainer trainer(config, {"a", "b", "c"}, 4, device);
    std::vector<double> losses;
    for (uint64_t step = 0; step < 3; ++step) {
      trainer.accumulate(batch(kSizes, 1e6F, 20 + step), kTruth);
      const StepStats stats = trainer.update();
      losses.push_back(device.is_gpu() ? trainer.collect().total : stats.total);
    }
    const auto found = trainer.model().detect(batch(kSizes, 1e6F, 30));
    for (const auto& boxes : found) losses.push_back(static_cast<double>(boxes.size()));
    return losses;
  };
  const std::vector<double> expected = run(Device{});
  for (const Device device : gpus()) FRCNN_CHECK_SAME(run(device), expected, 1e-4, 1e-5);
}

TEST_CASE("batch: runs of one size, the detector's given samples, and what does not fit") {
  const ModelInput all = batch(kSizes, 0, 8);
  const auto parts = batch_parts(all);
  REQUIRE(parts.size() == 3);
  CHECK(parts[0].input.images.shape() == Shape{2, 3, 64, 84});
  CHECK(parts[1].input.images.shape() == Shape{1, 3, 92, 64});
  CHECK(parts[2].first == 3);
  CHECK(rois_per_image(Tensor::from({3, 5}, std::vector<float>{0, 0, 0, 1, 1, 2, 0, 0, 1, 1,  //
                                                               2, 0, 0, 2, 2}),
                       3) == std::vector<int64_t>{1, 0, 2});
  FasterRcnn model(detector("tiny"), 3, 4, DType::f64);
  std::optional<Samples> none;
  CHECK_THROWS_WITH(model.losses(all, kTruth, {}, &none),
                    Catch::Matchers::Contains("different sizes"));
  // Of given regions each image's are pooled from its own map.
  std::optional<Samples> given = Samples{};
  std::vector<double> rois;
  std::vector<int32_t> labels;
  for (size_t n = 0; n < kTruth.size(); ++n)
    for (size_t i = 0; i < kTruth[n].boxes.size(); ++i) {
      const Box& b = kTruth[n].boxes[i];
      rois.insert(rois.end(), {double(n), b.x1, b.y1, b.x2, b.y2});
      labels.push_back(kTruth[n].labels[i] + 1);
    }
  const auto rows = static_cast<int64_t>(labels.size());
  given->roi = {Tensor::from({rows, 5}, rois), Tensor::from({rows}, labels),
                Tensor::zeros({rows, 4}, DType::f64), rows};
  const LossParts detector_only{false, true, false};
  double mean = 0;
  for (size_t n = 0, first = 0; n < kTruth.size(); first += kTruth[n++].boxes.size()) {
    const auto count = static_cast<int64_t>(kTruth[n].boxes.size());
    const auto begin = static_cast<int64_t>(first);
    std::optional<Samples> own = Samples{};
    own->roi = {given->roi.rois.rows(begin, count).clone(), given->roi.labels.rows(begin, count),
                given->roi.deltas.rows(begin, count), count};
    for (int64_t r = 0; r < count; ++r) own->roi.rois.data<double>()[5 * r] = 0;
    mean += model.losses(alone(all, n), {kTruth[n]}, {}, &own, detector_only).total.item() / 4;
  }
  CHECK(model.losses(all, kTruth, {}, &given, detector_only).total.item() ==
        Approx(mean).epsilon(1e-12));
  ModelInput wrong = all;
  wrong.sizes[0].padded_width = 1000;
  CHECK_THROWS_WITH(model.detect(wrong), Catch::Matchers::Contains("does not fit the batch"));
}
