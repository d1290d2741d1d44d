#include "engine/optimizer.h"

#include <cmath>

#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

void set_gradient(const Tensor& parameter, const std::vector<double>& values) {
  Tensor handle = parameter;
  handle.grad().copy_from(Tensor::from(parameter.shape(), values));
  handle.mark_grad_written();
}

}  // namespace

TEST_CASE("A14 schedule: 0.001 for 60k mini-batches, 0.0001 for 20k; warm-up is linear") {
  Schedule paper{0.001, {60000}, 0.1, 0, 0.1};
  CHECK(paper.at(0) == 0.001);
  CHECK(paper.at(59999) == 0.001);
  CHECK(paper.at(60000) == Approx(0.0001).epsilon(1e-12));
  CHECK(paper.at(79999) == Approx(0.0001).epsilon(1e-12));
  Schedule warm{0.01, {100}, 0.1, 10, 0.1};
  CHECK(warm.at(0) == Approx(0.001));
  CHECK(warm.at(5) == Approx(0.0055));
  CHECK(warm.at(10) == 0.01);
}

TEST_CASE("optimizer: groups have their own rate, decay and rule; SGD follows its equation") {
  Parameters parameters(1, DType::f64);
  const Tensor w =
      parameters.create("w", {3}, ParameterKind::weight, {Initializer::Method::one, 0});
  const Tensor b = parameters.create("b", {2}, ParameterKind::bias, {Initializer::Method::one, 0});
  const Tensor frozen =
      parameters.create("f", {2}, ParameterKind::weight, {Initializer::Method::one, 0});
  parameters.set_trainable("f", false);
  Optimizer optimizer;
  GroupSettings weights;
  weights.schedule = {0.1, {1}, 0.5, 0, 0};
  weights.weight_decay = 0.01;
  GroupSettings biases = weights;
  biases.lr_factor = 2;
  biases.weight_decay = 0;
  optimizer.add_group("weights", {*parameters.find("w"), *parameters.find("f")}, weights);
  optimizer.add_group("biases", {*parameters.find("b")}, biases);
  optimizer.zero_grad();

  double ew = 1, vw = 0, eb = 1, vb = 0;
  for (int step = 0; step < 3; ++step) {
    const double lr = step == 0 ? 0.1 : 0.05;
    CHECK(optimizer.learning_rates()[0].second == Approx(lr));
    CHECK(optimizer.learning_rates()[1].second == Approx(2 * lr));
    set_gradient(w, {4, 4, 4});
    set_gradient(b, {4, 4});
    optimizer.step(0.5);
    optimizer.zero_grad();
    vw = 0.9 * vw + (0.5 * 4 + 0.01 * ew);
    ew -= lr * vw;
    vb = 0.9 * vb + 0.5 * 4;
    eb -= 2 * lr * vb;
    FRCNN_CHECK_SAME(w.to_vector<double>(), std::vector<double>(3, ew), 1e-12, 0);
    FRCNN_CHECK_SAME(b.to_vector<double>(), std::vector<double>(2, eb), 1e-12, 0);
  }
  FRCNN_CHECK_SAME(frozen.to_vector<double>(), std::vector<double>(2, 1.0), 0, 0);
  CHECK(optimizer.state().size() == 2);
  CHECK(optimizer.state()[0].first == "momentum.w");
  CHECK(optimizer.state()[0].second.data<double>()[1] == Approx(vw));
}

TEST_CASE("A8 optimisers: each branch takes SGD with momentum or Adam") {
  Parameters parameters(1, DType::f64);
  const Tensor rpn =
      parameters.create("rpn.w", {2}, ParameterKind::weight, {Initializer::Method::one, 0});
  const Tensor head =
      parameters.create("head.w", {2}, ParameterKind::weight, {Initializer::Method::one, 0});
  Optimizer optimizer;
  GroupSettings adam;
  adam.method = GroupSettings::Method::adam;
  adam.schedule.base = 0.01;
  adam.weight_decay = 0;
  GroupSettings sgd;
  sgd.schedule.base = 0.1;
  sgd.weight_decay = 0;
  optimizer.add_group("rpn", {*parameters.find("rpn.w")}, adam);
  optimizer.add_group("detector", {*parameters.find("head.w")}, sgd);
  optimizer.zero_grad();
  set_gradient(rpn, {3, -3});
  set_gradient(head, {3, -3});
  optimizer.step();
  // Adam's first step is lr * sign(g); SGD's is lr * g.
  FRCNN_CHECK_SAME(rpn.to_vector<double>(), std::vector<double>{0.99, 1.01}, 1e-6, 0);
  FRCNN_CHECK_SAME(head.to_vector<double>(), std::vector<double>{0.7, 1.3}, 1e-12, 0);
  CHECK(optimizer.state().size() == 3);
}

TEST_CASE("optimizer: clipping scales all gradients together; void gradients count as zero") {
  Parameters parameters(1, DType::f64);
  const Tensor a =
      parameters.create("a", {1}, ParameterKind::weight, {Initializer::Method::zero, 0});
  const Tensor b =
      parameters.create("b", {1}, ParameterKind::weight, {Initializer::Method::zero, 0});
  Optimizer optimizer;
  GroupSettings s;
  s.schedule.base = 1;
  s.momentum = s.weight_decay = 0;
  optimizer.add_group("all", parameters.all(), s);
  optimizer.zero_grad();
  set_gradient(a, {3});
  set_gradient(b, {4});
  optimizer.step(1, 1);
  CHECK(optimizer.last_grad_norm() == Approx(5));
  CHECK(a.item() == Approx(-0.6));
  CHECK(b.item() == Approx(-0.8));
  optimizer.zero_grad();
  set_gradient(a, {1});
  optimizer.step();
  CHECK(b.item() == Approx(-0.8));  // its old gradient is void
}

TEST_CASE("optimizer: a gradient that is not finite stops the step and names the parameter") {
  Parameters parameters(1);
  const Tensor a =
      parameters.create("a", {3}, ParameterKind::weight, {Initializer::Method::one, 0});
  const Tensor b =
      parameters.create("b", {3}, ParameterKind::weight, {Initializer::Method::one, 0});
  Optimizer optimizer;
  optimizer.add_group("all", parameters.all(), {});
  optimizer.zero_grad();
  Tensor gradient = b.grad();
  gradient.data<float>()[2] = NAN;
  Tensor(b).mark_grad_written();
  CHECK_THROWS_WITH(optimizer.step(), mentions("the gradient of b is not finite"));
  FRCNN_CHECK_SAME(a.to_vector<float>(), std::vector<float>{1, 1, 1}, 0, 0);
}

TEST_CASE("A11 initialisers: Gauss 0.01 and 0.001, Xavier, He, uniform") {
  using Method = Initializer::Method;
  const auto deviation = [](const Initializer& init, const Shape& shape, double* most) {
    Parameters parameters(3);
    const Tensor w = parameters.create("w", shape, ParameterKind::weight, init);
    double squares = 0, sum = 0;
    *most = 0;
    for (const float v : w.span<float>()) {
      sum += v;
      squares += double(v) * v;
      *most = std::max(*most, std::abs(double(v)));
    }
    const double n = static_cast<double>(w.numel());
    CHECK(std::abs(sum / n) < 0.02 * std::sqrt(squares / n));
    return std::sqrt(squares / n);
  };
  double most = 0;
  const Shape shape{200, 50, 3, 3};  // fan in 450, fan out 1800
  CHECK(deviation({Method::gauss, 0.01}, shape, &most) == Approx(0.01).epsilon(0.02));
  CHECK(deviation({Method::gauss, 0.001}, shape, &most) == Approx(0.001).epsilon(0.02));
  CHECK(deviation({Method::he, 0}, shape, &most) == Approx(std::sqrt(2.0 / 450)).epsilon(0.02));
  CHECK(deviation({Method::xavier, 0}, shape, &most) ==
        Approx(std::sqrt(2.0 / 2250)).epsilon(0.02));
  CHECK(most <= std::sqrt(6.0 / 2250));
  CHECK(deviation({Method::uniform, 0.05}, shape, &most) ==
        Approx(0.05 / std::sqrt(3.0)).epsilon(0.02));
  CHECK(most <= 0.05);
}

TEST_CASE("parameters: numbers depend on seed and name only") {
  Parameters one(5), two(5), other(6);
  one.create("x", {4}, ParameterKind::weight, {});
  const auto a = one.create("y", {4}, ParameterKind::weight, {}).to_vector<float>();
  const auto b = two.create("y", {4}, ParameterKind::weight, {}).to_vector<float>();
  const auto c = other.create("y", {4}, ParameterKind::weight, {}).to_vector<float>();
  CHECK(a == b);
  CHECK(a != c);
  CHECK_THROWS_WITH(two.create("y", {1}, ParameterKind::weight, {}), mentions("y is used twice"));
}
