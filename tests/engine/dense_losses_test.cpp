// Focal loss, one-vs-all classification and the GIoU loss as operations, on every device: values
// and gradients of torch and torchvision, and central differences.
#include <cmath>
#include <limits>

#include "engine/ops/losses.h"
#include "engine/tape.h"
#include "kernels/launch/check.h"
#include "tests/engine/gradient_check.h"
#include "tests/support/devices.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::vector<Device> all_devices() {
  std::vector<Device> devices = gpus();
  devices.insert(devices.begin(), Device{});
  return devices;
}

Tensor golden(const std::string& name) {
  const Golden<double> array = golden_f64("dense_losses", name);
  return Tensor::from(Shape(array.shape), array.values);
}
Tensor labels_of(const std::string& group) {
  const auto values = golden_i64("dense_losses", group + "/labels").values;
  const std::vector<int32_t> labels(values.begin(), values.end());
  return Tensor::from({static_cast<int64_t>(labels.size())}, labels);
}
double number(const std::string& group, const char* key) {
  return golden_attribute("dense_losses", group, key);
}

struct Result {
  double loss;
  std::vector<double> dx;
};

/// Value and gradient of loss(x) with respect to x.
template <typename Loss>
Result run(Tensor x, const Loss& loss) {
  x.set_requires_grad(true);
  Tape tape;
  Tensor value;
  {
    const Tape::Scope recording(tape);
    value = loss(x);
  }
  tape.backward(value);
  return {value.item(), x.grad().to_vector<double>()};
}

/// loss(x, labels, device) against the golden values of a group.
template <typename Loss>
void check_golden(const std::string& group, const Loss& loss) {
  const auto dx = golden_f64("dense_losses", group + "/dx").values;
  for (const Device device : all_devices()) {
    INFO(group << " " << device.name());
    const Tensor labels = labels_of(group).to(device);
    const Result result =
        run(golden(group + "/x").to(device), [&](const Tensor& x) { return loss(x, labels); });
    const double expected = number(group, "loss");
    CHECK(std::abs(result.loss - expected) <= 1e-12 * expected);
    FRCNN_CHECK_SAME(result.dx, dx, 1e-11, 1e-13);
  }
}

kernels::Focal focal_of(const std::string& group) {
  return {number(group, "gamma"), number(group, "alpha")};
}

kernels::BoxCodecParams codec_of(const std::string& group) {
  const double std = number(group, "std"), mean = number(group, "mean");
  kernels::BoxCodecParams codec;
  codec.mean = {mean, mean, mean, mean};
  if (std != 1) codec.std = {std, std, 2 * std, 2 * std};
  return codec;
}

}  // namespace

TEST_CASE("A7 focal loss equals torchvision's for sigmoids and torch's formula for softmax") {
  int groups = 0;
  for (const std::string& name : golden_members("dense_losses", "sigmoid_focal")) {
    const std::string group = "sigmoid_focal/" + name;
    check_golden(group, [&](const Tensor& x, const Tensor& labels) {
      return sigmoid_cross_entropy(x, labels, 1, focal_of(group));
    });
    ++groups;
  }
  for (const std::string& name : golden_members("dense_losses", "softmax_focal")) {
    const std::string group = "softmax_focal/" + name;
    check_golden(group, [&](const Tensor& x, const Tensor& labels) {
      return softmax_cross_entropy(x, labels, 1, focal_of(group));
    });
    ++groups;
  }
  CHECK(groups == 15);
}

TEST_CASE("A7 one-vs-all classification equals torch's; background has no column of its own") {
  check_golden("one_vs_all", [](const Tensor& x, const Tensor& labels) {
    return sigmoid_cross_entropy(x, one_vs_all_labels(labels, x.dim(1)), 1);
  });
}

TEST_CASE("A7 the GIoU loss of deltas equals torchvision's of boxes decoded at any anchors") {
  for (const std::string group : {"giou/shared", "giou/classes"}) {
    const Tensor targets = golden(group + "/targets");
    check_golden(group, [&](const Tensor& x, const Tensor& labels) {
      return giou_loss(x, targets.to(x.device()), labels, codec_of(group), 1);
    });
  }
}

TEST_CASE("gradient check: focal, one-vs-all and GIoU losses") {
  for (const Device device : all_devices()) {
    INFO(device.name());
    const auto labels = Tensor::from({6}, std::vector<int32_t>{0, 2, -1, 1, 0, 2}).to(device);
    const auto flags = Tensor::from({6}, std::vector<int32_t>{0, 1, -1, 1, 0, 1}).to(device);
    const auto numbers = [&](const Shape& shape, uint64_t seed) {
      const auto count = static_cast<size_t>(shape.numel());
      return Tensor::from(shape, random_vector<double>(count, -2, 2, seed)).to(device);
    };
    for (const kernels::Focal focal : {kernels::Focal{2, 0.25}, {0.5, -1}, {0, 0.75}, {1, 0.5}}) {
      CHECK(gradient_error(
                [&](const auto& in) { return softmax_cross_entropy(in[0], labels, 3, focal); },
                {numbers({6, 3}, 1)}) == "");
      CHECK(gradient_error(
                [&](const auto& in) { return sigmoid_cross_entropy(in[0], flags, 3, focal); },
                {numbers({6, 1}, 2)}) == "");
    }
    CHECK(gradient_error(
              [&](const auto& in) {
                return sigmoid_cross_entropy(in[0], one_vs_all_labels(labels, 3), 2);
              },
              {numbers({6, 3}, 3)}) == "");
    const Tensor targets = numbers({6, 4}, 4);
    kernels::BoxCodecParams codec;
    codec.mean = {0.1, -0.1, 0.2, 0};
    codec.std = {0.3, 0.5, 0.4, 0.6};
    for (const int64_t groups : {1, 3})
      CHECK(gradient_error(
                [&](const auto& in) { return giou_loss(in[0], targets, labels, codec, 2); },
                {numbers({6, 4 * groups}, 5)}) == "");
  }
}

TEST_CASE("GIoU loss: 0 with gradient 0 where boxes agree, at most 2, finite far away, NaN seen") {
  for (const Device device : all_devices()) {
    INFO(device.name());
    const auto one = Tensor::from({1}, std::vector<int32_t>{1}).to(device);
    const auto loss_of = [&](const std::vector<double>& prediction,
                             const std::vector<double>& target) {
      const Tensor goal = Tensor::from({1, 4}, target).to(device);
      return run(Tensor::from({1, 4}, prediction).to(device),
                 [&](const Tensor& x) { return giou_loss(x, goal, one, {}, 1); });
    };
    const Result same = loss_of({0.3, -0.2, 0.1, 0.4}, {0.3, -0.2, 0.1, 0.4});
    CHECK(std::abs(same.loss) < 1e-15);
    FRCNN_CHECK_SAME(same.dx, std::vector<double>(4, 0.0), 0, 1e-15);
    // Unit squares two apart: I = 0, U = 2, C = 3; the hull shrinks by one edge's way.
    const Result apart = loss_of({2, 0, 0, 0}, {0, 0, 0, 0});
    CHECK(std::abs(apart.loss - (2 - 2.0 / 3)) < 1e-15);
    CHECK(apart.dx[0] == Approx(2.0 / 9));
    const Result far = loss_of({1e9, 0, 0, 0}, {0, 0, 0, 0});
    CHECK((far.loss <= 2 && far.loss > 1.99));
    const Result cut = loss_of({0, 0, 900, 0}, {0, 0, 0, 0});
    CHECK(cut.loss == Approx(1 - 16.0 / 1000));
    CHECK(cut.dx[2] == 0);
    for (const size_t k : {0, 1, 2, 3}) {
      std::vector<double> bad(4, 0.0);
      bad[k] = kNan;
      CHECK(std::isnan(loss_of(bad, {0, 0, 0, 0}).loss));
      bad[k] = std::numeric_limits<double>::infinity();
      if (k < 2) CHECK(!std::isfinite(loss_of(bad, {0, 0, 0, 0}).loss));
    }
    // Background and rows that are left out don't count.
    const Tensor none = Tensor::from({2}, std::vector<int32_t>{0, -1}).to(device);
    const Tensor goal = Tensor::from({2, 4}, std::vector<double>(8, 0.0)).to(device);
    CHECK(run(Tensor::from({2, 4}, std::vector<double>(8, kNan)).to(device), [&](const Tensor& x) {
            return giou_loss(x, goal, none, {}, 1);
          }).loss == 0);
  }
}

TEST_CASE("focal loss: certain rows cost nothing, wrong ones as much as the cross-entropy") {
  for (const Device device : all_devices()) {
    INFO(device.name());
    const auto flags = Tensor::from({4}, std::vector<int32_t>{1, 0, 1, 0}).to(device);
    const auto x = Tensor::from({4}, std::vector<double>{900, -900, -900, 900}).to(device);
    const Result result = run(x, [&](const Tensor& v) {
      return sigmoid_cross_entropy(v, flags, 1, {2, -1});
    });
    CHECK(result.loss == 1800);
    FRCNN_CHECK_SAME(result.dx, (std::vector<double>{0, 0, -1, 1}), 1e-12, 1e-12);
    const auto rows = Tensor::from({2, 2}, std::vector<double>{0, 900, 900, 0}).to(device);
    const auto labels = Tensor::from({2}, std::vector<int32_t>{1, 1}).to(device);
    const Result softmax = run(rows, [&](const Tensor& v) {
      return softmax_cross_entropy(v, labels, 1, {2, -1});
    });
    CHECK(softmax.loss == 900);
    FRCNN_CHECK_SAME(softmax.dx, (std::vector<double>{0, 0, 1, -1}), 1e-12, 1e-12);
  }
}

TEST_CASE("losses: every second count of the device is added where only positives are") {
  for (const Device device : gpus()) {
    const auto labels = Tensor::from({2}, std::vector<int32_t>{1, 1}).to(device);
    const auto x = Tensor::from({2}, std::vector<double>{0, 0}).to(device);
    const Tensor counts = Tensor::from({2, 2}, std::vector<int32_t>{3, 100, 5, 200}).to(device);
    const double entropy = 2 * std::log(2.0);
    CHECK(sigmoid_cross_entropy(x, labels, LossNormaliser(counts, 2)).item() ==
          Approx(entropy / 8));
    CHECK(sigmoid_cross_entropy(x, labels, counts).item() == Approx(entropy / 308));
  }
}
