#include "data/draw.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/font.h"

namespace frcnn {
namespace {

/// Whole pixels [x1, x2) x [y1, y2).
struct PixelRect {
  int x1 = 0, y1 = 0, x2 = 0, y2 = 0;
};

void fill(Image& image, const PixelRect& rect, Colour colour) {
  const int x1 = std::max(rect.x1, 0), x2 = std::min(rect.x2, image.width);
  const int y1 = std::max(rect.y1, 0), y2 = std::min(rect.y2, image.height);
  for (int y = y1; y < y2; ++y)
    for (int x = x1; x < x2; ++x) std::copy(colour.begin(), colour.end(), image.pixel(x, y));
}

/// Pixels of a box within the picture; empty for boxes outside and for those with NaN.
PixelRect pixels_of(const Image& image, const Box& box) {
  const auto whole = [](float value, int most) {
    if (!(value > 0)) return 0;
    return static_cast<int>(std::lround(std::min(value, static_cast<float>(most))));
  };
  if (std::isnan(box.x1) || std::isnan(box.y1) || std::isnan(box.x2) || std::isnan(box.y2))
    return {};
  return {whole(box.x1, image.width), whole(box.y1, image.height), whole(box.x2, image.width),
          whole(box.y2, image.height)};
}

bool is_bright(Colour colour) {
  return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140;
}

int font_scale(const Image& image) {
  return std::max(1, static_cast<int>(std::lround(std::max(image.width, image.height) / 400.0)));
}

/// Fully saturated colour of a hue in [0, 1).
Colour from_hue(double hue, double value) {
  const auto channel = [&](double shift) {
    const double at = std::abs(std::fmod(hue + shift, 1.0) * 6 - 3) - 1;
    return static_cast<uint8_t>(std::lround(255 * value * std::clamp(at, 0.0, 1.0)));
  };
  return {channel(0), channel(2.0 / 3), channel(1.0 / 3)};
}

}  // namespace

Colour class_colour(int label) {
  constexpr std::array<Colour, 12> kColours = {{{230, 60, 50},
                                                {60, 180, 75},
                                                {70, 110, 240},
                                                {255, 210, 30},
                                                {240, 50, 230},
                                                {40, 210, 220},
                                                {245, 130, 45},
                                                {150, 60, 200},
                                                {190, 240, 70},
                                                {250, 160, 190},
                                                {0, 130, 130},
                                                {160, 100, 40}}};
  const auto index = static_cast<size_t>(std::max(label, 0));
  if (index < kColours.size()) return kColours[index];
  // Steps of the golden ratio never come close to a recent hue.
  return from_hue(std::fmod(static_cast<double>(index) * 0.6180339887, 1.0), index % 2 ? 1.0 : 0.7);
}

int line_width(const Image& image) {
  return std::max(2, static_cast<int>(std::lround(std::max(image.width, image.height) / 400.0)));
}

void draw_box(Image& image, const Box& box, Colour colour, int width) {
  const PixelRect r = pixels_of(image, box);
  if (r.x2 <= r.x1 || r.y2 <= r.y1) return;
  const int across = std::min(width, r.x2 - r.x1), down = std::min(width, r.y2 - r.y1);
  fill(image, {r.x1, r.y1, r.x2, r.y1 + down}, colour);
  fill(image, {r.x1, r.y2 - down, r.x2, r.y2}, colour);
  fill(image, {r.x1, r.y1, r.x1 + across, r.y2}, colour);
  fill(image, {r.x2 - across, r.y1, r.x2, r.y2}, colour);
}

void draw_text(Image& image, int x, int y, std::string_view text, Colour colour, int scale) {
  for (const char character : text) {
    const auto& rows = glyph(character);
    for (int row = 0; row < kGlyphHeight; ++row) {
      for (int column = 0; column < kGlyphWidth; ++column) {
        if (((rows[static_cast<size_t>(row)] >> (kGlyphWidth - 1 - column)) & 1) == 0) continue;
        const int left = x + column * scale, top = y + row * scale;
        fill(image, {left, top, left + scale, top + scale}, colour);
      }
    }
    x += kGlyphAdvance * scale;
  }
}

std::array<int, 2> text_size(std::string_view text, int scale) {
  if (text.empty()) return {0, 0};
  const bool below = text.find_first_of("gjpqy") != std::string_view::npos;
  return {(static_cast<int>(text.size()) * kGlyphAdvance - 1) * scale,
          (below ? kGlyphHeight : kGlyphBody) * scale};
}

void draw_labelled_box(Image& image, const Box& box, std::string_view label, Colour colour) {
  const int width = line_width(image), scale = font_scale(image), margin = scale + 1;
  draw_box(image, box, colour, width);
  // As many characters as the picture is wide.
  const int most = (image.width - 2 * margin + scale) / (kGlyphAdvance * scale);
  const std::string_view text = label.substr(0, static_cast<size_t>(std::max(0, most)));
  const PixelRect r = pixels_of(image, box);
  if (text.empty() || r.x2 <= r.x1 || r.y2 <= r.y1) return;
  const auto [text_width, text_height] = text_size(text, scale);
  const int plate_width = text_width + 2 * margin, plate_height = text_height + 2 * margin;
  const int x = std::clamp(r.x1, 0, std::max(0, image.width - plate_width));
  const int above = r.y1 - plate_height;
  const int y = std::clamp(above >= 0 ? above : r.y1, 0, std::max(0, image.height - plate_height));
  fill(image, {x, y, x + plate_width, y + plate_height}, colour);
  const Colour ink = is_bright(colour) ? Colour{0, 0, 0} : Colour{255, 255, 255};
  draw_text(image, x + margin, y + margin, text, ink, scale);
}

void draw_detections(Image& image, const std::vector<Detection>& detections,
                     const std::vector<std::string>& class_names) {
  std::vector<size_t> order(detections.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return detections[a].score < detections[b].score; });
  for (const size_t i : order) {
    const Detection& d = detections[i];
    draw_labelled_box(
        image, d.box,
        fmt::format("{} {:.2f}", class_names.at(static_cast<size_t>(d.label)), d.score),
        class_colour(d.label));
  }
}

void draw_objects(Image& image, const std::vector<Object>& objects,
                  const std::vector<std::string>& class_names) {
  for (const Object& object : objects)
    draw_labelled_box(
        image, object.box,
        class_names.at(static_cast<size_t>(object.label)) + (object.difficult ? "?" : ""),
        class_colour(object.label));
}

}  // namespace frcnn
