#include "data/augment.h"

#include <algorithm>
#include <cmath>

#include "kernels/image/resize.h"
#include "kernels/launch/check.h"
#include "kernels/random/philox.h"

namespace frcnn {
namespace {

/// Numbers that one picture may draw in one epoch, and the first of each use.
constexpr uint64_t kNumbers = 512;
enum First : uint64_t {
  kRotate = 0,
  kColours = 8,
  kMosaic = 16,
  kCrop = 32,  // 8 for each try
};
constexpr int kTries = 50;
static_assert(kCrop + 8 * (kTries + 1) <= kNumbers);

/// Uniform in [0, 1): number `number` of the picture.
double drawn(const AugmentKey& key, uint64_t number) {
  // Two after the streams of flips and scales (data/loader.cpp).
  const kernels::RandomKey random{key.seed, kernels::kStreamAugment + 2 * kernels::kStreamStride,
                                  static_cast<uint64_t>(key.epoch)};
  return double{
      kernels::random_uniform(random, static_cast<uint64_t>(key.index) * kNumbers + number)};
}

double between(const AugmentKey& key, uint64_t number, double low, double high) {
  return low + (high - low) * drawn(key, number);
}

double gray_of(const uint8_t* p) {
  return 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
}

/// Turns the hue of a colour by `turns`: through hue, saturation and value.
std::array<double, 3> turned(const std::array<double, 3>& rgb, double turns) {
  const double most = std::max({rgb[0], rgb[1], rgb[2]});
  const double span = most - std::min({rgb[0], rgb[1], rgb[2]});
  if (span <= 0) return rgb;
  double hue = most == rgb[0]   ? (rgb[1] - rgb[2]) / span
               : most == rgb[1] ? 2 + (rgb[2] - rgb[0]) / span
                                : 4 + (rgb[0] - rgb[1]) / span;
  hue += 6 * turns;
  std::array<double, 3> out{};
  for (size_t c = 0; c < 3; ++c) {
    const double at = std::fmod(hue + (c == 0 ? 5 : c == 1 ? 3 : 1) + 12, 6.0);
    out[c] = most - span * std::clamp(std::min(at, 4 - at), 0.0, 1.0);
  }
  return out;
}

/// Box within [0, width] x [0, height].
Box clipped(const Box& b, double width, double height) {
  const auto w = static_cast<float>(width), h = static_cast<float>(height);
  return {std::clamp(b.x1, 0.0F, w), std::clamp(b.y1, 0.0F, h), std::clamp(b.x2, 0.0F, w),
          std::clamp(b.y2, 0.0F, h)};
}

bool centre_in(const Box& b, const Window& w) {
  const double x = (double{b.x1} + b.x2) / 2, y = (double{b.y1} + b.y2) / 2;
  return x >= w.x && x < w.x + w.width && y >= w.y && y < w.y + w.height;
}

/// Bilinear, of bytes.
LabelledPicture resized(const LabelledPicture& picture, int width, int height) {
  LabelledPicture out{Image(width, height), picture.objects};
  kernels::cpu::resize_u8(picture.image.height, picture.image.width, height, width,
                          picture.image.rgb.data(), out.image.rgb.data());
  const double x = double(width) / picture.image.width, y = double(height) / picture.image.height;
  for (Object& object : out.objects) {
    Box& b = object.box;
    b = {static_cast<float>(b.x1 * x), static_cast<float>(b.y1 * y), static_cast<float>(b.x2 * x),
         static_cast<float>(b.y2 * y)};
    if (object.area >= 0) object.area *= x * y;
  }
  return out;
}

void copy_into(Image& target, const Image& source, int x, int y) {
  for (int row = 0; row < source.height; ++row)
    std::copy_n(source.pixel(0, row), static_cast<size_t>(source.width) * 3,
                target.pixel(x, y + row));
}

}  // namespace

Image change_colours(const Image& image, double brightness, double contrast, double saturation,
                     double hue) {
  double mean = 0;
  for (size_t i = 0; i + 2 < image.rgb.size(); i += 3) mean += gray_of(&image.rgb[i]);
  if (!image.rgb.empty()) mean *= brightness * 3 / static_cast<double>(image.rgb.size());
  Image out(image.width, image.height);
  for (size_t i = 0; i + 2 < image.rgb.size(); i += 3) {
    std::array<double, 3> v{};
    for (size_t c = 0; c < 3; ++c) v[c] = mean + contrast * (brightness * image.rgb[i + c] - mean);
    const double gray = 0.299 * v[0] + 0.587 * v[1] + 0.114 * v[2];
    for (double& x : v) x = std::clamp(gray + saturation * (x - gray), 0.0, 255.0);
    if (hue != 0) v = turned(v, hue);
    for (size_t c = 0; c < 3; ++c)
      out.rgb[i + c] = static_cast<uint8_t>(std::lround(std::clamp(v[c], 0.0, 255.0)));
  }
  return out;
}

LabelledPicture crop(const LabelledPicture& picture, const Window& w) {
  check(w.x >= 0 && w.y >= 0 && w.width > 0 && w.height > 0 &&
            w.x + w.width <= picture.image.width && w.y + w.height <= picture.image.height,
        "[crop] expected a window in a picture of {} x {}, got {} x {} at ({}, {})",
        picture.image.width, picture.image.height, w.width, w.height, w.x, w.y);
  LabelledPicture out{Image(w.width, w.height), {}};
  for (int row = 0; row < w.height; ++row)
    std::copy_n(picture.image.pixel(w.x, w.y + row), static_cast<size_t>(w.width) * 3,
                out.image.pixel(0, row));
  for (Object object : picture.objects) {
    if (!centre_in(object.box, w)) continue;
    const auto x = static_cast<float>(w.x), y = static_cast<float>(w.y);
    const Box moved = {object.box.x1 - x, object.box.y1 - y, object.box.x2 - x, object.box.y2 - y};
    object.box = clipped(moved, w.width, w.height);
    if (object.box != moved) object.truncated = true, object.area = -1;
    if (object.box.area() > 0) out.objects.push_back(object);
  }
  return out;
}

LabelledPicture rotate(const LabelledPicture& picture, int turns) {
  check(turns >= 1 && turns <= 3, "[rotate] expected 1 to 3 quarter turns, got {}", turns);
  const Image& from = picture.image;
  const bool upright = turns == 2;
  LabelledPicture out{upright ? Image(from.width, from.height) : Image(from.height, from.width),
                      picture.objects};
  for (int y = 0; y < from.height; ++y)
    for (int x = 0; x < from.width; ++x) {
      const int to_x = turns == 1 ? from.height - 1 - y : turns == 2 ? from.width - 1 - x : y;
      const int to_y = turns == 1 ? x : turns == 2 ? from.height - 1 - y : from.width - 1 - x;
      std::copy_n(from.pixel(x, y), 3, out.image.pixel(to_x, to_y));
    }
  const auto w = static_cast<float>(from.width), h = static_cast<float>(from.height);
  for (Object& object : out.objects) {
    const Box b = object.box;
    object.box = turns == 1   ? Box{h - b.y2, b.x1, h - b.y1, b.x2}
                 : turns == 2 ? Box{w - b.x2, h - b.y2, w - b.x1, h - b.y1}
                              : Box{b.y1, w - b.x2, b.y2, w - b.x1};
  }
  return out;
}

LabelledPicture mosaic(const std::array<const LabelledPicture*, 4>& pictures, int x, int y) {
  const Image& first = pictures[0]->image;
  check(x > 0 && x < first.width && y > 0 && y < first.height,
        "[mosaic] expected a point in a picture of {} x {}, got ({}, {})", first.width,
        first.height, x, y);
  LabelledPicture out{Image(first.width, first.height), {}};
  for (size_t i = 0; i < pictures.size(); ++i) {
    const bool right = i % 2 == 1, lower = i >= 2;
    const int width = right ? first.width - x : x, height = lower ? first.height - y : y;
    const Image& own = pictures[i]->image;
    const double factor = std::max(double(width) / own.width, double(height) / own.height);
    const LabelledPicture scaled =
        resized(*pictures[i], std::max(width, static_cast<int>(std::lround(own.width * factor))),
                std::max(height, static_cast<int>(std::lround(own.height * factor))));
    const LabelledPicture part =
        crop(scaled, {right ? 0 : scaled.image.width - width,
                      lower ? 0 : scaled.image.height - height, width, height});
    const int left = right ? x : 0, top = lower ? y : 0;
    copy_into(out.image, part.image, left, top);
    for (Object object : part.objects) {
      const auto dx = static_cast<float>(left), dy = static_cast<float>(top);
      object.box = {object.box.x1 + dx, object.box.y1 + dy, object.box.x2 + dx, object.box.y2 + dy};
      out.objects.push_back(object);
    }
  }
  return out;
}

bool draws_mosaic(const AugmentSettings& settings, const AugmentKey& key) {
  return drawn(key, kMosaic) < settings.mosaic;
}

std::array<int64_t, 3> mosaic_partners(const AugmentKey& key, int64_t images) {
  std::array<int64_t, 3> partners{};
  for (size_t i = 0; i < partners.size(); ++i)
    partners[i] = std::min(images - 1, static_cast<int64_t>(drawn(key, kMosaic + 1 + i) *
                                                            static_cast<double>(images)));
  return partners;
}

std::array<int, 2> mosaic_point(const AugmentKey& key, int width, int height) {
  const auto at = [&](uint64_t number, int side) {
    return std::clamp(static_cast<int>(std::lround(side * between(key, number, 0.3, 0.7))), 1,
                      std::max(1, side - 1));
  };
  return {at(kMosaic + 4, width), at(kMosaic + 5, height)};
}

Window draw_window(const AugmentSettings& settings, const AugmentKey& key,
                   const LabelledPicture& picture) {
  const int width = picture.image.width, height = picture.image.height;
  const Window whole = {0, 0, width, height};
  if (!(drawn(key, kCrop) < settings.crop)) return whole;
  const auto& limits = settings.crop_min_iou;
  const double limit =
      limits.empty()
          ? 0
          : limits[std::min(
                limits.size() - 1,
                static_cast<size_t>(drawn(key, kCrop + 1) * static_cast<double>(limits.size())))];
  for (int i = 1; i <= kTries; ++i) {
    const uint64_t number = kCrop + 8 * static_cast<uint64_t>(i);
    const double area = between(key, number, settings.crop_min_area, 1) * width * height;
    const double shape = std::exp2(between(key, number + 1, -1, 1));  // width / height
    Window w;
    w.width = static_cast<int>(std::lround(std::sqrt(area * shape)));
    w.height = static_cast<int>(std::lround(std::sqrt(area / shape)));
    if (w.width < 1 || w.height < 1 || w.width > width || w.height > height) continue;
    w.x =
        std::min(width - w.width, static_cast<int>(drawn(key, number + 2) * (width - w.width + 1)));
    w.y = std::min(height - w.height,
                   static_cast<int>(drawn(key, number + 3) * (height - w.height + 1)));
    const Box box = {static_cast<float>(w.x), static_cast<float>(w.y),
                     static_cast<float>(w.x + w.width), static_cast<float>(w.y + w.height)};
    const auto fits = [&](const Object& object) {
      return !object.crowd && centre_in(object.box, w) &&
             static_cast<double>(iou(object.box, box)) >= limit;
    };
    const bool objects =
        std::ranges::any_of(picture.objects, [](const Object& o) { return !o.crowd; });
    if (!objects || std::ranges::any_of(picture.objects, fits)) return w;
  }
  return whole;
}

LabelledPicture augment(LabelledPicture picture, const AugmentSettings& settings,
                        const AugmentKey& key) {
  if (drawn(key, kRotate) < settings.rotate)
    picture = rotate(picture, 1 + std::min(2, static_cast<int>(3 * drawn(key, kRotate + 1))));
  const Window w = draw_window(settings, key, picture);
  if (w.width < picture.image.width || w.height < picture.image.height) picture = crop(picture, w);
  if (settings.colours()) {
    const auto factor = [&](uint64_t number, double strength) {
      return between(key, kColours + number, std::max(0.0, 1 - strength), 1 + strength);
    };
    picture.image = change_colours(picture.image, factor(0, settings.brightness),
                                   factor(1, settings.contrast), factor(2, settings.saturation),
                                   between(key, kColours + 3, -settings.hue, settings.hue));
  }
  return picture;
}

}  // namespace frcnn
