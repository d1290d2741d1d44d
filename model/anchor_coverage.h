#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "model/faster_rcnn.h"

namespace frcnn {

/// Objects of one picture as the network would see them.
struct CoverageImage {
  InputSize size;     ///< padded_height and padded_width set
  GroundTruth truth;  ///< pixels of the network's input
};

/// How well the anchors of a set-up fit the objects of a class.
struct ClassCoverage {
  int64_t objects = 0;
  int64_t at_least_50 = 0, at_least_70 = 0;  ///< objects whose best anchor has IoU >= 0.5, 0.7
  int64_t learnable = 0;                     ///< objects that get a positive anchor in training
  double sum_of_best = 0;                    ///< of the best IoUs
  /// Objects by their best IoU: below 0.1, 0.2, ... 0.9, and above.
  std::array<int64_t, 10> histogram = {};

  /// Share of the objects whose best anchor has that IoU; 0 when there are none.
  double recall_50() const { return share(at_least_50); }
  double recall_70() const { return share(at_least_70); }
  double mean_best() const { return objects > 0 ? sum_of_best / double(objects) : 0; }

 private:
  double share(int64_t part) const { return objects > 0 ? double(part) / double(objects) : 0; }
};

/// Objects by the square root of their area in pixels of the network's input: below 16, 32, 64,
/// 128, 256, 512, and above.
inline constexpr std::array<int, 6> kCoverageSizes = {16, 32, 64, 128, 256, 512};

struct AnchorCoverage {
  std::vector<ClassCoverage> classes;
  ClassCoverage all;
  std::array<ClassCoverage, kCoverageSizes.size() + 1> by_size;
  /// Least, 10 %, 50 %, 90 % and largest of the objects' sqrt(area) in pixels of the input, and of
  /// height / width.
  std::array<double, 5> size{}, ratio{};
  /// anchors.sizes (pixels) and anchors.ratios that suit the objects best, as many as the config
  /// has or fewer, rounded: fit_anchor_grid().
  std::vector<double> advised_sizes, advised_ratios;
};

/// The best IoU that an anchor reaches with each object, with the anchors that training uses
/// (rpn.only_inside). Exact and fast: the IoU with an anchor of one shape depends on the overlaps
/// of the two axes alone, each of which is largest where the anchor is centred best, so that for
/// each shape only the nearest cells are looked at. Labels are below the model's number of classes.
/// `advise`: fills advised_sizes and advised_ratios.
AnchorCoverage anchor_coverage(const FasterRcnn& model, const std::vector<CoverageImage>& images,
                               bool advise = true);

}  // namespace frcnn
