#pragma once

#include "tests/gpu/gpu_support.h"
#include "tests/kernels/map_support.h"

namespace frcnn::test {

/// |actual - expected| <= terms * epsilon(T) * magnitude, element by element: `magnitude` is the
/// sum of the absolute values of what was added up, in whatever order, and `terms` how many
/// roundings a term passes at most. Empty when it holds, else a sentence.
template <typename T>
std::string beyond_rounding(const std::vector<T>& actual, const std::vector<T>& expected,
                            const std::vector<T>& magnitude, double terms) {
  if (actual.size() != expected.size() || actual.size() != magnitude.size())
    return "sizes differ: " + std::to_string(actual.size()) + ", " +
           std::to_string(expected.size()) + ", " + std::to_string(magnitude.size());
  const double epsilon = std::numeric_limits<T>::epsilon() / 2;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double off = std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i]));
    if (!(off <= terms * epsilon * static_cast<double>(magnitude[i])))
      return "at " + std::to_string(i) + ": " + std::to_string(actual[i]) + " instead of " +
             std::to_string(expected[i]) + ", off by " + std::to_string(off / epsilon) +
             " epsilon, magnitude " + std::to_string(magnitude[i]);
  }
  return "";
}
#define FRCNN_CHECK_ROUNDING(...) CHECK(::frcnn::test::beyond_rounding(__VA_ARGS__) == "")

template <typename T>
std::vector<double> cast_to_double(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}
template <typename T>
std::vector<T> absolute(std::vector<T> values) {
  for (T& value : values) value = std::abs(value);
  return values;
}

/// Random values in the layout, padding zero.
template <typename T>
std::vector<T> random_map(const kernels::MapLayout& map, double low, double high, uint64_t seed) {
  const auto size = static_cast<size_t>(map.n * map.c * map.h * map.w);
  return blocked<T>(map, random_vector<double>(size, low, high, seed));
}

/// The layouts of a map that kernels treat differently: NCHW, blocked by 8 and 16, NHWC.
inline std::vector<kernels::MapLayout> layouts_of(const kernels::MapLayout& map) {
  return layouts_of(std::vector<int64_t>{map.n, map.c, map.h, map.w});
}

}  // namespace frcnn::test
