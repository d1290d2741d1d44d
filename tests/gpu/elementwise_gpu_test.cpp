#include <cmath>
#include <limits>

#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/reductions.h"
#include "tests/gpu/gpu_support.h"

using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {
constexpr int64_t kCounts[] = {0, 1, 3, 4, 5, 255, 257, 1025, 5000};

template <typename T>
std::vector<T> input(int64_t count, uint64_t seed) {
  auto values = random_vector<T>(static_cast<size_t>(count), -2, 2, seed);
  if (count > 2) values[2] = std::numeric_limits<T>::quiet_NaN();
  if (count > 4) values[4] = std::numeric_limits<T>::infinity();
  return values;
}
}  // namespace

TEMPLATE_TEST_CASE("GPU elementwise operations equal the CPU's, bit by bit", "", float, double) {
  using T = TestType;
  for (const int64_t count : kCounts) {
    const auto n = static_cast<size_t>(count);
    const auto a = input<T>(count, 1), b = input<T>(count, 2);
    std::vector<T> relu(n), back(n), sum(n), product(n), scaled(n), axpy = b;
    cpu::relu_forward(count, a.data(), relu.data());
    cpu::relu_backward(count, relu.data(), b.data(), back.data());
    cpu::add(count, a.data(), b.data(), sum.data());
    cpu::multiply(count, a.data(), b.data(), product.data());
    cpu::scale(count, 0.3, a.data(), scaled.data());
    for (size_t i = 0; i < n; ++i) axpy[i] = b[i] + T(static_cast<T>(0.3) * a[i]);
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      for (const auto version : {ElementwiseVersion::scalar, ElementwiseVersion::vector}) {
        INFO(count << " elements, " << kElementwiseVersions[static_cast<int>(version)].name);
        const DeviceArray<B, T> da(a), db(b), y(n), in_place(b);
        gpu::relu_forward<B>(nullptr, count, da.data(), y.data(), version);
        FRCNN_CHECK_SAME(y.host(), relu, 0, 0, true);
        const DeviceArray<B, T> drelu(relu);
        gpu::relu_backward<B>(nullptr, count, drelu.data(), db.data(), y.data(), version);
        FRCNN_CHECK_SAME(y.host(), back, 0, 0, true);
        gpu::add<B>(nullptr, count, da.data(), db.data(), y.data(), version);
        FRCNN_CHECK_SAME(y.host(), sum, 0, 0, true);
        gpu::multiply<B>(nullptr, count, da.data(), db.data(), y.data(), version);
        FRCNN_CHECK_SAME(y.host(), product, 0, 0, true);
        gpu::scale<B>(nullptr, count, 0.3, da.data(), y.data(), version);
        FRCNN_CHECK_SAME(y.host(), scaled, 0, 0, true);
        gpu::axpy<B>(nullptr, count, 0.3, da.data(), in_place.data(), version);
        FRCNN_CHECK_SAME(in_place.host(), axpy, 0, 0, true);
        // A pointer that is not aligned for wide loads.
        if (count > 1) {
          const DeviceArray<B, T> shifted(n);
          gpu::relu_forward<B>(nullptr, count - 1, da.data() + 1, shifted.data(), version);
          auto expected = std::vector<T>(relu.begin() + 1, relu.end());
          auto actual = shifted.host();
          actual.pop_back();
          FRCNN_CHECK_SAME(actual, expected, 0, 0, true);
        }
      }
    });
  }
}

TEST_CASE("GPU fill and convert") {
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const DeviceArray<B, int32_t> filled(1001);
    gpu::fill<B>(nullptr, int64_t{1001}, int32_t{-7}, filled.data());
    CHECK(filled.host() == std::vector<int32_t>(1001, -7));
    const DeviceArray<B, float> source(std::vector<float>{1.9f, -1.9f, 0, 250});
    const DeviceArray<B, int64_t> whole(4);
    const DeviceArray<B, double> wide(4);
    gpu::convert<B>(nullptr, 4, source.data(), whole.data());
    gpu::convert<B>(nullptr, 4, source.data(), wide.data());
    CHECK(whole.host() == std::vector<int64_t>{1, -1, 0, 250});
    CHECK(wide.host() == std::vector<double>{1.9f, -1.9f, 0, 250});
  });
}

TEMPLATE_TEST_CASE("GPU reductions: equal the CPU's and are the same in every run", "", float,
                   double) {
  using T = TestType;
  for (const int64_t count : {0, 1, 31, 1000, 16385, 70000}) {
    const auto n = static_cast<size_t>(count);
    auto a = random_vector<T>(n, -1, 1, 3), b = random_vector<T>(n, -1, 1, 4);
    std::vector<double> seen;
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      INFO(count << " elements");
      const DeviceArray<B, T> da(a), db(b);
      DeviceArray<B, unsigned char> work(gpu::kReductionWorkspace);
      work.zero();
      const DeviceArray<B, double> results(3);
      gpu::sum<B>(nullptr, count, da.data(), results.data(), work.data());
      gpu::dot<B>(nullptr, count, da.data(), db.data(), results.data() + 1, work.data());
      gpu::sum_of_squares<B>(nullptr, count, da.data(), results.data() + 2, work.data());
      const std::vector<double> actual = results.host();
      FRCNN_CHECK_SAME(
          actual,
          std::vector<double>({cpu::sum(count, a.data()), cpu::dot(count, a.data(), b.data()),
                               cpu::sum_of_squares(count, a.data())}),
          1e-12, 1e-11);
      if (seen.empty()) seen = actual;
      CHECK(actual == seen);
    });
    // The first bad element, wherever it is.
    for (const int64_t bad : {int64_t{-1}, int64_t{0}, count / 2, count - 1}) {
      auto values = a;
      if (bad >= 0 && bad < count) {
        values[static_cast<size_t>(bad)] = std::numeric_limits<T>::infinity();
        values.back() = std::numeric_limits<T>::quiet_NaN();
      }
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        const DeviceArray<B, T> dv(values);
        DeviceArray<B, unsigned char> work(gpu::kReductionWorkspace);
        work.zero();
        const DeviceArray<B, int64_t> result(1);
        gpu::first_non_finite<B>(nullptr, count, dv.data(), result.data(), work.data());
        CHECK(result.host()[0] == cpu::first_non_finite(count, values.data()));
      });
    }
  }
}
