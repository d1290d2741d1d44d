#include "model/anchor_coverage.h"

#include <algorithm>
#include <cmath>

#include "model/anchor_grid.h"

namespace frcnn {
namespace {

/// One axis: where the anchors of a shape may lie, and how far one of them overlaps an object
/// there.
struct Axis {
  double low, high;     // of the anchor in cell 0
  double stride;        // from cell to cell
  int64_t first, last;  // cells whose anchors may be used; none where last < first

  double overlap(int64_t cell, double from, double to) const {
    const double shift = static_cast<double>(cell) * stride;
    return std::max(0.0, std::min(high + shift, to) - std::max(low + shift, from));
  }
  /// The largest overlap with [from, to].
  double best(double from, double to) const {
    if (last < first) return 0;
    const double centred = ((from + to) - (low + high)) / (2 * stride);
    double most = 0;
    for (const double cell : {std::floor(centred), std::ceil(centred)})
      most = std::max(most, overlap(std::clamp(static_cast<int64_t>(cell), first, last), from, to));
    return most;
  }
};

Axis axis(double low, double high, double stride, int64_t cells, double side, bool only_inside) {
  Axis a{low, high, stride, 0, cells - 1};
  if (only_inside) {  // low + first * stride >= 0 and high + last * stride < side
    a.first = std::max<int64_t>(0, static_cast<int64_t>(std::ceil(-low / stride)));
    a.last = std::min<int64_t>(cells - 1, static_cast<int64_t>(std::floor((side - high) / stride)));
    if (a.last >= 0 && high + static_cast<double>(a.last) * stride >= side) --a.last;
  }
  return a;
}

void add(ClassCoverage& c, double iou, const RpnConfig& rpn) {
  ++c.objects;
  c.at_least_50 += iou >= 0.5;
  c.at_least_70 += iou >= 0.7;
  c.learnable += iou >= rpn.positive_iou || (rpn.match_best && iou > 0);
  c.sum_of_best += iou;
  ++c.histogram[static_cast<size_t>(std::clamp(iou * 10, 0.0, 9.0))];
}

/// The element nearest to the quantile `q` of a sorted list that is not empty.
double quantile(const std::vector<double>& sorted, double q) {
  return sorted[static_cast<size_t>(std::lround(q * static_cast<double>(sorted.size() - 1)))];
}

std::array<double, 5> quantiles(const std::vector<double>& sorted) {
  if (sorted.empty()) return {};
  const auto at = [&](double q) { return quantile(sorted, q); };
  return {at(0), at(0.1), at(0.5), at(0.9), at(1)};
}

}  // namespace

AnchorCoverage anchor_coverage(const FasterRcnn& model, const std::vector<CoverageImage>& images,
                               bool advise) {
  const ModelConfig& config = model.config();
  AnchorCoverage result;
  result.classes.resize(static_cast<size_t>(model.classes()));
  std::vector<double> sizes, ratios;
  std::vector<BoxShape> shapes;
  std::vector<double> anchors(static_cast<size_t>(model.anchors_per_cell()) * 4);
  std::array<int64_t, 2> known{}, map{};
  for (const CoverageImage& image : images) {
    const std::array<int64_t, 2> frame = {image.size.padded_height, image.size.padded_width};
    if (frame != known) map = model.backbone_spec().map_size(frame[0], frame[1]);
    known = frame;
    const auto [stride_y, stride_x] = model.stride(map[0], map[1], frame[0], frame[1]);
    const kernels::AnchorParams params =
        anchor_params(config.anchors, {static_cast<double>(frame[0]), stride_y, stride_x});
    kernels::cpu::grid_anchors<double>(params, 1, 1, stride_y, stride_x, anchors.data());
    for (size_t i = 0; i < image.truth.boxes.size(); ++i) {
      const Box& box = image.truth.boxes[i];
      const double w = double(box.x2) - box.x1, h = double(box.y2) - box.y1;
      double iou = 0;
      for (size_t a = 0; a < anchors.size(); a += 4) {
        const double* b = anchors.data() + a;
        const Axis x =
            axis(b[0], b[2], stride_x, map[1], double(image.size.width), config.rpn.only_inside);
        const Axis y =
            axis(b[1], b[3], stride_y, map[0], double(image.size.height), config.rpn.only_inside);
        const double common = x.best(box.x1, box.x2) * y.best(box.y1, box.y2);
        iou = std::max(iou, common / (w * h + (b[2] - b[0]) * (b[3] - b[1]) - common));
      }
      add(result.all, iou, config.rpn);
      add(result.classes.at(static_cast<size_t>(image.truth.labels[i])), iou, config.rpn);
      sizes.push_back(std::sqrt(w * h));
      ratios.push_back(h / w);
      const auto bin = std::upper_bound(kCoverageSizes.begin(), kCoverageSizes.end(), sizes.back());
      add(result.by_size[static_cast<size_t>(bin - kCoverageSizes.begin())], iou, config.rpn);
      shapes.push_back({sizes.back(), ratios.back()});
    }
  }
  std::sort(sizes.begin(), sizes.end());
  std::sort(ratios.begin(), ratios.end());
  result.size = quantiles(sizes);
  result.ratio = quantiles(ratios);
  if (!advise) return result;
  const AnchorGrid advised =
      fit_anchor_grid(shapes, config.anchors.sizes.size(), config.anchors.ratios.size());
  result.advised_sizes = advised.sizes;
  result.advised_ratios = advised.ratios;
  return result;
}

}  // namespace frcnn
