// Losses of pictures that are not trained on: the network as it detects.
#include <map>

#include "model/faster_rcnn.h"
#include "tests/model/small_detector.h"
#include "tests/support/devices.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

constexpr LossParts kEvaluation{.evaluation = true};

ModelConfig settings(bool batch_norm, double dropout) {
  ModelConfig config = small_config();
  config.backbone.batch_norm = batch_norm;
  config.roi.dropout = dropout;
  return config;
}

std::vector<double> values(const Losses& losses) {
  return {losses.rpn_class.item(), losses.rpn_box.item(), losses.roi_class.item(),
          losses.roi_box.item(), losses.total.item()};
}

std::map<std::string, std::vector<float>> weights(const FasterRcnn& model) {
  std::map<std::string, std::vector<float>> all;
  for (const Parameter& p : model.parameters().all())
    all[p.name] = p.tensor.to(Device{}).to_vector<float>();
  return all;
}

}  // namespace

TEST_CASE("losses in evaluation drop nothing: they are those of a model without dropout") {
  const FasterRcnn with(settings(false, 0.5), 3, 11), without(settings(false, 0), 3, 11);
  const ModelInput input = noise(1, 32, 36, 5);
  const auto plain = values(without.losses(input, two_objects(), {3, 7}));
  CHECK(values(with.losses(input, two_objects(), {3, 7}, nullptr, kEvaluation)) == plain);
  // The test can tell: training losses of the same pass differ.
  CHECK(values(with.losses(input, two_objects(), {3, 7}))[2] != plain[2]);
}

TEST_CASE("losses in evaluation take the running statistics and change nothing, on every device") {
  std::vector<double> first;
  for (const Device device : cpu_and_gpus()) {
    INFO(device.name());
    const FasterRcnn model(settings(true, 0.5), 3, 11, DType::f32, true, device);
    model.losses(noise(2, 32, 36, 6), {two_objects()[0], two_objects()[0]},
                 {3, 0});  // moves the statistics
    const auto before = weights(model);
    const auto found =
        values(model.losses(noise(1, 32, 36, 5), two_objects(), {3, 7}, nullptr, kEvaluation));
    CHECK(weights(model) == before);
    CHECK(found ==
          values(model.losses(noise(1, 32, 36, 5), two_objects(), {3, 7}, nullptr, kEvaluation)));
    if (first.empty()) first = found;
    CHECK(difference(found, first, 1e-4, 1e-6) == "");
    // Training losses of the same pass normalise with the picture's own statistics.
    model.losses(noise(1, 32, 36, 5), two_objects(), {3, 7});
    CHECK(weights(model) != before);
  }
}
