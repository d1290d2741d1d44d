// The multi-task loss as the graph combines it (model/faster_rcnn.cpp), and its gradient.
#include <cmath>

#include "engine/ops/elementwise.h"
#include "engine/ops/losses.h"
#include "engine/tape.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

Tensor scalar(double value) {
  return Tensor::from(Shape{}, std::vector<double>{value});
}

}  // namespace

TEST_CASE("F5 loss: 0.6667768955 + 10 * 2.8905172348 = 29.57194924, with gradients 1 and 10") {
  Tensor classes = scalar(0.6667768955), boxes = scalar(2.8905172348);
  classes.set_requires_grad(true);
  boxes.set_requires_grad(true);
  Tape tape;
  Tensor total;
  {
    const Tape::Scope recording(tape);
    total = weighted_sum({classes, boxes}, {1, 10});
  }
  CHECK(std::abs(total.item() - 29.57194924) < 1e-8);
  tape.backward(total);
  CHECK(classes.grad().item() == 1);
  CHECK(boxes.grad().item() == 10);
}

TEST_CASE("F5 loss: without positives the regression part is 0, not a division by zero") {
  const Tensor deltas = Tensor::from({2, 4}, std::vector<double>(8, 3.0));
  const Tensor targets = Tensor::from({2, 4}, std::vector<double>(8, 0.0));
  const Tensor labels = Tensor::from({2}, std::vector<int32_t>{0, -1});
  const Tensor boxes = box_regression_loss(deltas, targets, labels, BoxLoss::smooth_l1, 1, 2400);
  CHECK(boxes.item() == 0);
  CHECK(weighted_sum({scalar(0.5), boxes}, {1, 10}).item() == 0.5);
}

TEST_CASE("A7 loss: N_cls = 256 and N_reg = number of positions divide the sums") {
  const Tensor logits = Tensor::from({2, 2}, std::vector<double>{0, 0, 0, 0});
  const Tensor labels = Tensor::from({2}, std::vector<int32_t>{1, 0});
  CHECK(std::abs(softmax_cross_entropy(logits, labels, 256).item() - 2 * std::log(2.0) / 256) <
        1e-15);
  const Tensor deltas = Tensor::from({2, 4}, std::vector<double>(8, 3.0));
  const Tensor targets = Tensor::from({2, 4}, std::vector<double>(8, 0.0));
  const Tensor boxes = box_regression_loss(deltas, targets, labels, BoxLoss::smooth_l1, 1, 2400);
  CHECK(std::abs(boxes.item() - 4 * 2.5 / 2400) < 1e-15);
}
