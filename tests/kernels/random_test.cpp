#include "kernels/launch/check.h"
#include "kernels/random/dropout.h"
#include "kernels/random/init.h"
#include "tests/kernels/map_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

TEMPLATE_TEST_CASE("dropout: mask from the key, scaled, the same again in the backward pass", "",
                   float, double) {
  using T = TestType;
  const RandomKey key{7, kStreamDropout, 12};
  for (double p : {0.0, 0.3, 0.5})
    for (size_t count : {size_t{0}, size_t{1}, size_t{1023}, size_t{50001}}) {
      const auto x = random_vector<T>(count, 1, 2, 3);
      GuardedBuffer<T> y(count);
      cpu::dropout(static_cast<int64_t>(count), p, key, x.data(), y.data());
      std::vector<double> expected(count);
      size_t kept = 0;
      for (size_t i = 0; i < count; ++i) {
        const bool keep = static_cast<double>(random_uniform(key, i)) >= p;
        expected[i] = keep ? static_cast<double>(x[i]) / (1 - p) : 0.0;
        kept += keep;
      }
      FRCNN_CHECK_SAME(values_of(y), expected, tolerance<T>(), 0);
      CHECK(y.guards_intact());
      if (count > 50000)
        CHECK(static_cast<double>(kept) / static_cast<double>(count) == Approx(1 - p).margin(0.01));
      auto in_place = x;
      cpu::dropout(static_cast<int64_t>(count), p, key, in_place.data(), in_place.data());
      CHECK(std::equal(in_place.begin(), in_place.end(), y.data()));
    }
  const auto x = random_vector<T>(9000, 1, 2, 3);
  check_thread_independent([&] {
    std::vector<T> y(9000);
    cpu::dropout(9000, 0.5, key, x.data(), y.data());
    return y;
  });
  std::vector<T> a(64), b(64);
  cpu::dropout(64, 0.5, key, x.data(), a.data());
  cpu::dropout(64, 0.5, {7, kStreamDropout, 13}, x.data(), b.data());
  CHECK(a != b);
  CHECK_THROWS_AS(cpu::dropout(64, 1.0, key, x.data(), a.data()), Error);
  CHECK_THROWS_AS(cpu::dropout(64, -0.1, key, x.data(), a.data()), Error);
  CHECK_THROWS_AS(cpu::dropout(64, std::nan(""), key, x.data(), a.data()), Error);
}

TEST_CASE("dropout: gradient check in float64") {
  const RandomKey key{1, kStreamDropout, 2};
  const auto x = random_vector<double>(30, -1, 1, 1),
             cotangent = random_vector<double>(30, -1, 1, 2);
  const auto run = [&](const std::vector<double>& in) {
    std::vector<double> out(in.size());
    cpu::dropout(static_cast<int64_t>(in.size()), 0.4, key, in.data(), out.data());
    return out;
  };
  check_gradient(run, x, cotangent, run(cotangent));
}

TEST_CASE("A11 initialisers: Gauss, uniform, Xavier and He have their mean, spread and range") {
  const RandomKey key{3, kStreamInit, 0};
  constexpr int64_t kCount = 200001;
  const auto moments = [](const std::vector<float>& w) {
    double mean = 0, square = 0;
    for (float v : w)
      mean += static_cast<double>(v), square += static_cast<double>(v) * static_cast<double>(v);
    mean /= static_cast<double>(w.size());
    return std::pair{mean, std::sqrt(square / static_cast<double>(w.size()) - mean * mean)};
  };
  const auto check_moments = [&](const std::vector<float>& w, double mean, double std) {
    const auto [m, s] = moments(w);
    CHECK(m == Approx(mean).margin(4 * std / std::sqrt(kCount)));
    CHECK(s == Approx(std).epsilon(0.01));
  };
  std::vector<float> w(kCount);
  cpu::init_normal(kCount, 0.0, 0.01, key, w.data());
  check_moments(w, 0, 0.01);
  for (size_t i : {size_t{0}, size_t{1}, size_t{6}, size_t{4095}, size_t{4096}, size_t{kCount - 1}})
    CHECK(w[i] == static_cast<float>(0.01 * static_cast<double>(random_normal(key, i))));
  cpu::init_normal(kCount, 2.0, 0.001, key, w.data());
  check_moments(w, 2, 0.001);
  cpu::init_uniform(kCount, -0.5, 1.5, key, w.data());
  check_moments(w, 0.5, 2 / std::sqrt(12.0));
  CHECK((*std::min_element(w.begin(), w.end()) >= -0.5f &&
         *std::max_element(w.begin(), w.end()) < 1.5f));
  for (size_t i : {size_t{0}, size_t{3}, size_t{5}, size_t{kCount - 1}})
    CHECK(w[i] == -0.5f + 2 * random_uniform(key, i));
  cpu::init_xavier(kCount, 300, 100, key, w.data());
  check_moments(w, 0, std::sqrt(2.0 / 400));
  CHECK(*std::max_element(w.begin(), w.end()) <= std::sqrt(6.0f / 400));
  cpu::init_he(kCount, 72, key, w.data());
  check_moments(w, 0, std::sqrt(2.0 / 72));

  check_thread_independent([&] {
    std::vector<double> values(10001);
    cpu::init_normal(10001, 0.0, 1.0, key, values.data());
    return values;
  });
  cpu::init_normal<float>(0, 0, 1, key, nullptr);
  CHECK_THROWS_AS(cpu::init_he(1, 0, key, w.data()), Error);
  CHECK_THROWS_AS(cpu::init_xavier(1, 0, 1, key, w.data()), Error);
  CHECK_THROWS_AS(cpu::init_uniform(1, 1.0, 0.0, key, w.data()), Error);
}
