#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/canvas.h"
#include "data/transforms.h"

namespace frcnn {

// Pictures that show what a detector works with. They take plain arrays in pixels of the network's
// input and a picture of that size, and say in a legend what they show.

/// The network's input as a picture again: what the network sees, after resizing, mirroring and
/// rounding, with the normalisation taken back.
Image picture_of(const Sample& sample, const InputSettings& settings);

/// Labelled objects.
Image truth_picture(const Image& picture, const std::vector<Box>& boxes,
                    const std::vector<int>& labels, const std::vector<uint8_t>& difficult,
                    const std::vector<std::string>& class_names);

/// The cells of a feature map over the picture.
struct TileGrid {
  int64_t rows = 0, columns = 0;      ///< of the map
  double stride_y = 0, stride_x = 0;  ///< pixels of the input per cell
  int64_t row = 0, column = 0;        ///< the cell that is looked at
};
/// Every tile, one of them marked, with the regions of the input (squares, by side) that the cell
/// of the map and the window on it see.
Image tiles_picture(const Image& picture, const TileGrid& grid, int64_t receptive_field,
                    int64_t window_field);

/// The anchors of one tile, a colour for each shape with its size in the legend; those that
/// `inside` does not mark are dashed. `anchors` holds those of the tile alone.
Image base_anchors_picture(const Image& picture, const TileGrid& grid,
                           const std::vector<Box>& anchors, const std::vector<uint8_t>& inside);

/// Thin outlines of many anchors, a colour per shape, `per_cell` shapes in turn; where `drawn` is
/// given, those that it marks alone. `count` receives how many were drawn. With `margin` what lies
/// outside the picture shows.
Image anchors_picture(const Image& picture, const std::vector<Box>& anchors, int64_t per_cell,
                      const std::vector<uint8_t>* drawn, const std::string& what, bool margin,
                      int64_t* count = nullptr);

/// Boxes of one kind, drawn alike.
struct BoxGroup {
  std::string name;  ///< of the legend; their number is added
  Pen pen;
  std::vector<Box> boxes;
  std::vector<std::string> texts = {};  ///< labels of the boxes, or none
};
/// Groups of boxes in the order given, the last on top. Boxes that stick out of the picture by up
/// to a quarter of it show in a margin.
Image groups_picture(const Image& picture, const std::vector<BoxGroup>& groups,
                     const std::string& title, const std::vector<std::string>& notes = {});

/// One picture of a series, with its objects.
struct Variant {
  Image picture;
  std::vector<Box> boxes;
  std::vector<int> labels;
  std::string text;
};
/// The pictures of a series in a grid of three columns, with the classes in the legend.
Image variants_picture(const std::vector<Variant>& variants,
                       const std::vector<std::string>& class_names, const std::string& title,
                       const std::vector<std::string>& notes = {});

/// A colour from blue (0) over green to red (1).
Colour heat(double value);

/// Maps (count, height, width) as gray pictures in a grid, each with its number. `separate`: each
/// from its own least to its largest value, else all from the least to the largest of them; the
/// legend states which. Values that are not finite are red.
Image maps_picture(std::span<const float> values, int64_t count, int64_t height, int64_t width,
                   bool separate, const std::string& title);

/// Filters (count, 3, height, width) as coloured pictures in a grid: each divided by its largest
/// absolute value, 0 is gray. `bgr`: the first channel is blue.
Image filters_picture(std::span<const float> values, int64_t count, int64_t height, int64_t width,
                      bool bgr, const std::string& title);

}  // namespace frcnn
