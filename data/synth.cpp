#include "data/synth.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "data/files.h"
#include "data/image.h"
#include "data/shapes.h"
#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"
#include "kernels/random/philox.h"

namespace frcnn {
namespace fs = std::filesystem;
namespace {

using Colour = std::array<uint8_t, 3>;
constexpr std::array kNames = {"circle", "square", "triangle", "star", "ring", "cross"};

/// The random numbers of one picture, drawn one after the other.
class Numbers {
 public:
  Numbers(uint64_t seed, int picture)
      : key_{seed, kernels::kStreamSynth, static_cast<uint64_t>(picture)} {}

  double uniform(double low, double high) {
    return low + (high - low) * kernels::random_uniform(key_, next_++);
  }
  int between(int low, int high) {  // both included
    return low + static_cast<int>(
                     kernels::random_below(key_, next_++, static_cast<uint32_t>(high - low + 1)));
  }
  Colour colour() {
    Colour c{};
    for (uint8_t& channel : c) channel = static_cast<uint8_t>(between(0, 255));
    return c;
  }
  const kernels::RandomKey& key() const { return key_; }

 private:
  kernels::RandomKey key_;
  uint64_t next_ = 0;
};

struct Placed {
  int label = 0;
  BasicBox<double> box;
};

/// Soft clouds around one colour: a coarse grid of random brightness, interpolated.
Image background(const SynthOptions& options, const Colour& base, Numbers& numbers) {
  constexpr int kCells = 5;
  std::array<double, (kCells + 1) * (kCells + 1)> grid{};
  for (double& value : grid) value = numbers.uniform(-25, 25);
  Image image(options.width, options.height);
  for (int y = 0; y < options.height; ++y) {
    for (int x = 0; x < options.width; ++x) {
      const double gx = static_cast<double>(x) * kCells / options.width;
      const double gy = static_cast<double>(y) * kCells / options.height;
      const auto ix = static_cast<size_t>(gx), iy = static_cast<size_t>(gy);
      const double fx = gx - static_cast<double>(ix), fy = gy - static_cast<double>(iy);
      const double* row = &grid[iy * (kCells + 1) + ix];
      const double* below = row + kCells + 1;
      const double cloud =
          (1 - fy) * ((1 - fx) * row[0] + fx * row[1]) + fy * ((1 - fx) * below[0] + fx * below[1]);
      for (size_t c = 0; c < 3; ++c)
        image.pixel(x, y)[c] = static_cast<uint8_t>(std::clamp(base[c] + cloud, 0.0, 255.0));
    }
  }
  return image;
}

/// A colour that stands out from `base`.
Colour contrasting(const Colour& base, Numbers& numbers) {
  for (;;) {
    const Colour c = numbers.colour();
    double square = 0;
    for (size_t i = 0; i < 3; ++i) square += (c[i] - base[i]) * (c[i] - base[i]);
    if (square > 100 * 100) return c;
  }
}

bool fits(const BasicBox<double>& box, const std::vector<Placed>& placed, double max_overlap) {
  return std::none_of(placed.begin(), placed.end(), [&](const Placed& other) {
    const double w = std::min(box.x2, other.box.x2) - std::max(box.x1, other.box.x1);
    const double h = std::min(box.y2, other.box.y2) - std::max(box.y1, other.box.y1);
    return w > 0 && h > 0 && w * h > max_overlap * std::min(box.area(), other.box.area());
  });
}

std::vector<Placed> draw_objects(Image& image, const SynthOptions& options, const Colour& base,
                                 Numbers& numbers) {
  std::vector<Placed> placed;
  const int wanted = numbers.between(options.min_objects, options.max_objects);
  // Crowded pictures may end with fewer objects than wanted, never with none.
  for (int attempt = 0; attempt < 30 * wanted && static_cast<int>(placed.size()) < wanted;
       ++attempt) {
    const int label = numbers.between(0, options.classes - 1);
    const double size = numbers.uniform(options.min_size, options.max_size);
    const Shape shape(static_cast<ShapeKind>(label), size, numbers.uniform(-0.35, 0.35));
    const BasicBox<double>& b = shape.bounds();
    const double x = numbers.uniform(1 - b.x1, options.width - 1 - b.x2);
    const double y = numbers.uniform(1 - b.y1, options.height - 1 - b.y2);
    const BasicBox<double> box = {x + b.x1, y + b.y1, x + b.x2, y + b.y2};
    if (!fits(box, placed, options.max_overlap)) continue;
    draw_shape(image, shape, x, y, contrasting(base, numbers));
    placed.push_back({label, box});
  }
  return placed;
}

/// Adds noise that is nearly Gaussian: the four bytes of a random word, summed.
void add_grain(Image& image, double deviation, const kernels::RandomKey& key) {
  const double scale = deviation / std::sqrt(4 * (256.0 * 256.0 - 1) / 12);
  for (size_t i = 0; i < image.rgb.size(); i += 4) {
    const std::array<uint32_t, 4> words = kernels::philox4x32(
        {static_cast<uint32_t>(i / 4), key.stream + kernels::kStreamStride,
         static_cast<uint32_t>(key.step), static_cast<uint32_t>(key.step >> 32)},
        {static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)});
    for (size_t k = 0; k < 4 && i + k < image.rgb.size(); ++k) {
      const uint32_t w = words[k];
      const uint32_t sum = (w & 255) + (w >> 8 & 255) + (w >> 16 & 255) + (w >> 24);
      const double value = image.rgb[i + k] + scale * (static_cast<double>(sum) - 510);
      // NOLINTNEXTLINE(bugprone-incorrect-roundings): never negative
      image.rgb[i + k] = static_cast<uint8_t>(std::clamp(value, 0.0, 255.0) + 0.5);
    }
  }
}

std::string annotation_xml(const std::string& id, const SynthOptions& options,
                           const std::vector<Placed>& placed) {
  std::string xml = fmt::format(
      "<annotation>\n  <folder>JPEGImages</folder>\n  <filename>{}.jpg</filename>\n"
      "  <size><width>{}</width><height>{}</height><depth>3</depth></size>\n",
      id, options.width, options.height);
  for (const Placed& object : placed) {
    // VOC names the first and the last pixel, counted from 1.
    xml += fmt::format(
        "  <object>\n    <name>{}</name>\n    <truncated>0</truncated>\n"
        "    <difficult>0</difficult>\n    <bndbox><xmin>{}</xmin><ymin>{}</ymin>"
        "<xmax>{}</xmax><ymax>{}</ymax></bndbox>\n  </object>\n",
        kNames[static_cast<size_t>(object.label)], std::lround(object.box.x1) + 1,
        std::lround(object.box.y1) + 1, std::lround(object.box.x2), std::lround(object.box.y2));
  }
  return xml + "</annotation>\n";
}

void write_picture(const fs::path& folder, const std::string& id, int number,
                   const SynthOptions& options) {
  Numbers numbers(options.seed, number);
  const Colour base = numbers.colour();
  Image image = background(options, base, numbers);
  const std::vector<Placed> placed = draw_objects(image, options, base, numbers);
  add_grain(image, options.noise, numbers.key());
  write_image(image, folder / "JPEGImages" / (id + ".jpg"));
  write_file(folder / "Annotations" / (id + ".xml"), annotation_xml(id, options, placed));
}

std::string id_of(int number) {
  return fmt::format("{:06}", number + 1);
}

void write_splits(const fs::path& folder, const SynthOptions& options) {
  const auto share = [&](double part) {
    return static_cast<int>(std::lround(options.images * part));
  };
  const int test = share(options.test_share), val = share(options.val_share);
  const int train = options.images - test - val;
  const auto write = [&](const char* name, int first, int last) {
    std::string lines;
    for (int i = first; i < last; ++i) lines += id_of(i) + "\n";
    if (!lines.empty()) write_file(folder / "ImageSets/Main" / (std::string(name) + ".txt"), lines);
  };
  write("train", 0, train);
  write("val", train, train + val);
  write("trainval", 0, train + val);
  write("test", train + val, options.images);
}

void check_options(const SynthOptions& o) {
  check(o.images >= 1 && o.images <= 1'000'000, "[synth] expected 1 to 1000000 images, got {}",
        o.images);
  check(o.classes >= 1 && o.classes <= static_cast<int>(kNames.size()),
        "[synth] expected 1 to {} classes, got {}", kNames.size(), o.classes);
  check(o.min_objects >= 1 && o.min_objects <= o.max_objects,
        "[synth] expected 1 <= min_objects <= max_objects, got {} and {}", o.min_objects,
        o.max_objects);
  check(o.min_size >= 4 && o.min_size <= o.max_size,
        "[synth] expected 4 <= min_size <= max_size, got {} and {}", o.min_size, o.max_size);
  const int most = std::min(o.width, o.height) - 2;
  check(o.max_size <= most,
        "[synth] expected objects that fit into {}x{} (at most {}), got max_size {}", o.width,
        o.height, most, o.max_size);
  check(o.noise >= 0 && o.noise <= 128, "[synth] expected noise of 0 to 128, got {}", o.noise);
  check(o.max_overlap >= 0 && o.max_overlap <= 1, "[synth] expected max_overlap of 0 to 1, got {}",
        o.max_overlap);
  check(o.val_share >= 0 && o.test_share >= 0 && o.val_share + o.test_share < 1,
        "[synth] expected val_share + test_share below 1, got {} and {}", o.val_share,
        o.test_share);
}

void fill_folder(const fs::path& folder, const SynthOptions& options) {
  for (const char* name : {"Annotations", "JPEGImages", "ImageSets/Main"})
    fs::create_directories(folder / name);
  write_splits(folder, options);
  kernels::parallel_for(options.images, 1, [&](int64_t first, int64_t last) {
    for (auto i = static_cast<int>(first); i < last; ++i)
      write_picture(folder, id_of(i), i, options);
  });
}

}  // namespace

std::vector<std::string> synth_class_names(int classes) {
  return {kNames.begin(), kNames.begin() + std::clamp(classes, 0, static_cast<int>(kNames.size()))};
}

void make_synthetic(const fs::path& folder, const SynthOptions& options) {
  check_options(options);
  write_folder(folder, [&](const fs::path& temporary) { fill_folder(temporary, options); });
}

}  // namespace frcnn
