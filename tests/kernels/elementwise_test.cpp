#include "kernels/elementwise/elementwise.h"

#include <limits>

#include "kernels/elementwise/reductions.h"
#include "kernels/elementwise/reorder_map.h"
#include "tests/kernels/map_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

TEMPLATE_TEST_CASE("elementwise operations, at sizes around vectors and thread grains", "", float,
                   double) {
  using T = TestType;
  for (size_t count : {size_t{0}, size_t{1}, size_t{15}, size_t{1003}, size_t{70001}}) {
    const auto a = random_vector<T>(count, -1, 1, 1), b = random_vector<T>(count, -1, 1, 2);
    const auto n = static_cast<int64_t>(count);
    GuardedBuffer<T> y(count);
    const auto expect = [&](const auto& value_at) {
      std::vector<double> expected(count);
      for (size_t i = 0; i < count; ++i) expected[i] = static_cast<double>(value_at(i));
      FRCNN_CHECK_SAME(values_of(y), expected, tolerance<T>(), tolerance<T>());
      CHECK(y.guards_intact());
    };
    cpu::relu_forward(n, a.data(), y.data());
    expect([&](size_t i) { return std::max(a[i], T(0)); });
    cpu::relu_backward(n, a.data(), b.data(), y.data());
    expect([&](size_t i) { return a[i] > 0 ? b[i] : T(0); });
    cpu::add(n, a.data(), b.data(), y.data());
    expect([&](size_t i) { return a[i] + b[i]; });
    cpu::scale(n, 0.25, a.data(), y.data());
    expect([&](size_t i) { return a[i] / 4; });
    cpu::axpy(n, -0.5, b.data(), y.data());
    expect([&](size_t i) { return a[i] / 4 - b[i] / 2; });
    cpu::accumulate(n, b.data(), y.data());
    expect([&](size_t i) { return a[i] / 4 + b[i] / 2; });
    cpu::copy(n, a.data(), y.data());
    expect([&](size_t i) { return a[i]; });
    cpu::relu_forward(n, y.data(), y.data());
    expect([&](size_t i) { return std::max(a[i], T(0)); });
    cpu::fill(n, T(3), y.data());
    expect([&](size_t) { return T(3); });
  }
}

TEST_CASE("ReLU: NaN stays, its gradient at 0 is 0; gradient check in float64") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> x = {nan, -1, 0, 2}, y(4), dx(4);
  cpu::relu_forward<float>(4, x.data(), y.data());
  CHECK(std::isnan(y[0]));
  CHECK(std::vector<float>(y.begin() + 1, y.end()) == std::vector<float>{0, 0, 2});
  const std::vector<float> dy = {1, 1, 1, 1};
  cpu::relu_backward<float>(4, x.data(), dy.data(), dx.data());
  CHECK(dx == std::vector<float>{0, 0, 0, 1});

  auto values = random_vector<double>(40, -1, 1, 5);
  for (double& v : values)
    if (std::abs(v) < 1e-3) v = 0.1;
  const auto cotangent = random_vector<double>(40, -1, 1, 6);
  const auto forward = [](const std::vector<double>& in) {
    std::vector<double> out(in.size());
    cpu::relu_forward(static_cast<int64_t>(in.size()), in.data(), out.data());
    return out;
  };
  const auto out = forward(values);
  std::vector<double> gradient(40);
  cpu::relu_backward(40, out.data(), cotangent.data(), gradient.data());
  check_gradient(forward, values, cotangent, gradient);
}

TEST_CASE("conversion between element types") {
  const std::vector<uint8_t> bytes = {0, 1, 200, 255};
  std::vector<float> floats(4);
  cpu::convert(4, bytes.data(), floats.data());
  CHECK(floats == std::vector<float>{0, 1, 200, 255});
  std::vector<int64_t> whole(4);
  cpu::convert(4, floats.data(), whole.data());
  CHECK(whole == std::vector<int64_t>{0, 1, 200, 255});
  std::vector<double> doubles(4);
  cpu::convert(4, whole.data(), doubles.data());
  CHECK(doubles == std::vector<double>{0, 1, 200, 255});
}

TEST_CASE("reductions: exact sums, same bits for any number of threads, first bad element") {
  std::vector<float> x(100003);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7) - 3;
  double sum = 0, squares = 0;
  for (float v : x) sum += static_cast<double>(v), squares += static_cast<double>(v * v);
  const auto n = static_cast<int64_t>(x.size());
  CHECK(cpu::sum(n, x.data()) == sum);
  CHECK(cpu::sum_of_squares(n, x.data()) == squares);
  CHECK(cpu::dot(n, x.data(), x.data()) == squares);
  CHECK(cpu::sum<float>(0, nullptr) == 0);

  const auto random = random_vector<float>(100003, -1, 1, 7);
  check_thread_independent([&] { return cpu::sum(n, random.data()); });
  check_thread_independent([&] { return cpu::sum_of_squares(n, random.data()); });

  CHECK(cpu::first_non_finite(n, x.data()) == -1);
  CHECK(cpu::first_non_finite<float>(0, nullptr) == -1);
  x[90001] = std::numeric_limits<float>::quiet_NaN();
  CHECK(cpu::first_non_finite(n, x.data()) == 90001);
  CHECK(std::isnan(cpu::sum_of_squares(n, x.data())));
  x[40001] = -std::numeric_limits<float>::infinity();
  CHECK(cpu::first_non_finite(n, x.data()) == 40001);
  const std::vector<double> d = {1e308, std::numeric_limits<double>::denorm_min(), HUGE_VAL};
  CHECK(cpu::first_non_finite(3, d.data()) == 2);
}

TEMPLATE_TEST_CASE("reorder_map: between any two layouts, padding zeroed", "", float, double) {
  using T = TestType;
  for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{2, 3, 5, 7},
                                                                             {1, 24, 3, 5},
                                                                             {3, 21, 17, 19},
                                                                             {0, 4, 2, 2},
                                                                             {1, 16, 1, 1},
                                                                             {2, 33, 9, 31}}) {
    const auto values = random_vector<double>(
        static_cast<size_t>(shape[0] * shape[1] * shape[2] * shape[3]), -1, 1, 8);
    for (const MapLayout& from : layouts_of(shape))
      for (const MapLayout& to : layouts_of(shape)) {
        INFO("shape " << shape[1] << " block " << from.block << " to " << to.block);
        auto x = blocked<T>(from, values);
        std::vector<bool> inside(x.size());
        for_elements(from, [&](size_t at, size_t) { inside[at] = true; });
        for (size_t i = 0; i < x.size(); ++i)
          if (!inside[i]) x[i] = std::numeric_limits<T>::quiet_NaN();  // padding is not read
        OutputMap<T> y(to);
        cpu::reorder_map(from, to.block, x.data(), y.data());
        std::vector<double> expected(values.size());
        for (size_t i = 0; i < values.size(); ++i)
          expected[i] = static_cast<double>(static_cast<T>(values[i]));
        CHECK(y.result() == expected);
      }
  }
}
