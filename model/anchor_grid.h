#pragma once

#include <cstddef>
#include <vector>

namespace frcnn {

/// Shape of a box: square root of its area, and height / width. Both above 0.
struct BoxShape {
  double size = 0, ratio = 1;
};

/// IoU of two boxes with a common centre.
double shape_iou(const BoxShape& a, const BoxShape& b);

/// Every size with every ratio.
struct AnchorGrid {
  std::vector<double> sizes, ratios;  ///< ascending
  double mean_iou = 0;                ///< of the shapes with their best anchors, centres together
};

/// The grid of at most `sizes` x `ratios` anchors that the shapes' best IoUs are largest with, by
/// k-means with the distance 1 - IoU (Redmon and Farhadi, "YOLO9000", CVPR 2017, section 2) held on
/// a grid: each shape goes to its best anchor, then each size becomes the median of its shapes'
/// sizes and each ratio that of their ratios. Started from quantiles and from even steps of the
/// logarithm, for sizes and ratios each; the best of the four ends is taken, so that nothing is
/// random. Sizes are then rounded to multiples of 8 (2 where they are below 40) and ratios to 0.05,
/// equal ones are joined. Of more than 20,000 shapes evenly many are left out. No shapes give an
/// empty grid.
AnchorGrid fit_anchor_grid(const std::vector<BoxShape>& shapes, size_t sizes, size_t ratios);

/// The same measure for a given grid.
double mean_shape_iou(const std::vector<BoxShape>& shapes, const AnchorGrid& grid);

}  // namespace frcnn
