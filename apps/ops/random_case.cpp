#include "apps/ops/random_case.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace frcnn::apps::ops {

int64_t Random::below(int64_t bound) {
  return static_cast<int64_t>((uint64_t{bits()} * static_cast<uint64_t>(bound)) >> 32);
}

double Random::uniform(double low, double high) {
  return low + (high - low) * (static_cast<double>(bits() >> 8) * 0x1.0p-24);
}

Array Random::floats(const Extent& extent, double low, double high) {
  constexpr int64_t kOwn = 1000003;  // a prime: rows of a map do not become equal
  const int64_t count = count_of(extent);
  std::vector<float> values(static_cast<size_t>(std::min(count, kOwn)));
  for (float& value : values) value = static_cast<float>(uniform(low, high));
  const Array own = Array::of({static_cast<int64_t>(values.size())}, values);
  return Array::repeating(extent, own);
}

Array Random::coarse(const Extent& extent, double low, double high) {
  Array array = floats(extent, low, high);
  std::vector<float> values = array.as<float>();
  for (float& value : values) value = std::trunc(value * 8) / 8;
  array.set(values);
  return array;
}

Array Random::integers(const Extent& extent, int64_t low, int64_t high) {
  Array array(Type::i32, extent);
  std::vector<int32_t> values(static_cast<size_t>(array.count()));
  for (int32_t& value : values) value = static_cast<int32_t>(between(low, high));
  array.set(values);
  return array;
}

Array Random::flags(const Extent& extent, double probability_of_1) {
  Array array(Type::u8, extent);
  std::vector<uint8_t> values(static_cast<size_t>(array.count()));
  for (uint8_t& value : values) value = chance(probability_of_1) ? 1 : 0;
  array.set(values);
  return array;
}

int64_t Random::size(int64_t most, bool rarely_zero) {
  if (rarely_zero && chance(0.05)) return 0;
  if (chance(0.1)) return 1;
  return between(1, most);
}

Array Random::boxes(int64_t count, double height, double width) {
  const int64_t centres = between(1, 6);
  std::vector<float> middle;
  for (int64_t i = 0; i < centres; ++i) {
    middle.push_back(static_cast<float>(uniform(0, width)));
    middle.push_back(static_cast<float>(uniform(0, height)));
  }
  const auto rounded = [this](double value) {
    const int64_t kind = below(3);
    if (kind == 2) return static_cast<float>(value);
    const double step = kind == 0 ? 1 : 0.5;
    return static_cast<float>(std::round(value / step) * step);
  };
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) {
    if (i > 0 && chance(0.08)) {  // the same box again
      values.insert(values.end(), values.end() - 4, values.end());
      continue;
    }
    const auto centre = static_cast<size_t>(2 * below(centres));
    const double w = uniform(0, 0.5) * width, h = uniform(0, 0.5) * height;
    const double x = middle[centre] + uniform(-0.08, 0.08) * width;
    const double y = middle[centre + 1] + uniform(-0.08, 0.08) * height;
    const float x1 = rounded(x - w / 2), y1 = rounded(y - h / 2);
    const bool empty = chance(0.05);
    values.insert(values.end(), {x1, y1, empty ? x1 : std::max(x1, rounded(x + w / 2)),
                                 std::max(y1, rounded(y + h / 2))});
  }
  return Array::of({count, 4}, values);
}

Array Random::scattered_boxes(int64_t count, double height, double width) {
  std::vector<float> values;
  values.reserve(static_cast<size_t>(4 * count));
  for (int64_t i = 0; i < count; ++i) {
    const double side = std::min(height, width);
    const double w = uniform(0.05, 0.5) * side, h = uniform(0.05, 0.5) * side;
    const double x = uniform(0, width - w), y = uniform(0, height - h);
    for (const double corner : {x, y, x + w, y + h}) values.push_back(static_cast<float>(corner));
  }
  return Array::of({count, 4}, values);
}

Array Random::rois(int64_t count, int64_t images, double height, double width) {
  const std::vector<float> corners = boxes(count, height, width).as<float>();
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) {
    values.push_back(static_cast<float>(below(images)));
    values.insert(values.end(), corners.begin() + 4 * i, corners.begin() + 4 * i + 4);
  }
  return Array::of({count, 5}, values);
}

void sprinkle_specials(Random& random, Array& array, bool with_nan) {
  using Limits = std::numeric_limits<float>;
  if (array.count() == 0) return;
  std::vector<float> values = array.as<float>();
  for (const float special : {Limits::infinity(), -Limits::infinity(), -0.0f, Limits::denorm_min(),
                              Limits::max(), Limits::quiet_NaN()}) {
    if (std::isnan(special) && !with_nan) continue;
    if (random.chance(0.4)) values[static_cast<size_t>(random.below(array.count()))] = special;
  }
  array.set(values);
}

}  // namespace frcnn::apps::ops
