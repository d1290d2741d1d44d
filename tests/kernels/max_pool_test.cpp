#include "kernels/pooling/max_pool.h"

#include <limits>

#include "kernels/launch/check.h"
#include "kernels/pooling/adaptive_max_pool.h"
#include "tests/kernels/map_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

MaxPoolParams golden_params(const std::string& group) {
  const auto value = [&](const char* name) {
    return static_cast<int64_t>(golden_attribute("pooling", group, name));
  };
  return {value("kernel_h"), value("kernel_w"), value("stride_h"),      value("stride_w"),
          value("pad_h"),    value("pad_w"),    value("ceil_mode") != 0};
}

}  // namespace

TEMPLATE_TEST_CASE("max pooling equals torch, forward and backward, in every layout", "", float,
                   double) {
  for (const std::string& name : golden_members("pooling", "max_pool")) {
    const std::string group = "max_pool/" + name;
    const auto x = golden_f64("pooling", group + "/x"), y = golden_f64("pooling", group + "/y");
    const auto dy = golden_f64("pooling", group + "/dy"), dx = golden_f64("pooling", group + "/dx");
    const MaxPoolParams params = golden_params(group);
    for (const MapLayout& layout : layouts_of(x.shape)) {
      INFO(group << " block " << layout.block);
      const MapLayout out = max_pool_layout(layout, params);
      REQUIRE(std::vector<int64_t>{out.n, out.c, out.h, out.w} == y.shape);
      const auto input = blocked<TestType>(layout, x.values);
      OutputMap<TestType> result(out), inference(out), gradient(layout);
      GuardedBytes window(out.size());
      cpu::max_pool_forward(layout, params, input.data(), result.data(), window.data());
      cpu::max_pool_forward<TestType>(layout, params, input.data(), inference.data(), nullptr);
      CHECK(window.guards_intact());
      FRCNN_CHECK_SAME(result.result(), y.values, 0, 0);
      FRCNN_CHECK_SAME(inference.result(), y.values, 0, 0);
      cpu::max_pool_backward(layout, params, blocked<TestType>(out, dy.values).data(),
                             window.data(), gradient.data());
      FRCNN_CHECK_SAME(gradient.result(), dx.values, 0, 0);
    }
  }
}

TEST_CASE("max pooling passes NaN on and keeps -infinity") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  // 9 1 | -inf -inf
  // n 2 | -inf -inf
  const std::vector<float> x = {9, 1, -inf, -inf, nan, 2, -inf, -inf};
  for (int64_t block : {int64_t{1}, int64_t{16}}) {
    const MapLayout layout{1, 1, 2, 4, block};
    const MapLayout out = layout.resized(1, 2);
    std::vector<float> y(static_cast<size_t>(out.size()));
    std::vector<uint8_t> window(y.size());
    const auto input = blocked<float>(layout, x);
    cpu::max_pool_forward(layout, {}, input.data(), y.data(), window.data());
    CHECK(std::isnan(y[0]));
    CHECK(window[0] == 2);
    CHECK(y[static_cast<size_t>(block)] == -inf);
    CHECK(window[static_cast<size_t>(block)] == 0);
    cpu::max_pool_forward<float>(layout, {}, input.data(), y.data(), nullptr);
    CHECK(std::isnan(y[0]));
  }
}

TEST_CASE("max pooling: gradient check in float64") {
  for (const MaxPoolParams& params : {MaxPoolParams::square(2, 2), MaxPoolParams::square(3, 2, 1),
                                      MaxPoolParams::square(3, 1, 1)}) {
    const MapLayout layout{1, 3, 5, 6, 8};
    const MapLayout out = max_pool_layout(layout, params);
    const auto x = distinct_values(90);
    const auto cotangent = random_vector<double>(static_cast<size_t>(3 * out.h * out.w), -1, 1, 2);
    std::vector<uint8_t> window(static_cast<size_t>(out.size()));
    const auto forward = [&](const std::vector<double>& values) {
      OutputMap<double> y(out);
      cpu::max_pool_forward(layout, params, blocked<double>(layout, values).data(), y.data(),
                            window.data());
      return y.result();
    };
    forward(x);
    OutputMap<double> dx(layout);
    const auto kept = window;
    cpu::max_pool_backward(layout, params, blocked<double>(out, cotangent).data(), kept.data(),
                           dx.data());
    check_gradient(forward, x, cotangent, dx.result());
  }
}

TEST_CASE("max pooling: no images, other thread counts, and bad parameters") {
  const MapLayout none{0, 3, 4, 4, 16};
  cpu::max_pool_forward<float>(none, {}, nullptr, nullptr, nullptr);
  cpu::max_pool_backward<float>(none, {}, nullptr, nullptr, nullptr);

  const MapLayout layout{2, 40, 61, 47, 16};
  const MaxPoolParams params = MaxPoolParams::square(3, 2, 1);
  const auto x = random_vector<float>(static_cast<size_t>(layout.size()), -1, 1, 3);
  check_thread_independent([&] {
    const MapLayout out = max_pool_layout(layout, params);
    std::vector<float> y(static_cast<size_t>(out.size())), dx(x.size());
    std::vector<uint8_t> window(y.size());
    cpu::max_pool_forward(layout, params, x.data(), y.data(), window.data());
    cpu::max_pool_backward(layout, params, y.data(), window.data(), dx.data());
    y.insert(y.end(), dx.begin(), dx.end());
    return y;
  });

  // A last window that would start behind map and padding is left out: 2 windows of 3, not 3.
  CHECK(max_pool_layout({1, 1, 5, 5, 1}, MaxPoolParams::square(3, 3, 1, true)).h == 2);
  CHECK(max_pool_layout({1, 1, 6, 6, 1}, MaxPoolParams::square(3, 3, 1, true)).h == 3);

  CHECK_THROWS_AS(max_pool_layout(layout, MaxPoolParams::square(0, 2)), Error);
  CHECK_THROWS_AS(max_pool_layout(layout, MaxPoolParams::square(2, 2, 2)), Error);
  CHECK_THROWS_AS(max_pool_layout(layout, MaxPoolParams::square(17, 2)), Error);
  CHECK_THROWS_AS(max_pool_layout({1, 1, 1, 9, 1}, MaxPoolParams::square(2, 2)), Error);
}

TEMPLATE_TEST_CASE("E5 adaptive max pooling equals torch, forward and backward, in every layout",
                   "", float, double) {
  for (const std::string& name : golden_members("pooling", "adaptive_max_pool")) {
    const std::string group = "adaptive_max_pool/" + name;
    const auto x = golden_f64("pooling", group + "/x"), y = golden_f64("pooling", group + "/y");
    const auto dy = golden_f64("pooling", group + "/dy"), dx = golden_f64("pooling", group + "/dx");
    REQUIRE(y.shape[2] == 7);
    REQUIRE(y.shape[3] == 10);
    for (const MapLayout& layout : layouts_of(x.shape)) {
      INFO(group << " block " << layout.block);
      const MapLayout out = layout.resized(7, 10);
      const auto input = blocked<TestType>(layout, x.values);
      OutputMap<TestType> result(out), inference(out), gradient(layout);
      GuardedBuffer<int32_t> argmax(static_cast<size_t>(out.size()));
      cpu::adaptive_max_pool_forward(layout, 7, 10, input.data(), result.data(), argmax.data());
      cpu::adaptive_max_pool_forward<TestType>(layout, 7, 10, input.data(), inference.data(),
                                               nullptr);
      CHECK(argmax.guards_intact());
      FRCNN_CHECK_SAME(result.result(), y.values, 0, 0);
      FRCNN_CHECK_SAME(inference.result(), y.values, 0, 0);
      cpu::adaptive_max_pool_backward(layout, 7, 10, blocked<TestType>(out, dy.values).data(),
                                      argmax.data(), gradient.data());
      FRCNN_CHECK_SAME(gradient.result(), dx.values, 0, 0);
    }
  }
}

TEST_CASE("adaptive max pooling: gradient check in float64, no images, bad sizes") {
  const MapLayout layout{2, 3, 5, 4, 3};
  const MapLayout out = layout.resized(3, 3);
  const auto x = distinct_values(120);
  const auto cotangent = random_vector<double>(54, -1, 1, 2);
  std::vector<int32_t> argmax(54);
  const auto forward = [&](const std::vector<double>& values) {
    OutputMap<double> y(out);
    cpu::adaptive_max_pool_forward(layout, 3, 3, blocked<double>(layout, values).data(), y.data(),
                                   argmax.data());
    return y.result();
  };
  forward(x);
  OutputMap<double> dx(layout);
  cpu::adaptive_max_pool_backward(layout, 3, 3, blocked<double>(out, cotangent).data(),
                                  argmax.data(), dx.data());
  check_gradient(forward, x, cotangent, dx.result());

  cpu::adaptive_max_pool_forward<float>({0, 3, 5, 4, 1}, 3, 3, nullptr, nullptr, nullptr);
  CHECK_THROWS_AS(cpu::adaptive_max_pool_forward<float>(layout, 0, 3, nullptr, nullptr, nullptr),
                  Error);
}
