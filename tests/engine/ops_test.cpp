// Float64 gradient checks of the differentiable operations, and the rules of the tape.
#include "engine/ops/conv2d.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/linear.h"
#include "engine/ops/norm.h"
#include "engine/ops/pooling.h"
#include "engine/tape.h"
#include "tests/engine/gradient_check.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

Tensor random(const Shape& shape, uint64_t seed, double low = -1, double high = 1) {
  return Tensor::from(shape,
                      random_vector<double>(static_cast<size_t>(shape.numel()), low, high, seed));
}

}  // namespace

TEST_CASE("gradient check: conv2d with bias, stride, padding and ReLU") {
  for (const bool relu : {false, true})
    for (const int stride : {1, 2})
      CHECK(gradient_error(
                [&](const std::vector<Tensor>& in) {
                  return conv2d(in[0], in[1], in[2], Conv2dOptions::square(stride, 1, relu));
                },
                {random({2, 3, 5, 6}, 1), random({4, 3, 3, 3}, 2), random({4}, 3)}) == "");
}

TEST_CASE("gradient check: linear with ReLU") {
  for (const bool relu : {false, true})
    CHECK(gradient_error(
              [&](const std::vector<Tensor>& in) { return linear(in[0], in[1], in[2], relu); },
              {random({5, 7}, 1), random({3, 7}, 2), random({3}, 3)}) == "");
}

TEST_CASE("gradient check: relu, add, dropout, layouts, rows") {
  CHECK(gradient_error([](const auto& in) { return relu(in[0]); }, {random({3, 4, 2, 2}, 1)}) ==
        "");
  CHECK(gradient_error([](const auto& in) { return add(in[0], in[1]); },
                       {random({3, 4}, 1), random({3, 4}, 2)}) == "");
  CHECK(gradient_error([](const auto& in) { return add(relu(in[0]), in[0]); }, {random({9}, 1)}) ==
        "");
  CHECK(gradient_error(
            [](const auto& in) {
              return dropout(in[0], 0.4, {1, 6, 2});
            },
            {random({40}, 1)}) == "");
  CHECK(gradient_error([](const auto& in) { return relu(convert_block(in[0], 8)); },
                       {random({2, 11, 2, 3}, 1)}) == "");
  CHECK(gradient_error([](const auto& in) { return map_to_rows(in[0], 4); },
                       {random({2, 12, 2, 3}, 1)}) == "");
  CHECK(gradient_error(
            [](const auto& in) {
              return slice_rows(reshape(in[0], {6, 4}), 2, 3);
            },
            {random({2, 12}, 1)}) == "");
  CHECK(gradient_error(
            [](const auto& in) {  // the second part is not used, the third twice
              const auto parts = split_rows(reshape(in[0], {6, 4}), {2, 1, 2, 0, 1});
              return add(add(parts[0], parts[2]), mul(parts[2], parts[2]));
            },
            {random({2, 12}, 1)}) == "");
  CHECK_THROWS_WITH(split_rows(Tensor::zeros({4, 2}), {2, 1}),
                    Catch::Matchers::Contains("4 rows together, got 3"));
}

TEST_CASE("gradient check: pooling") {
  CHECK(
      gradient_error(
          [](const auto& in) { return max_pool2d(in[0], kernels::MaxPoolParams::square(3, 2, 1)); },
          {random({2, 3, 7, 6}, 1)}) == "");
  CHECK(gradient_error([](const auto& in) { return adaptive_max_pool2d(in[0], 2, 3); },
                       {random({1, 3, 5, 7}, 2)}) == "");
  const Tensor rois =
      Tensor::from({3, 5}, std::vector<double>{0, 3, 5, 60, 70, 1, 0, 0, 31, 47, 1, 40, 8, 79, 90});
  CHECK(gradient_error(
            [&](const auto& in) {
              return roi_pool(in[0], rois, {3, 2});
            },
            {random({2, 3, 6, 5}, 3)}) == "");
  for (const bool aligned : {false, true})
    CHECK(gradient_error(
              [&](const auto& in) {
                return roi_align(in[0], rois, {3, 2, 1.0 / 16, 1.0 / 16, 2, aligned});
              },
              {random({2, 3, 6, 5}, 3)}) == "");
}

TEST_CASE("gradient check: normalisation") {
  for (const bool training : {false, true})
    CHECK(gradient_error(
              [&](const std::vector<Tensor>& in) {
                const BatchNormTensors bn{in[1], in[2], random({3}, 5), random({3}, 6, 0.5, 2)};
                return batch_norm(in[0], bn, {1e-5, 0.1, true}, training);
              },
              {random({2, 3, 4, 3}, 1), random({3}, 2, 0.5, 2), random({3}, 3)}) == "");
  CHECK(gradient_error(
            [](const auto& in) {
              return lrn(in[0], {3, 0.5, 0.75, 1});
            },
            {random({2, 7, 2, 3}, 1)}) == "");
}

TEST_CASE("tape: nothing is recorded without a tape, a gradient or with NoGrad") {
  Tensor a = random({4}, 1), b = random({4}, 2);
  Tape tape;
  {
    Tape::Scope recording(tape);
    relu(a);
    CHECK(tape.size() == 0);
    a.set_requires_grad(true);
    {
      const Tape::NoGrad constants;
      CHECK_FALSE(relu(a).requires_grad());
    }
    CHECK(tape.size() == 0);
    CHECK(add(a, b).requires_grad());
    CHECK(tape.size() == 1);
  }
  CHECK_FALSE(relu(a).requires_grad());
}

TEST_CASE("tape: gradients of several uses add up, across backward passes too, until reset") {
  Tensor a = Tensor::from({2}, std::vector<double>{1, 2}).set_requires_grad(true);
  const auto pass = [&] {
    Tape tape;
    Tensor y;
    {
      Tape::Scope recording(tape);
      y = add(add(a, a), relu(a));
    }
    tape.backward({{y, Tensor::from({2}, std::vector<double>{1, 10})}});
    CHECK(tape.size() == 0);
    CHECK(tape.live_gradients() == 0);
  };
  pass();
  FRCNN_CHECK_SAME(a.grad().to_vector<double>(), std::vector<double>{3, 30}, 0, 0);
  pass();
  FRCNN_CHECK_SAME(a.grad().to_vector<double>(), std::vector<double>{6, 60}, 0, 0);
  a.reset_grad();
  pass();
  FRCNN_CHECK_SAME(a.grad().to_vector<double>(), std::vector<double>{3, 30}, 0, 0);
}

TEST_CASE("tape: activations are freed while the walk goes on") {
  // 40 layers of 1 MiB: with all gradients kept, the walk would need 40 MiB more than the forward
  // pass.
  Tensor x = Tensor::zeros({1 << 17}, DType::f64).set_requires_grad(true);
  Tape tape;
  Tensor y;
  {
    Tape::Scope recording(tape);
    y = x;
    for (int i = 0; i < 40; ++i) y = relu(y);
  }
  std::vector<size_t> alive;
  tape.set_observer([&](const std::string&, const std::string&, const Tensor&) {
    alive.push_back(tape.live_gradients());
  });
  tape.backward({{y, Tensor::zeros({1 << 17}, DType::f64)}});
  CHECK(alive.size() == 40);
  CHECK(*std::max_element(alive.begin(), alive.end()) <= 1);
}

TEST_CASE("tape: the observer meets the first non-finite gradient at its operation") {
  Tensor x = random({3}, 1, 0.5, 1).set_requires_grad(true);
  Tape tape;
  Tensor y;
  {
    Tape::Scope recording(tape);
    y = relu(add(x, x));
  }
  std::vector<std::string> seen;
  tape.set_observer([&](const std::string& op, const std::string&, const Tensor& g) {
    if (!std::isfinite(g.data<double>()[1])) seen.push_back(op);
  });
  tape.backward({{y, Tensor::from({3}, std::vector<double>{1, NAN, 1})}});
  REQUIRE(!seen.empty());
  CHECK(seen[0] == "relu");
}
