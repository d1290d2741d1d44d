// Pictures of feature maps and filters.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "data/show.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace {

/// Where the pictures of a mosaic lie: `columns` of them side by side, enlarged by `factor`.
struct Grid {
  int64_t count, height, width, columns, rows;
  int factor;
  static constexpr int kGap = 2, kLabel = 10;

  Grid(int64_t n, int64_t h, int64_t w) : count(n), height(h), width(w) {
    const double shape = static_cast<double>(h + 1) / static_cast<double>(w + 1);
    columns = std::clamp<int64_t>(
        std::llround(std::sqrt(static_cast<double>(n) * std::max(shape, 0.1)) * 1.15), 1, n);
    rows = (n + columns - 1) / columns;
    const double most = 1600.0 / static_cast<double>(columns);
    factor = std::clamp(static_cast<int>(std::min(most, 200.0) / static_cast<double>(w)), 1, 24);
  }
  int left(int64_t i) const {
    return static_cast<int>(i % columns) * (static_cast<int>(width) * factor + kGap) + kGap;
  }
  int top(int64_t i) const {
    return static_cast<int>(i / columns) * (static_cast<int>(height) * factor + kGap + kLabel) +
           kGap + kLabel;
  }
  Image empty() const {
    return {static_cast<int>(columns) * (static_cast<int>(width) * factor + kGap) + kGap,
            static_cast<int>(rows) * (static_cast<int>(height) * factor + kGap + kLabel) + kGap,
            28};
  }
};

template <typename ColourOf>
Image mosaic(int64_t count, int64_t height, int64_t width, const ColourOf& colour_of) {
  const Grid grid(count, height, width);
  Image image = grid.empty();
  for (int64_t n = 0; n < count; ++n) {
    const int left = grid.left(n), top = grid.top(n);
    draw_text(image, left, top - 8, fmt::format("{}", n), {170, 170, 170});
    for (int64_t y = 0; y < height * grid.factor; ++y)
      for (int64_t x = 0; x < width * grid.factor; ++x) {
        const Colour colour = colour_of(n, y / grid.factor, x / grid.factor);
        std::copy(colour.begin(), colour.end(),
                  image.pixel(left + static_cast<int>(x), top + static_cast<int>(y)));
      }
  }
  return image;
}

void check_size(std::span<const float> values, int64_t expected) {
  check(expected > 0 && static_cast<int64_t>(values.size()) == expected,
        "[show] expected {} numbers of a mosaic, got {}", expected, values.size());
}

struct Range {
  float low = std::numeric_limits<float>::infinity(), high = -low;
  void add(float v) {
    if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
  }
  uint8_t gray(float v) const {
    if (!(high > low)) return 0;
    return static_cast<uint8_t>(std::lround(255 * (double{v} - low) / (double{high} - low)));
  }
};

}  // namespace

Image maps_picture(std::span<const float> values, int64_t count, int64_t height, int64_t width,
                   bool separate, const std::string& title) {
  check_size(values, count * height * width);
  std::vector<Range> ranges(static_cast<size_t>(count));
  Range all;
  const int64_t plane = height * width;
  int64_t constant = 0, broken = 0;
  for (int64_t n = 0; n < count; ++n) {
    Range& own = ranges[static_cast<size_t>(n)];
    for (const float v : values.subspan(static_cast<size_t>(n * plane), static_cast<size_t>(plane)))
      own.add(v), all.add(v), broken += !std::isfinite(v);
    constant += !(own.high > own.low);
  }
  const Image image = mosaic(count, height, width, [&](int64_t n, int64_t y, int64_t x) -> Colour {
    const float v = values[static_cast<size_t>(n * plane + y * width + x)];
    if (!std::isfinite(v)) return {255, 0, 0};
    const uint8_t gray = (separate ? ranges[static_cast<size_t>(n)] : all).gray(v);
    return {gray, gray, gray};
  });
  Canvas canvas(image);
  canvas.note(separate ? "each from its least value (black) to its largest (white); constant ones "
                         "are black"
                       : "all from the least value of any (black) to the largest (white)");
  canvas.note(fmt::format(
      "least {:g}, largest {:g}; {} of {} are constant{}", all.low, all.high, constant, count,
      broken > 0 ? fmt::format("; {} values are not finite (red)", broken) : std::string()));
  return canvas.finish(title);
}

Image filters_picture(std::span<const float> values, int64_t count, int64_t height, int64_t width,
                      bool bgr, const std::string& title) {
  const int64_t plane = height * width;
  check_size(values, count * 3 * plane);
  std::vector<double> largest(static_cast<size_t>(count), 0);
  double least = std::numeric_limits<double>::infinity(), most = 0;
  for (int64_t n = 0; n < count; ++n) {
    double& own = largest[static_cast<size_t>(n)];
    for (int64_t i = 0; i < 3 * plane; ++i)
      own = std::max(own, std::abs(double{values[static_cast<size_t>(n * 3 * plane + i)]}));
    least = std::min(least, own), most = std::max(most, own);
  }
  const Image image = mosaic(count, height, width, [&](int64_t n, int64_t y, int64_t x) {
    Colour colour{};
    for (int64_t c = 0; c < 3; ++c) {
      const double v = values[static_cast<size_t>((n * 3 + c) * plane + y * width + x)];
      const double own = largest[static_cast<size_t>(n)];
      colour[static_cast<size_t>(bgr ? 2 - c : c)] = static_cast<uint8_t>(
          std::lround(127.5 + 127.5 * std::clamp(own > 0 ? v / own : 0, -1.0, 1.0)));
    }
    return colour;
  });
  Canvas canvas(image);
  canvas.note(
      fmt::format("each divided by its largest absolute value ({:.3g} to {:.3g}): 0 is "
                  "gray, brighter is positive, darker negative",
                  least, most));
  return canvas.finish(title);
}

}  // namespace frcnn
