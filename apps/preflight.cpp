#include "apps/preflight.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "apps/dataset_io.h"
#include "apps/program_device.h"
#include "apps/terminal.h"
#include "engine/host.h"
#include "engine/memory.h"
#include "kernels/image/image_size.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

std::string mega(size_t bytes) {
  return bytes_text(static_cast<double>(bytes));
}

double share(int64_t part, int64_t all) {
  return all > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(all) : 0;
}

std::string pictures_line(const Dataset& training, const Config& config) {
  int64_t objects = 0, difficult = 0, crowds = 0, empty = 0;
  for (const ImageRecord& image : training.images) {
    int64_t used = 0;
    for (const Object& object : image.objects) {
      crowds += object.crowd;
      if (object.crowd) continue;
      const bool target = config.data.use_difficult || !object.difficult;
      used += target;
      difficult += !target;
    }
    objects += used;
    empty += used == 0;
  }
  std::string line = fmt::format("objects    {} in {} pictures", objects, training.images.size());
  if (difficult > 0) line += fmt::format("; {} difficult ones are no targets", difficult);
  if (crowds > 0) line += fmt::format("; {} crowd regions are no targets", crowds);
  line += empty > 0 ? fmt::format("; {} pictures without objects are used as negatives\n", empty)
                    : "; no picture is without\n";
  return line;
}

std::string coverage_row(const std::string& name, const ClassCoverage& c) {
  return fmt::format(
      "           {}{}{}{}{}{}\n", padded(name, 18), padded(fmt::format("{}", c.objects), -8),
      padded(fmt::format("{:.1f} %", share(c.at_least_50, c.objects)), -10),
      padded(fmt::format("{:.1f} %", share(c.at_least_70, c.objects)), -10),
      padded(fmt::format("{:.3f}", c.sum_of_best / double(std::max<int64_t>(1, c.objects))), -9),
      padded(fmt::format("{:.1f} %", share(c.learnable, c.objects)), -10));
}

std::string numbers(const std::vector<double>& values) {
  std::string text;
  for (const double v : values) text += fmt::format("{}{:g}", text.empty() ? "" : ", ", v);
  return text;
}

std::string coverage_text(const AnchorCoverage& c, const Dataset& training, const Config& config) {
  if (c.all.objects == 0) return "";
  constexpr size_t kMostRows = 20;
  std::string text =
      "anchors    class              objects  IoU >= 0.5    >= 0.7     mean  learnable\n" +
      coverage_row("all", c.all);
  std::vector<size_t> order(c.classes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (order.size() > kMostRows) {  // the worst
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      const auto& x = c.classes[a];
      const auto& y = c.classes[b];
      return share(x.at_least_50, x.objects) < share(y.at_least_50, y.objects);
    });
    std::erase_if(order, [&](size_t k) { return c.classes[k].objects == 0; });
    order.resize(std::min(order.size(), kMostRows));
  }
  for (const size_t k : order) text += coverage_row(training.class_names[k], c.classes[k]);
  text += fmt::format(
      "           objects have sides (square roots of areas) of {:.0f} to {:.0f} pixels of the "
      "input, median {:.0f}; height / width {:.2f} to {:.2f}, median {:.2f}\n",
      c.size[0], c.size[4], c.size[2], c.ratio[0], c.ratio[4], c.ratio[2]);
  const double covered = share(c.all.at_least_50, c.all.objects);
  if (covered < 80)
    text += fmt::format(
        "advice:    only {:.0f} % of the objects have an anchor of IoU 0.5; nearer to them would "
        "be sizes of {} pixels (anchors.sizes) and anchors.ratios = [{}]{}\n",
        covered, numbers(c.advised_sizes), numbers(c.advised_ratios),
        config.model.rpn.only_inside && c.size[3] > 0.5 * config.model.preprocess.shorter_side
            ? ", or rpn.only_inside = false for objects that fill the picture"
            : "");
  return text;
}

/// The largest input of the set, by area: height and width with padding.
std::array<int64_t, 2> largest_input(const Dataset& training, Config config) {
  PreprocessConfig& p = config.model.preprocess;
  for (const int side : p.train_shorter_sides) p.shorter_side = std::max(p.shorter_side, side);
  const std::vector<CoverageImage> images = coverage_images(training, config);
  std::array<int64_t, 2> most{1, 1};
  for (const CoverageImage& image : images)
    if (image.size.padded_height * image.size.padded_width > most[0] * most[1])
      most = {image.size.padded_height, image.size.padded_width};
  // Random crops have shapes up to 1:2 (data/augment.h).
  const auto up = [&](int64_t side) {
    return (side + p.pad_multiple - 1) / p.pad_multiple * p.pad_multiple;
  };
  const int64_t shorter = up(p.shorter_side),
                longer = up(std::min<int64_t>(p.longer_side, 2 * p.shorter_side));
  if (config.data.augment.crop > 0 && p.keep_aspect && shorter * longer > most[0] * most[1])
    most = {shorter, longer};
  return most;
}

std::string memory_line(const Config& config, const Preflight& found) {
  const MemoryEstimate& need = found.memory;
  const Device device = program_device().device;
  const size_t held = CachingAllocator::of(device).stats().in_use;
  const size_t more = need.total() - std::min(need.total(), held);
  const std::optional<size_t> free = available_memory(device);
  const std::string parts = fmt::format(
      "weights {}, gradients {}, optimiser {}, copies for kernels {}, activations {} at {} x {} x "
      "{} pixels, most of them of {}",
      mega(need.weights), mega(need.gradients), mega(need.optimizer), mega(need.packed),
      mega(need.activations), config.train.batch, found.height, found.width, need.largest);
  if (free && more > *free)
    fail("training needs about {} of memory on {}, {} are there ({}); {}", mega(need.total()),
         device.name(), mega(held + *free), parts,
         need.activations > need.total() / 2
             ? "lower train.batch, preprocess.shorter_side or preprocess.longer_side, or freeze "
               "more layers (backbone.frozen_until)"
             : "lower roi.hidden, or take optimizer.method = \"sgd\" instead of adam");
  return fmt::format("memory     about {} for tensors ({}); {}\n", mega(need.total()), parts,
                     free ? mega(held + *free) + " are there" : "how much is there is not known");
}

}  // namespace

std::vector<CoverageImage> coverage_images(const Dataset& training, const Config& config) {
  const PreprocessConfig& p = config.model.preprocess;
  const auto rounding =
      p.rounding == "floor" ? kernels::SizeRounding::floor : kernels::SizeRounding::nearest;
  const auto up = [&](int64_t side) {
    return (side + p.pad_multiple - 1) / p.pad_multiple * p.pad_multiple;
  };
  std::vector<CoverageImage> images;
  for (const ImageRecord& record : training.images) {
    const auto size = kernels::scaled_image_size(record.height, record.width, p.shorter_side,
                                                 p.longer_side, rounding, p.keep_aspect);
    CoverageImage image;
    const double sy = double(size.height) / record.height, sx = double(size.width) / record.width;
    image.size = {size.height, size.width, sy, sx, up(size.height), up(size.width)};
    for (const Object& o : record.objects) {
      if (o.crowd || (o.difficult && !config.data.use_difficult)) continue;
      image.truth.boxes.push_back(
          {static_cast<float>(o.box.x1 * sx), static_cast<float>(o.box.y1 * sy),
           static_cast<float>(o.box.x2 * sx), static_cast<float>(o.box.y2 * sy)});
      image.truth.labels.push_back(o.label);
    }
    images.push_back(std::move(image));
  }
  return images;
}

Preflight preflight(const Config& config, const Dataset& training, Trainer& trainer) {
  Preflight found;
  const FasterRcnn& model = trainer.model();
  found.coverage = anchor_coverage(model, coverage_images(training, config));
  const auto [height, width] = largest_input(training, config);
  found.height = height;
  found.width = width;
  int arrays = 1;
  for (const auto& [name, rule] : trainer.optimizer_settings())
    if (rule.has_moments()) arrays = 2;
  found.memory = estimate_training_memory(model, arrays, config.train.batch, height, width);
  found.text = pictures_line(training, config) + coverage_text(found.coverage, training, config) +
               memory_line(config, found);
  return found;
}

}  // namespace frcnn::apps
