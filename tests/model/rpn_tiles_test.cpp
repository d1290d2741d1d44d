// The RPN trained on the windows of the sampled cells: the losses and gradients of the convolution
// on the whole map.
#include <algorithm>
#include <cmath>

#include "engine/tape.h"
#include "model/faster_rcnn.h"
#include "model/options.h"
#include "tests/model/small_detector.h"
#include "tests/support/devices.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

ModelConfig tiny_config(bool tiles) {
  ModelConfig config = small_config();
  config.rpn.batch = 24;
  config.rpn.tiles = tiles;
  return config;
}

struct Pass {
  std::vector<double> losses;  // class, box, total
  std::vector<std::pair<std::string, std::vector<double>>> gradients;
};

/// One training pass of the RPN alone in float64, on two images of which the second has an object
/// in a corner: its window reaches beyond the map.
Pass rpn_pass(const ModelConfig& config, Device device = {}, int64_t images = 2) {
  const FasterRcnn model(config, 3, 11, DType::f64, true, device);
  const ModelInput input = noise(images, 36, 44, 5);
  std::vector<GroundTruth> truth = {{{{4, 4, 18, 20}, {14, 10, 30, 26}}, {0, 2}},
                                    {{{30, 24, 43, 35}}, {1}}};
  truth.resize(static_cast<size_t>(images));
  Tape tape;
  Losses losses;
  {
    const Tape::Scope recording(tape);
    losses = model.losses(input, truth, {7, 3}, nullptr, {true, false, false});
  }
  tape.backward(losses.total);
  Pass pass;
  for (const Tensor& loss : {losses.rpn_class, losses.rpn_box, losses.total})
    pass.losses.push_back(loss.to_vector<double>().at(0));
  for (const Parameter& p : model.parameters().all())
    if (p.tensor.grad()) pass.gradients.emplace_back(p.name, p.tensor.grad().to_vector<double>());
  return pass;
}

double largest(const std::vector<double>& values) {
  double most = 0;
  for (const double v : values) most = std::max(most, std::abs(v));
  return most;
}

void check_same(const Pass& tiles, const Pass& map, double relative) {
  REQUIRE(tiles.losses.size() == map.losses.size());
  for (size_t i = 0; i < map.losses.size(); ++i) {
    CHECK(map.losses[i] > 0);
    CHECK(std::abs(tiles.losses[i] - map.losses[i]) <= relative * map.losses[i]);
  }
  REQUIRE(tiles.gradients.size() == map.gradients.size());
  for (size_t i = 0; i < map.gradients.size(); ++i) {
    const auto& [name, expected] = map.gradients[i];
    INFO(name);
    REQUIRE(tiles.gradients[i].first == name);
    const std::vector<double>& got = tiles.gradients[i].second;
    REQUIRE(got.size() == expected.size());
    const double most = largest(expected);
    CHECK(most > 0);
    for (size_t k = 0; k < got.size(); ++k)
      if (!(std::abs(got[k] - expected[k]) <= relative * most))
        FAIL_CHECK("element " << k << ": " << got[k] << " instead of " << expected[k]);
  }
}

}  // namespace

TEST_CASE("C5: the RPN on tiles has the losses and gradients of the convolution on the map") {
  for (const int window : {3, 5, 1})
    for (const char* normaliser : {"batch", "paper", "positives"}) {
      INFO("window " << window << ", normaliser " << normaliser);
      ModelConfig map = tiny_config(false), tiles = tiny_config(true);
      map.rpn.window = tiles.rpn.window = window;
      map.rpn.normaliser = tiles.rpn.normaliser = normaliser;
      const Pass whole = rpn_pass(map);
      // The RPN's six tensors and, through the map, the backbone's four.
      REQUIRE(whole.gradients.size() == 10);
      check_same(rpn_pass(tiles), whole, 1e-10);
    }
}

TEST_CASE("C5: a frozen backbone gets no gradient from tiles, the RPN the same") {
  ModelConfig map = tiny_config(false), tiles = tiny_config(true);
  map.backbone.frozen_until = tiles.backbone.frozen_until = "*";
  map.rpn.objectness = tiles.rpn.objectness = "sigmoid";
  const Pass whole = rpn_pass(map);
  REQUIRE(whole.gradients.size() == 6);
  check_same(rpn_pass(tiles), whole, 1e-10);
}

TEST_CASE("C5: an image with nothing sampled adds nothing") {
  ModelConfig map = tiny_config(false), tiles = tiny_config(true);
  for (ModelConfig* config : {&map, &tiles}) {
    config->rpn.only_inside = true;
    config->anchors.sizes = {400};  // no anchor lies inside
  }
  const Pass whole = rpn_pass(map), some = rpn_pass(tiles);
  CHECK(whole.losses == std::vector<double>(3, 0));
  CHECK(some.losses == std::vector<double>(3, 0));
  for (const auto& [name, gradient] : some.gradients) {
    INFO(name);
    CHECK(largest(gradient) == 0);
  }
}

TEST_CASE("C5: devices: tiles on a GPU, unused ones among them, equal the CPU's") {
  const std::vector<Device> devices = gpus();
  if (devices.empty()) {
    WARN("[skipped] this build has no GPU and no emulation");
    return;
  }
  // More cells than are sampled, and fewer than rpn.batch.
  for (const int batch : {24, 512}) {
    ModelConfig config = tiny_config(true);
    config.rpn.batch = batch;
    const Pass cpu = rpn_pass(config);
    for (const Device device : devices) {
      INFO("rpn.batch " << batch);
      check_same(rpn_pass(config, device), cpu, 1e-10);
    }
  }
}

TEST_CASE("C5: in float32 tiles differ from the map by roundings alone") {
  const auto pass = [](bool tiles) {
    const FasterRcnn model(tiny_config(tiles), 3, 11);
    ModelInput input;
    input.images = Tensor::from({1, 3, 48, 64}, random_vector<float>(3 * 48 * 64, -1, 1, 5));
    input.sizes.push_back({48, 64, 1, 1});
    Tape tape;
    Losses losses;
    {
      const Tape::Scope recording(tape);
      losses =
          model.losses(input, {{{{4, 4, 18, 20}}, {0}}}, {7, 3}, nullptr, {true, false, false});
    }
    tape.backward(losses.total);
    return model.parameters().find("rpn.conv.weight")->tensor.grad().to_vector<float>();
  };
  const std::vector<float> map = pass(false), tiles = pass(true);
  REQUIRE(map.size() == tiles.size());
  float most = 0;
  for (const float v : map) most = std::max(most, std::abs(v));
  REQUIRE(most > 0);
  for (size_t i = 0; i < map.size(); ++i) CHECK(std::abs(map[i] - tiles[i]) <= 1e-5F * most);
}

TEST_CASE("C5: rpn.tiles is refused where proposals are needed") {
  Config config;
  config.model.rpn.tiles = true;
  CHECK_THROWS_WITH(
      check_config(config, "x.toml"),
      mentions(
          "rpn.tiles = true is for train.scheme = \"rpn_only\", not for \"approximate_joint\""));
  config.train.scheme = "rpn_only";
  CHECK_NOTHROW(check_config(config, "x.toml"));
}
