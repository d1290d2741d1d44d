#include <bit>
#include <cmath>
#include <limits>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"
#include "kernels/losses/box_loss.h"
#include "kernels/losses/cross_entropy.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

template <typename T>
struct Result {
  double loss;
  std::vector<T> dx;
};

std::vector<int32_t> labels_of(const std::string& name) {
  const auto values = golden_i64("losses", name + "/labels").values;
  return {values.begin(), values.end()};
}

template <typename T>
Result<T> softmax_loss(const std::vector<T>& x, const std::vector<int32_t>& labels,
                       double scale = 1) {
  const auto rows = static_cast<int64_t>(labels.size());
  const int64_t classes = rows ? static_cast<int64_t>(x.size()) / rows : 2;
  GuardedBuffer<T> p(x.size()), dx(x.size());
  const double loss =
      cpu::softmax_cross_entropy_forward(rows, classes, x.data(), labels.data(), p.data());
  const double alone =
      cpu::softmax_cross_entropy_forward<T>(rows, classes, x.data(), labels.data(), nullptr);
  CHECK(std::bit_cast<uint64_t>(loss) == std::bit_cast<uint64_t>(alone));  // NaN equals NaN here
  cpu::softmax_cross_entropy_backward(rows, classes, scale, p.data(), labels.data(), dx.data());
  CHECK((p.guards_intact() && dx.guards_intact()));
  return {loss, {dx.data(), dx.data() + dx.size()}};
}

template <typename T>
Result<T> sigmoid_loss(const std::vector<T>& x, const std::vector<int32_t>& labels,
                       double scale = 1) {
  const auto count = static_cast<int64_t>(x.size());
  GuardedBuffer<T> dx(x.size());
  const double loss = cpu::sigmoid_cross_entropy_forward(count, x.data(), labels.data());
  cpu::sigmoid_cross_entropy_backward(count, scale, x.data(), labels.data(), dx.data());
  CHECK(dx.guards_intact());
  return {loss, {dx.data(), dx.data() + dx.size()}};
}

template <typename T>
Result<T> box_loss(const BoxLossParams& params, const std::vector<T>& x,
                   const std::vector<T>& targets, const std::vector<int32_t>& labels,
                   double scale = 1) {
  const auto rows = static_cast<int64_t>(labels.size());
  GuardedBuffer<T> dx(x.size());
  const double loss = cpu::box_loss_forward(params, rows, x.data(), targets.data(), labels.data());
  cpu::box_loss_backward(params, rows, scale, x.data(), targets.data(), labels.data(), dx.data());
  CHECK(dx.guards_intact());
  return {loss, {dx.data(), dx.data() + dx.size()}};
}

/// Loss and gradient against torch's, in float64 and in float32.
template <typename Loss>
void against_torch(const std::string& name, const Loss& loss) {
  INFO(name);
  const double expected = golden_attribute("losses", name, "loss");
  const auto dx = golden_f64("losses", name + "/dx").values;
  const Result<double> exact = loss(golden_f64("losses", name + "/x").values);
  CHECK(std::abs(exact.loss - expected) <= 1e-12 * expected);
  FRCNN_CHECK_SAME(exact.dx, dx, 1e-11, 1e-13);
  const Result<float> single = loss(golden_f32("losses", name + "/x").values);
  CHECK(std::abs(single.loss - expected) <= 1e-6 * expected);
  FRCNN_CHECK_SAME(single.dx, golden_f32("losses", name + "/dx").values, 1e-5, 2e-6);
}

/// The gradient against central differences of the loss, times `scale`.
template <typename Loss>
void against_differences(std::vector<double> x, double scale, const Loss& loss) {
  const Result<double> result = loss(x, scale);
  std::vector<double> expected(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double at = x[i], step = 1e-5;
    x[i] = at + step;
    const double above = loss(x, scale).loss;
    x[i] = at - step;
    expected[i] = scale * (above - loss(x, scale).loss) / (2 * step);
    x[i] = at;
  }
  FRCNN_CHECK_SAME(result.dx, expected, 1e-6, 1e-7);
}

template <typename Loss>
void box_cases(const std::string& name, const Loss& run) {
  for (const int64_t groups : {1, 5}) {
    BoxLossParams p;
    p.groups = groups;
    p.penalty = name == "l1" ? BoxPenalty::l1 : name == "mse" ? BoxPenalty::mse : p.penalty;
    p.sigma = name == "smooth_l1_3" ? 3 : 1;
    run(p, name + "_" + std::to_string(groups));
  }
}

const std::vector<std::string> kPenalties = {"smooth_l1_1", "smooth_l1_3", "l1", "mse"};
const double kNan = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("A7 losses: softmax log loss and its gradient equal torch's, ignored rows included") {
  for (const std::string name : {"softmax_pairs", "softmax_voc"})
    against_torch(name, [&](const auto& x) { return softmax_loss(x, labels_of(name)); });
}

TEST_CASE("A7 losses: sigmoid log loss and its gradient equal torch's, far logits included") {
  against_torch("sigmoid", [](const auto& x) { return sigmoid_loss(x, labels_of("sigmoid")); });
}

TEST_CASE("A7 losses: box losses equal torch's, positives only, shared and class-wise columns") {
  for (const std::string& penalty : kPenalties)
    box_cases(penalty, [](const BoxLossParams& p, const std::string& name) {
      const auto targets = golden_f64("losses", name + "/targets").values;
      against_torch(name, [&](const auto& x) {
        using T = typename std::decay_t<decltype(x)>::value_type;
        return box_loss<T>(p, x, {targets.begin(), targets.end()}, labels_of(name));
      });
    });
}

TEST_CASE("A7 losses: smooth-L1 at hand-made values") {
  // sigma 1: 0.5 d^2 below 1, then |d| - 0.5; sigma 3: 4.5 d^2 below 1/9, then |d| - 1/18.
  const std::vector<double> x = {0.5, -2, 0, 1}, zero(4, 0.0);
  CHECK(std::abs(box_loss<double>({}, x, zero, {1}).loss - (0.125 + 1.5 + 0 + 0.5)) < 1e-15);
  BoxLossParams p;
  p.sigma = 3;
  CHECK(std::abs(box_loss<double>(p, {0.1, 0, 0, -1}, zero, {1}).loss - (0.045 + 1 - 1.0 / 18)) <
        1e-15);
}

TEST_CASE("A7 losses: gradients equal central differences") {
  const auto x = random_vector<double>(60, -3, 3, 21);
  const std::vector<int32_t> classes = {0, 4, -1, 2, 1, 3, 0, -1, 2, 4, 1, 0};
  against_differences(x, 0.7, [&](const auto& v, double s) { return softmax_loss(v, classes, s); });
  std::vector<int32_t> flags(60);
  for (size_t i = 0; i < 60; ++i) flags[i] = static_cast<int32_t>(i % 3) - 1;
  against_differences(x, 0.7, [&](const auto& v, double s) { return sigmoid_loss(v, flags, s); });
  for (const std::string& penalty : kPenalties)
    box_cases(penalty, [](const BoxLossParams& p, const std::string&) {
      const std::vector<int32_t> labels = {1, 0, 4, -1, 2, 3};
      const auto targets = random_vector<double>(24, -1, 1, 23);
      std::vector<double> at = random_vector<double>(static_cast<size_t>(24 * p.groups), -1, 1, 22);
      const double kink = p.penalty == BoxPenalty::l1 ? 0 : 1 / (p.sigma * p.sigma);
      for (size_t r = 0; r < 6; ++r)
        for (size_t k = 0; k < static_cast<size_t>(4 * p.groups); ++k) {
          double& v = at[r * static_cast<size_t>(4 * p.groups) + k];
          const double d = v - targets[4 * r + k % 4];
          if (std::abs(std::abs(d) - kink) < 1e-3) v += 0.01;
        }
      against_differences(at, 1.3, [&](const auto& v, double s) {
        return box_loss<double>(p, v, targets, labels, s);
      });
    });
}

TEST_CASE("F5 losses: background and ignored rows are not regressed; no positives give 0") {
  const std::vector<double> far(8, 100.0), targets(8, 0.0);
  const auto none = box_loss<double>({}, far, targets, {0, -1});
  CHECK(none.loss == 0);
  CHECK(none.dx == std::vector<double>(8, 0.0));
  const std::vector<double> nothing = {kNan, kNan};
  CHECK(softmax_loss<double>(nothing, {-1}).loss == 0);  // ignored even where it is NaN
  CHECK(softmax_loss<double>(nothing, {-1}).dx == std::vector<double>(2, 0.0));
  CHECK(sigmoid_loss<double>(nothing, {-1, -1}).loss == 0);
  CHECK(sigmoid_loss<double>(nothing, {-1, -1}).dx == std::vector<double>(2, 0.0));
}

TEST_CASE("losses: weights and losses of rows") {
  const auto x = random_vector<double>(20, -3, 3, 51), w = random_vector<double>(5, 0.5, 2, 52);
  const std::vector<int32_t> labels = {3, 0, -1, 1, 2};
  GuardedBuffer<double> p(20), rows(5), dx(20);
  const double total = cpu::softmax_cross_entropy_forward(5, 4, x.data(), labels.data(), p.data(),
                                                          w.data(), rows.data());
  cpu::softmax_cross_entropy_backward(5, 4, 0.5, p.data(), labels.data(), dx.data(), w.data());
  CHECK((p.guards_intact() && rows.guards_intact() && dx.guards_intact()));
  double sum = 0;
  for (size_t r = 0; r < 5; ++r) {
    const auto one = softmax_loss(
        std::vector<double>{x[4 * r], x[4 * r + 1], x[4 * r + 2], x[4 * r + 3]}, {labels[r]}, 0.5);
    CHECK(std::abs(rows.data()[r] - w[r] * one.loss) < 1e-14);
    sum += rows.data()[r];
    for (size_t c = 0; c < 4; ++c) CHECK(std::abs(dx.data()[4 * r + c] - w[r] * one.dx[c]) < 1e-14);
  }
  CHECK(rows.data()[2] == 0);
  CHECK(std::abs(sum - total) < 1e-13);
}

TEST_CASE("losses: a label beyond the classes and sigma 0 are refused") {
  CHECK_THROWS_AS(softmax_loss<float>({1, 2}, {2}), Error);
  CHECK_THROWS_AS(sigmoid_loss<float>({1}, {2}), Error);
  BoxLossParams p;
  p.groups = 2;
  const std::vector<float> x(8, 0.0f), targets(4, 0.0f);
  CHECK_THROWS_AS(box_loss(p, x, targets, {2}), Error);
  p.sigma = 0;
  CHECK_THROWS_AS(box_loss(p, x, targets, {1}), Error);
}

TEST_CASE("losses: NaN in a row that counts makes loss and gradient NaN") {
  for (const size_t place : {0, 1}) {
    std::vector<double> x = {1, 2};
    x[place] = kNan;
    for (const int32_t label : {0, 1}) {
      const auto s = softmax_loss(x, {label});
      CHECK(std::isnan(s.loss));
      CHECK((std::isnan(s.dx[0]) && std::isnan(s.dx[1])));
      const auto g = sigmoid_loss(x, {label, label});
      CHECK((std::isnan(g.loss) && std::isnan(g.dx[place]) && !std::isnan(g.dx[1 - place])));
    }
  }
  for (const std::string& penalty : kPenalties)
    box_cases(penalty, [](BoxLossParams p, const std::string& name) {
      INFO(name);
      p.groups = 1;
      const auto r = box_loss<double>(p, {0, kNan, 0, 0}, {1, 1, 1, 1}, {1});
      CHECK(std::isnan(r.loss));
      CHECK(std::isnan(r.dx[1]));
      CHECK_FALSE(std::isnan(r.dx[0]));
    });
}

TEST_CASE("losses: class-wise regression touches the four columns of the row's class") {
  BoxLossParams p;
  p.groups = 3;
  const auto r =
      box_loss<double>(p, std::vector<double>(24, 5.0), std::vector<double>(8, 0.0), {2, 1});
  for (size_t i = 0; i < 24; ++i)
    CHECK(r.dx[i] == ((i >= 8 && i < 12) || (i >= 16 && i < 20) ? 1 : 0));
}

TEST_CASE("losses: softmax rows sum to 1, don't change by a shift, and stay finite") {
  std::vector<double> x = random_vector<double>(50, -5, 5, 31), p(50), q(50);
  cpu::softmax<double>(10, 5, x.data(), p.data());
  for (double& v : x) v += 700;
  cpu::softmax<double>(10, 5, x.data(), q.data());
  FRCNN_CHECK_SAME(q, p, 1e-11, 0);
  for (size_t r = 0; r < 10; ++r) {
    double sum = 0;
    for (size_t c = 0; c < 5; ++c) sum += p[5 * r + c];
    CHECK(std::abs(sum - 1) < 1e-14);
  }
  cpu::softmax<double>(10, 5, x.data(), x.data());  // in place
  FRCNN_CHECK_SAME(x, q, 0, 0);
  std::vector<float> far = {1e30f, -1e30f, 0};
  cpu::softmax<float>(1, 3, far.data(), far.data());
  CHECK(far == std::vector<float>{1, 0, 0});
  std::vector<float> y = {0, 1000, -1000, 2};
  cpu::sigmoid<float>(4, y.data(), y.data());
  FRCNN_CHECK_SAME(y, std::vector<float>{0.5f, 1, 0, 0.880797078f}, 1e-6, 0);
}

TEST_CASE("losses: the same bits with any number of threads; nothing of nothing") {
  const auto x = random_vector<float>(40000, -4, 4, 41),
             targets = random_vector<float>(40000, -1, 1, 42);
  std::vector<int32_t> rows(10000), all(40000);
  for (size_t i = 0; i < 40000; ++i) all[i] = static_cast<int32_t>(i % 3) - 1;
  for (size_t i = 0; i < 10000; ++i) rows[i] = all[i];
  const int threads = num_threads();
  set_num_threads(1);
  const auto a = softmax_loss(x, rows), b = sigmoid_loss(x, all),
             c = box_loss<float>({}, x, targets, rows);
  set_num_threads(3);
  const auto d = softmax_loss(x, rows), e = sigmoid_loss(x, all),
             f = box_loss<float>({}, x, targets, rows);
  set_num_threads(threads);
  CHECK((a.loss == d.loss && a.dx == d.dx));
  CHECK((b.loss == e.loss && b.dx == e.dx));
  CHECK((c.loss == f.loss && c.dx == f.dx));
  CHECK(softmax_loss<float>({}, {}).loss == 0);
  CHECK(sigmoid_loss<float>({}, {}).loss == 0);
  CHECK(box_loss<float>({}, {}, {}, {}).loss == 0);
}
