// Operations through which the detector's loss reaches the RPN, as they are recorded.
#include "engine/ops/boxes.h"
#include "engine/ops/pooling.h"
#include "engine/tape.h"
#include "tests/engine/gradient_check.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

Tensor doubles(const Shape& shape, double low, double high, uint64_t seed) {
  return Tensor::from(shape,
                      random_vector<double>(static_cast<size_t>(shape.numel()), low, high, seed));
}

/// Two images of 4 anchors; three proposals and an object.
const std::vector<int32_t> kSources = {6, -1, 0, 3};
Tensor boxes_of(const Tensor& deltas) {
  const Tensor anchors =
      Tensor::from({4, 4}, std::vector<double>{3.1, 2.3, 12.4, 9.7, 1.2, 4.4, 8.3, 15.1,  //
                                               6.3, 6.1, 17.2, 13.9, 2.7, 1.9, 18.6, 16.3});
  const Tensor limits = Tensor::from({2, 4}, std::vector<double>{18, 20, 0, 0, 18, 20, 0, 0});
  const Tensor constants =
      Tensor::from({4, 5}, std::vector<double>{0, 0, 0, 0, 0, 1, 3.3, 2.1, 14.2, 11.7,  //
                                               0, 0, 0, 0, 0, 0, 0,   0,   0,    0});
  return proposal_decode(deltas, anchors, limits, Tensor::from({4}, kSources), constants);
}

}  // namespace

TEST_CASE("A17: gradient checks of the RoI layers by map and RoIs, as recorded") {
  const Tensor x = doubles({2, 5, 9, 10}, -1, 1, 1);
  const Tensor rois = Tensor::from(
      {3, 5}, std::vector<double>{1, 3.13, 2.27, 15.41, 12.3, 0, -1.7, 4.1, 9.2, 21.9,  //
                                  1, 6.6, 1.9, 18.3, 9.1});
  const auto check_layer = [&](const auto& layer) {
    for (const Tensor& map : {x, x.to_block(8)}) {
      CHECK(gradient_error([&](const std::vector<Tensor>& in) { return layer(in[0], rois); },
                           {map.clone()}) == "");
      Tape tape;
      Tensor boxes = rois.clone(), y;
      boxes.set_requires_grad(true);
      {
        const Tape::Scope recording(tape);
        y = layer(map, boxes);
      }
      const Tensor dy = doubles(y.shape(), -1, 1, 2);
      tape.backward({{y, dy}});
      const std::vector<double> actual = boxes.grad().to_vector<double>();
      std::vector<double> expected(actual.size(), 0);
      for (size_t i = 0; i < expected.size(); ++i) {
        if (i % 5 == 0) continue;
        const auto value = [&](double step) {
          Tensor moved = rois.clone();
          moved.span<double>()[i] += step;
          const std::vector<double> values = layer(map, moved).template to_vector<double>();
          double sum = 0;
          for (size_t k = 0; k < values.size(); ++k) sum += values[k] * dy.data<double>()[k];
          return sum;
        };
        expected[i] = (value(1e-6) - value(-1e-6)) / 2e-6;
      }
      FRCNN_CHECK_SAME(actual, expected, 1e-6, 1e-7);
    }
  };
  check_layer([](const Tensor& map, const Tensor& boxes) {
    return precise_roi(map, boxes, {3, 2, 0.5, 0.45});
  });
  for (const bool aligned : {true, false})
    check_layer([&](const Tensor& map, const Tensor& boxes) {
      return roi_align(map, boxes, {3, 2, 0.5, 0.45, 2, aligned});
    });
}

TEST_CASE("A17: gradient check of deltas -> boxes -> RoI layer, as recorded") {
  const Tensor x = doubles({2, 4, 9, 10}, -1, 1, 3), deltas = doubles({8, 4}, -0.3, 0.3, 4);
  CHECK(gradient_error(
            [](const std::vector<Tensor>& in) {
              return precise_roi(in[0], boxes_of(in[1]), {2, 2, 0.5, 0.5});
            },
            {x.clone(), deltas.clone()}) == "");
  CHECK(gradient_error(
            [](const std::vector<Tensor>& in) {
              return roi_align(in[0], boxes_of(in[1]), {2, 2, 0.5, 0.5, 2, true});
            },
            {x.clone(), deltas.clone()}) == "");
}

TEST_CASE("RoI layers: gradients to RoIs alone; max pooling gives them none") {
  Tensor x = doubles({1, 3, 6, 6}, -1, 1, 1),
         rois = Tensor::from({1, 5}, std::vector<double>{0, 1, 1, 9, 8});
  rois.set_requires_grad(true);
  Tape tape;
  Tensor y;
  {
    const Tape::Scope recording(tape);
    y = roi_pool(x, rois, {2, 2, 0.5, 0.5});
  }
  CHECK(tape.size() == 0);
  {
    const Tape::Scope recording(tape);
    y = precise_roi(x, rois, {2, 2, 0.5, 0.5});
  }
  CHECK(tape.size() == 1);
  tape.backward({{y, doubles(y.shape(), -1, 1, 2)}});
  CHECK(rois.grad().defined());
  CHECK_FALSE(x.grad().defined());
}
