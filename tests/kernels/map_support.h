#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <vector>

#include "kernels/launch/layout.h"
#include "kernels/launch/parallel.h"
#include "kernels/random/philox.h"
#include "tests/support/support.h"

namespace frcnn::test {

/// Layouts to try for a map given as (n, c, h, w): NCHW, nChw8c, nChw16c and NHWC.
inline std::vector<kernels::MapLayout> layouts_of(const std::vector<int64_t>& shape) {
  std::vector<kernels::MapLayout> layouts;
  for (int64_t block : std::set<int64_t>{1, 8, 16, shape[1]})
    layouts.push_back({shape[0], shape[1], shape[2], shape[3], block});
  return layouts;
}

/// Calls visit(index in memory, index in plain NCHW order) for every element.
template <typename Visit>
void for_elements(const kernels::MapLayout& map, const Visit& visit) {
  size_t plain = 0;
  for (int64_t n = 0; n < map.n; ++n)
    for (int64_t c = 0; c < map.c; ++c)
      for (int64_t h = 0; h < map.h; ++h)
        for (int64_t w = 0; w < map.w; ++w) visit(static_cast<size_t>(map.at(n, c, h, w)), plain++);
}

/// Plain NCHW values in the given layout, padding zero.
template <typename T, typename From>
std::vector<T> blocked(const kernels::MapLayout& map, const std::vector<From>& plain) {
  std::vector<T> values(static_cast<size_t>(map.size()), T(0));
  for_elements(map, [&](size_t at, size_t i) { values[at] = static_cast<T>(plain.at(i)); });
  return values;
}

/// The reverse; every number outside the map must be zero and is counted in `bad_padding`.
template <typename To, typename T>
std::vector<To> plain(const kernels::MapLayout& map, std::span<const T> values, int* bad_padding) {
  std::vector<To> result(static_cast<size_t>(map.n * map.c * map.h * map.w));
  std::vector<bool> seen(values.size());
  for_elements(map, [&](size_t at, size_t i) {
    result[i] = static_cast<To>(values[at]);
    seen[at] = true;
  });
  for (size_t i = 0; i < values.size(); ++i)
    if (!seen[i] && !(values[i] == T(0))) ++*bad_padding;
  return result;
}

/// An output map: guarded and poisoned. result() checks guards and padding.
template <typename T>
class OutputMap {
 public:
  explicit OutputMap(const kernels::MapLayout& map)
      : map_(map), buffer_(static_cast<size_t>(map.size())) {}
  T* data() { return buffer_.data(); }
  std::vector<double> result() {
    CHECK(buffer_.guards_intact());
    int bad_padding = 0;
    auto values = plain<double, T>(map_, buffer_.span(), &bad_padding);
    CHECK(bad_padding == 0);
    return values;
  }

 private:
  kernels::MapLayout map_;
  GuardedBuffer<T> buffer_;
};

/// Bytes with guard bands.
class GuardedBytes {
 public:
  explicit GuardedBytes(int64_t size) : bytes_(static_cast<size_t>(size) + 128, 0xEE) {}
  uint8_t* data() { return bytes_.data() + 64; }
  size_t size() const { return bytes_.size() - 128; }
  bool guards_intact() const {
    const auto untouched = [](uint8_t b) { return b == 0xEE; };
    return std::all_of(bytes_.begin(), bytes_.begin() + 64, untouched) &&
           std::all_of(bytes_.end() - 64, bytes_.end(), untouched);
  }

 private:
  std::vector<uint8_t> bytes_;
};

inline std::vector<double> values_of(GuardedBuffer<float>& buffer) {
  return {buffer.span().begin(), buffer.span().end()};
}
inline std::vector<double> values_of(GuardedBuffer<double>& buffer) {
  return {buffer.span().begin(), buffer.span().end()};
}

/// Relative tolerance for values of type T that went through a short computation.
template <typename T>
double tolerance() {
  return sizeof(T) == 8 ? 1e-12 : 2e-6;
}

/// Central differences of sum(cotangent * forward(x)) against `gradient`, every element of x.
inline void check_gradient(
    const std::function<std::vector<double>(const std::vector<double>&)>& forward,
    std::vector<double> x, const std::vector<double>& cotangent,
    const std::vector<double>& gradient, double step = 1e-5, double tolerance = 1e-7) {
  const auto loss = [&] {
    const std::vector<double> y = forward(x);
    REQUIRE(y.size() == cotangent.size());
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * cotangent[i];
    return sum;
  };
  std::vector<double> expected(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double value = x[i];
    x[i] = value + step;
    const double above = loss();
    x[i] = value - step;
    const double below = loss();
    x[i] = value;
    expected[i] = (above - below) / (2 * step);
  }
  FRCNN_CHECK_SAME(gradient, expected, tolerance, tolerance);
}

/// Numbers that differ from each other by at least 0.01, in shuffled order: no kinks for max
/// pooling.
inline std::vector<double> distinct_values(size_t count) {
  std::vector<double> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = 0.01 * static_cast<double>(i);
  for (size_t i = count; i > 1; --i) {
    const kernels::RandomKey key{1, kernels::kStreamTest, 0};
    std::swap(values[i - 1], values[kernels::random_below(key, i, static_cast<uint32_t>(i))]);
  }
  return values;
}

/// Runs body with 1, 2 and 5 threads; its results (any equality-comparable value) must be the same.
template <typename Body>
void check_thread_independent(const Body& body) {
  const int before = kernels::num_threads();
  kernels::set_num_threads(1);
  const auto expected = body();
  for (int threads : {2, 5}) {
    kernels::set_num_threads(threads);
    CHECK(body() == expected);
  }
  kernels::set_num_threads(before);
}

}  // namespace frcnn::test
