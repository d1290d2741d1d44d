#include "kernels/elementwise/activations.h"

#include <cmath>
#include <limits>

#include "tests/kernels/map_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

template <typename T>
std::vector<T> narrow(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

/// forward(count, x, y) and backward(count, x, y, dy, dx) against a group of golden values.
template <typename T, typename Forward, typename Backward>
void check_golden(const std::string& group, const Forward& forward, const Backward& backward) {
  INFO(group);
  const auto x = golden_f64("graph_ops", group + "/x"), y = golden_f64("graph_ops", group + "/y");
  const auto dy = golden_f64("graph_ops", group + "/dy");
  const auto dx = golden_f64("graph_ops", group + "/dx");
  const auto count = static_cast<int64_t>(x.values.size());
  const auto input = narrow<T>(x.values), cotangent = narrow<T>(dy.values);
  GuardedBuffer<T> result(x.values.size()), gradient(x.values.size());
  forward(count, input.data(), result.data());
  backward(count, input.data(), result.data(), cotangent.data(), gradient.data());
  FRCNN_CHECK_SAME(values_of(result), y.values, tolerance<T>(), tolerance<T>());
  FRCNN_CHECK_SAME(values_of(gradient), dx.values, tolerance<T>(), tolerance<T>());
  CHECK((result.guards_intact() && gradient.guards_intact()));
  // In place: y over x, dx over dy.
  auto y_over = input, dx_over = cotangent;
  forward(count, y_over.data(), y_over.data());
  backward(count, input.data(), y_over.data(), dx_over.data(), dx_over.data());
  FRCNN_CHECK_SAME(std::vector<double>(y_over.begin(), y_over.end()), values_of(result), 0, 0);
  FRCNN_CHECK_SAME(std::vector<double>(dx_over.begin(), dx_over.end()), values_of(gradient), 0, 0);
}

}  // namespace

TEMPLATE_TEST_CASE("leaky ReLU, clip and sigmoid equal torch", "", float, double) {
  using T = TestType;
  for (const std::string& name : golden_members("graph_ops", "leaky_relu")) {
    const double slope = golden_attribute("graph_ops", "leaky_relu/" + name, "slope");
    check_golden<T>(
        "leaky_relu/" + name,
        [&](int64_t n, const T* x, T* y) { cpu::leaky_relu_forward(n, slope, x, y); },
        [&](int64_t n, const T* x, const T* y, const T* dy, T* dx) {
          cpu::leaky_relu_backward(n, slope, slope >= 0 ? y : x, dy, dx);
        });
  }
  for (const std::string& name : golden_members("graph_ops", "clip")) {
    const double low = golden_attribute("graph_ops", "clip/" + name, "low");
    const double high = golden_attribute("graph_ops", "clip/" + name, "high");
    check_golden<T>(
        "clip/" + name, [&](int64_t n, const T* x, T* y) { cpu::clip_forward(n, low, high, x, y); },
        [&](int64_t n, const T*, const T* y, const T* dy, T* dx) {
          cpu::clip_backward(n, low, high, y, dy, dx);
        });
  }
  check_golden<T>(
      "sigmoid/0", [](int64_t n, const T* x, T* y) { cpu::sigmoid_forward(n, x, y); },
      [](int64_t n, const T*, const T* y, const T* dy, T* dx) {
        cpu::sigmoid_backward(n, y, dy, dx);
      });
}

TEST_CASE("activations at the ends of the numbers, and NaN") {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  const std::vector<float> x = {-inf, -1e30f, -0.0f, 0.0f, 1e30f, inf, nan};
  std::vector<float> y(x.size());
  cpu::sigmoid_forward(7, x.data(), y.data());
  FRCNN_CHECK_SAME(y, (std::vector<float>{0, 0, 0.5f, 0.5f, 1, 1, nan}), 0, 0, true);
  cpu::clip_forward(7, -2, 6, x.data(), y.data());
  FRCNN_CHECK_SAME(y, (std::vector<float>{-2, -2, 0, 0, 6, 6, nan}), 0, 0, true);
  cpu::clip_forward(7, -double(inf), double(inf), x.data(), y.data());
  FRCNN_CHECK_SAME(y, x, 0, 0, true);
  cpu::leaky_relu_forward(7, 0.5, x.data(), y.data());
  FRCNN_CHECK_SAME(y, (std::vector<float>{-inf, -5e29f, 0, 0, 1e30f, inf, nan}), 0, 0, true);
  cpu::sigmoid_forward<float>(0, nullptr, nullptr);
  cpu::clip_forward<float>(0, 0, 1, nullptr, nullptr);
  cpu::leaky_relu_forward<float>(0, 0.1, nullptr, nullptr);
}

TEST_CASE("clear_padding zeroes the padding channels and nothing else") {
  for (const MapLayout& map :
       {MapLayout{2, 11, 3, 2, 8}, MapLayout{2, 11, 3, 2, 11}, MapLayout{0, 3, 2, 2, 8},
        MapLayout{1, 16, 2, 2, 16}, MapLayout{1, 1, 1, 1, 16}}) {
    GuardedBuffer<float> values(static_cast<size_t>(map.size()));
    std::fill(values.span().begin(), values.span().end(), 7.0f);
    cpu::clear_padding(map, values.data());
    int bad_padding = 0;
    const auto inside = plain<double, float>(map, values.span(), &bad_padding);
    CHECK(bad_padding == 0);
    CHECK(inside == std::vector<double>(inside.size(), 7.0));
    CHECK(values.guards_intact());
  }
}
