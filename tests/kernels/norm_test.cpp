#include "kernels/launch/check.h"
#include "kernels/norm/batch_norm.h"
#include "kernels/norm/lrn.h"
#include "tests/kernels/map_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

template <typename T>
std::vector<T> cast(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

struct NormCase {
  std::string group;
  Golden<double> x, dy;
  explicit NormCase(const std::string& name)
      : group("batch_norm/" + name), x(get("x")), dy(get("dy")) {}
  Golden<double> get(const std::string& name) const {
    return golden_f64("norm", group + "/" + name);
  }
  template <typename T>
  std::vector<T> channels(const std::string& name) const {
    return cast<T>(get(name).values);
  }
  BatchNormParams params() const {
    return {1e-5, golden_attribute("norm", group, "momentum"),
            golden_attribute("norm", group, "relu") != 0};
  }
};

}  // namespace

TEMPLATE_TEST_CASE("batch normalisation equals torch in training, in every layout", "", float,
                   double) {
  using T = TestType;
  for (const char* name : {"train0", "train1", "train2"}) {
    const NormCase c(name);
    const auto gamma = c.channels<T>("gamma"), beta = c.channels<T>("beta");
    for (const MapLayout& layout : layouts_of(c.x.shape)) {
      INFO(name << " block " << layout.block);
      const double tol = sizeof(T) == 8 ? 1e-12 : 1e-5;
      const auto channels = static_cast<size_t>(layout.c);
      auto mean = c.channels<T>("mean"), var = c.channels<T>("var");
      GuardedBuffer<T> saved_mean(channels), saved_rstd(channels), dgamma(channels),
          dbeta(channels);
      OutputMap<T> y(layout), dx(layout);
      const auto x = blocked<T>(layout, c.x.values), dy = blocked<T>(layout, c.dy.values);
      cpu::batch_norm_train_forward(layout, c.params(), x.data(), gamma.data(), beta.data(),
                                    y.data(), saved_mean.data(), saved_rstd.data(), mean.data(),
                                    var.data());
      FRCNN_CHECK_SAME(y.result(), c.get("y").values, tol, tol);
      FRCNN_CHECK_SAME(std::vector<double>(mean.begin(), mean.end()), c.get("mean_after").values,
                       tol, tol);
      FRCNN_CHECK_SAME(std::vector<double>(var.begin(), var.end()), c.get("var_after").values, tol,
                       tol);
      cpu::batch_norm_train_backward(layout, c.params(), x.data(), y.data(), gamma.data(),
                                     saved_mean.data(), saved_rstd.data(), dy.data(), dx.data(),
                                     dgamma.data(), dbeta.data());
      FRCNN_CHECK_SAME(dx.result(), c.get("dx").values, tol, tol);
      FRCNN_CHECK_SAME(values_of(dgamma), c.get("dgamma").values, tol, 10 * tol);
      FRCNN_CHECK_SAME(values_of(dbeta), c.get("dbeta").values, tol, 10 * tol);
      CHECK((saved_mean.guards_intact() && saved_rstd.guards_intact()));
      CHECK((dgamma.guards_intact() && dbeta.guards_intact()));
    }
  }
}

TEMPLATE_TEST_CASE("frozen batch normalisation equals torch, also in place and folded", "", float,
                   double) {
  using T = TestType;
  for (const char* name : {"frozen0", "frozen1", "frozen2"}) {
    const NormCase c(name);
    const auto gamma = c.channels<T>("gamma"), beta = c.channels<T>("beta");
    const auto mean = c.channels<T>("mean"), var = c.channels<T>("var");
    for (const MapLayout& layout : layouts_of(c.x.shape)) {
      INFO(name << " block " << layout.block);
      const double tol = sizeof(T) == 8 ? 1e-12 : 1e-5;
      const auto channels = static_cast<size_t>(layout.c);
      GuardedBuffer<T> dgamma(channels), dbeta(channels);
      OutputMap<T> y(layout), dx(layout);
      const auto x = blocked<T>(layout, c.x.values), dy = blocked<T>(layout, c.dy.values);
      cpu::batch_norm_frozen_forward(layout, c.params(), x.data(), gamma.data(), beta.data(),
                                     mean.data(), var.data(), y.data());
      FRCNN_CHECK_SAME(y.result(), c.get("y").values, tol, tol);
      auto in_place = x;
      cpu::batch_norm_frozen_forward(layout, c.params(), in_place.data(), gamma.data(), beta.data(),
                                     mean.data(), var.data(), in_place.data());
      CHECK(std::equal(in_place.begin(), in_place.end(), y.data()));

      cpu::batch_norm_frozen_backward(layout, c.params(), x.data(), y.data(), gamma.data(),
                                      mean.data(), var.data(), dy.data(), dx.data(), dgamma.data(),
                                      dbeta.data());
      FRCNN_CHECK_SAME(dx.result(), c.get("dx").values, tol, tol);
      FRCNN_CHECK_SAME(values_of(dgamma), c.get("dgamma").values, tol, 10 * tol);
      FRCNN_CHECK_SAME(values_of(dbeta), c.get("dbeta").values, tol, 10 * tol);
      auto only_dx = dy;
      cpu::batch_norm_frozen_backward<T>(layout, c.params(), nullptr, y.data(), gamma.data(),
                                         mean.data(), var.data(), only_dx.data(), only_dx.data(),
                                         nullptr, nullptr);
      CHECK(std::equal(only_dx.begin(), only_dx.end(), dx.data()));

      std::vector<T> scale(channels), shift(channels);
      cpu::batch_norm_fold(layout.c, 1e-5, gamma.data(), beta.data(), mean.data(), var.data(),
                           scale.data(), shift.data());
      double expected =
          c.x.values[0] * static_cast<double>(scale[0]) + static_cast<double>(shift[0]);
      if (c.params().relu) expected = std::max(expected, 0.0);
      CHECK(static_cast<double>(y.data()[0]) == Approx(expected).epsilon(1e-4).margin(1e-4));
    }
  }
}

TEST_CASE("batch normalisation: a large mean does not spoil the variance") {
  // Variance as a difference of squares would lose every digit here.
  const MapLayout layout{1, 16, 40, 50, 16};
  auto x = random_vector<float>(static_cast<size_t>(layout.size()), -1, 1, 1);
  for (float& v : x) v = 4096 + std::round(v * 512) / 512;
  double mean = 0, var = 0;
  for (size_t i = 0; i < x.size(); i += 16) mean += static_cast<double>(x[i]) / 2000;
  for (size_t i = 0; i < x.size(); i += 16) {
    const double d = static_cast<double>(x[i]) - mean;
    var += d * d / 2000;
  }
  std::vector<float> y(x.size()), saved_mean(16), saved_rstd(16);
  cpu::batch_norm_train_forward<float>(layout, {}, x.data(), nullptr, nullptr, y.data(),
                                       saved_mean.data(), saved_rstd.data(), nullptr, nullptr);
  CHECK(saved_mean[0] == Approx(mean).epsilon(1e-7));
  CHECK(saved_rstd[0] == Approx(1 / std::sqrt(var + 1e-5)).epsilon(1e-5));
}

TEST_CASE("batch normalisation: gradient check in float64, with and without ReLU") {
  for (bool relu : {false, true}) {
    const MapLayout layout{2, 3, 4, 3, 8};
    const BatchNormParams params{1e-3, 0.1, relu};
    const auto x = random_vector<double>(72, -1, 1, 11);
    const auto cotangent = random_vector<double>(72, -1, 1, 12);
    const std::vector<double> gamma = {1.5, 0.7, -1.2}, beta = {0.1, -0.2, 0.3};
    std::vector<double> mean(3), rstd(3), dgamma(3), dbeta(3);
    const auto run = [&](const std::vector<double>& in, const std::vector<double>& scale,
                         const std::vector<double>& offset) {
      OutputMap<double> y(layout);
      cpu::batch_norm_train_forward<double>(layout, params, blocked<double>(layout, in).data(),
                                            scale.data(), offset.data(), y.data(), mean.data(),
                                            rstd.data(), nullptr, nullptr);
      return y.result();
    };
    const auto y = run(x, gamma, beta);
    if (relu)  // no element within reach of the kink
      REQUIRE(std::none_of(y.begin(), y.end(), [](double v) { return v > 0 && v < 1e-4; }));
    OutputMap<double> dx(layout);
    cpu::batch_norm_train_backward(layout, params, blocked<double>(layout, x).data(),
                                   blocked<double>(layout, y).data(), gamma.data(), mean.data(),
                                   rstd.data(), blocked<double>(layout, cotangent).data(),
                                   dx.data(), dgamma.data(), dbeta.data());
    check_gradient([&](const auto& v) { return run(v, gamma, beta); }, x, cotangent, dx.result());
    check_gradient([&](const auto& v) { return run(x, v, beta); }, gamma, cotangent, dgamma);
    check_gradient([&](const auto& v) { return run(x, gamma, v); }, beta, cotangent, dbeta);
  }
}

TEST_CASE("batch normalisation: other thread counts give the same bits; one value is refused") {
  for (int64_t block : {1, 16, 40}) {
    const MapLayout layout{3, 40, 33, 29, block};
    const auto plain_x = random_vector<float>(size_t{3} * 40 * 33 * 29, -1, 1, 1);
    const auto x = blocked<float>(layout, plain_x);
    check_thread_independent([&] {
      std::vector<float> y(x.size()), dx(x.size()), mean(40), rstd(40), dgamma(40), dbeta(40);
      cpu::batch_norm_train_forward<float>(layout, {}, x.data(), nullptr, nullptr, y.data(),
                                           mean.data(), rstd.data(), nullptr, nullptr);
      cpu::batch_norm_train_backward<float>(layout, {}, x.data(), nullptr, nullptr, mean.data(),
                                            rstd.data(), y.data(), dx.data(), dgamma.data(),
                                            dbeta.data());
      for (const auto& part : {dx, mean, rstd, dgamma, dbeta})
        y.insert(y.end(), part.begin(), part.end());
      return y;
    });
  }
  std::vector<float> one(1);
  CHECK_THROWS_AS(
      cpu::batch_norm_train_forward<float>({1, 1, 1, 1, 1}, {}, one.data(), nullptr, nullptr,
                                           one.data(), one.data(), one.data(), nullptr, nullptr),
      Error);
}

TEMPLATE_TEST_CASE("local response normalisation equals torch, forward and backward", "", float,
                   double) {
  using T = TestType;
  for (const std::string& name : golden_members("norm", "lrn")) {
    const std::string group = "lrn/" + name;
    const auto x = golden_f64("norm", group + "/x"), y = golden_f64("norm", group + "/y");
    const auto dy = golden_f64("norm", group + "/dy"), dx = golden_f64("norm", group + "/dx");
    const LrnParams params{static_cast<int64_t>(golden_attribute("norm", group, "size")),
                           golden_attribute("norm", group, "alpha"),
                           golden_attribute("norm", group, "beta"),
                           golden_attribute("norm", group, "k")};
    for (const MapLayout& layout : layouts_of(x.shape)) {
      INFO(group << " block " << layout.block);
      const auto input = blocked<T>(layout, x.values);
      OutputMap<T> result(layout), gradient(layout);
      cpu::lrn_forward(layout, params, input.data(), result.data());
      FRCNN_CHECK_SAME(result.result(), y.values, tolerance<T>(), tolerance<T>());
      cpu::lrn_backward(layout, params, input.data(), blocked<T>(layout, dy.values).data(),
                        gradient.data());
      FRCNN_CHECK_SAME(gradient.result(), dx.values, tolerance<T>(), 2 * tolerance<T>());
      auto in_place = input;
      cpu::lrn_forward(layout, params, in_place.data(), in_place.data());
      CHECK(std::equal(in_place.begin(), in_place.end(), result.data()));
    }
  }
}

TEST_CASE("local response normalisation: gradient check in float64, no images, bad size") {
  for (int64_t size : {3, 4, 5}) {
    const MapLayout layout{2, 7, 2, 3, 8};
    const LrnParams params{size, 0.4, 0.75, 1.0};
    const auto x = random_vector<double>(84, -2, 2, 5),
               cotangent = random_vector<double>(84, -1, 1, 6);
    const auto forward = [&](const std::vector<double>& values) {
      OutputMap<double> y(layout);
      cpu::lrn_forward(layout, params, blocked<double>(layout, values).data(), y.data());
      return y.result();
    };
    OutputMap<double> dx(layout);
    cpu::lrn_backward(layout, params, blocked<double>(layout, x).data(),
                      blocked<double>(layout, cotangent).data(), dx.data());
    check_gradient(forward, x, cotangent, dx.result());
  }
  cpu::lrn_forward<float>({0, 3, 4, 4, 16}, {}, nullptr, nullptr);
  CHECK_THROWS_AS(cpu::lrn_forward<float>({1, 3, 4, 4, 16}, {0}, nullptr, nullptr), Error);
}
