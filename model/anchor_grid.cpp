#include "model/anchor_grid.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace frcnn {
namespace {

constexpr size_t kMostShapes = 20'000;
constexpr int kMostRounds = 50;

struct Match {
  size_t size = 0, ratio = 0;
  double iou = -1;
};

Match best_anchor(const BoxShape& shape, const AnchorGrid& grid) {
  Match best;
  for (size_t s = 0; s < grid.sizes.size(); ++s)
    for (size_t r = 0; r < grid.ratios.size(); ++r) {
      const double iou = shape_iou(shape, {grid.sizes[s], grid.ratios[r]});
      if (iou > best.iou) best = {s, r, iou};
    }
  return best;
}

/// Middle element; the vector is not empty.
double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Each value becomes the median of its group; one whose group is empty stays.
void move_to_medians(std::vector<double>& values, std::vector<std::vector<double>>& groups) {
  for (size_t i = 0; i < values.size(); ++i)
    if (!groups[i].empty()) values[i] = median(groups[i]);
}

/// Rounds of k-means until the mean IoU grows no more.
AnchorGrid improve(const std::vector<BoxShape>& shapes, AnchorGrid grid) {
  AnchorGrid best = grid;
  best.mean_iou = -1;
  for (int round = 0; round < kMostRounds; ++round) {
    std::vector<std::vector<double>> sizes(grid.sizes.size()), ratios(grid.ratios.size());
    double sum = 0;
    for (const BoxShape& shape : shapes) {
      const Match match = best_anchor(shape, grid);
      sum += match.iou;
      sizes[match.size].push_back(shape.size);
      ratios[match.ratio].push_back(shape.ratio);
    }
    grid.mean_iou = sum / static_cast<double>(shapes.size());
    if (grid.mean_iou <= best.mean_iou + 1e-9) break;
    best = grid;
    move_to_medians(grid.sizes, sizes);
    move_to_medians(grid.ratios, ratios);
  }
  return best;
}

/// Two starts for `parts` of the values: the middles of parts that hold equally many, and even
/// steps of the logarithm from the 5 % to the 95 % quantile.
std::array<std::vector<double>, 2> starts(std::vector<double> values, size_t parts) {
  std::sort(values.begin(), values.end());
  const double low = values[values.size() / 20], high = values[values.size() * 19 / 20];
  std::array<std::vector<double>, 2> out;
  for (size_t i = 0; i < parts; ++i) {
    out[0].push_back(values[values.size() * (2 * i + 1) / (2 * parts)]);
    const double t = parts == 1 ? 0.5 : static_cast<double>(i) / static_cast<double>(parts - 1);
    out[1].push_back(low * std::pow(high / low, t));
  }
  return out;
}

std::vector<double> rounded(std::vector<double> values, bool sizes) {
  for (double& v : values) {
    const double step = !sizes ? 0.05 : v < 40 ? 2 : 8;
    // Ratios as the decimal that is nearest, so that they print as such.
    v = sizes ? std::max(step, std::round(v / step) * step)
              : std::max(1.0, std::round(v * 20)) * 5 / 100;
  }
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

}  // namespace

double shape_iou(const BoxShape& a, const BoxShape& b) {
  const double ra = std::sqrt(a.ratio), rb = std::sqrt(b.ratio);
  const double common = std::min(a.size / ra, b.size / rb) * std::min(a.size * ra, b.size * rb);
  return common / (a.size * a.size + b.size * b.size - common);
}

double mean_shape_iou(const std::vector<BoxShape>& shapes, const AnchorGrid& grid) {
  double sum = 0;
  for (const BoxShape& shape : shapes) sum += std::max(0.0, best_anchor(shape, grid).iou);
  return shapes.empty() ? 0 : sum / static_cast<double>(shapes.size());
}

AnchorGrid fit_anchor_grid(const std::vector<BoxShape>& all, size_t sizes, size_t ratios) {
  if (all.empty() || sizes == 0 || ratios == 0) return {};
  std::vector<BoxShape> shapes;
  const size_t count = std::min(all.size(), kMostShapes);
  for (size_t i = 0; i < count; ++i) shapes.push_back(all[i * all.size() / count]);
  std::vector<double> every_size, every_ratio;
  for (const BoxShape& shape : shapes) {
    every_size.push_back(shape.size);
    every_ratio.push_back(shape.ratio);
  }
  AnchorGrid best;
  best.mean_iou = -1;
  for (const std::vector<double>& first_sizes : starts(every_size, sizes))
    for (const std::vector<double>& first_ratios : starts(every_ratio, ratios)) {
      AnchorGrid found = improve(shapes, {first_sizes, first_ratios, 0});
      if (found.mean_iou > best.mean_iou) best = std::move(found);
    }
  best.sizes = rounded(std::move(best.sizes), true);
  best.ratios = rounded(std::move(best.ratios), false);
  best.mean_iou = mean_shape_iou(shapes, best);
  return best;
}

}  // namespace frcnn
