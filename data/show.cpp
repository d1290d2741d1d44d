#include "data/show.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

constexpr Colour kGrid = {255, 255, 255}, kMark = {255, 210, 30};

/// How far boxes stick out of the picture, at most `share` of its longer side.
double overhang(const Image& picture, const std::vector<Box>& boxes, double share) {
  double most = 0;
  for (const Box& b : boxes)
    for (const double out : {-double{b.x1}, -double{b.y1}, double{b.x2} - picture.width,
                             double{b.y2} - picture.height})
      if (std::isfinite(out)) most = std::max(most, out);
  return std::min(most > 0 ? most + 2 : 0, share * std::max(picture.width, picture.height));
}

Box tile_of(const TileGrid& g, int64_t row, int64_t column) {
  const auto at = [](int64_t i, double stride) {
    return static_cast<float>(static_cast<double>(i) * stride);
  };
  return {at(column, g.stride_x), at(row, g.stride_y), at(column + 1, g.stride_x),
          at(row + 1, g.stride_y)};
}

void draw_grid(Canvas& canvas, const TileGrid& g, const Pen& pen) {
  const double height = static_cast<double>(g.rows) * g.stride_y;
  const double width = static_cast<double>(g.columns) * g.stride_x;
  for (int64_t j = 0; j <= g.columns; ++j)
    canvas.vertical(static_cast<double>(j) * g.stride_x, 0, height, pen);
  for (int64_t i = 0; i <= g.rows; ++i)
    canvas.horizontal(static_cast<double>(i) * g.stride_y, 0, width, pen);
}

Box square(const Box& centre, double side) {
  const double x = (double{centre.x1} + centre.x2) / 2, y = (double{centre.y1} + centre.y2) / 2;
  return {static_cast<float>(x - side / 2), static_cast<float>(y - side / 2),
          static_cast<float>(x + side / 2), static_cast<float>(y + side / 2)};
}

std::string size_text(const Box& b) {
  return fmt::format("{:g} x {:g} (height / width {:.2f})", std::round(b.width() * 10) / 10,
                     std::round(b.height() * 10) / 10, b.height() / b.width());
}

}  // namespace

Image picture_of(const Sample& sample, const InputSettings& settings) {
  Image image(sample.width, sample.height);
  const size_t plane = static_cast<size_t>(sample.width) * static_cast<size_t>(sample.height);
  check(sample.pixels.size() == 3 * plane, "[show] expected {} numbers of a sample, got {}",
        3 * plane, sample.pixels.size());
  for (size_t c = 0; c < 3; ++c) {
    const size_t channel = settings.bgr ? 2 - c : c;
    for (size_t i = 0; i < plane; ++i) {
      const double value =
          (sample.pixels[c * plane + i] * settings.stddev[c] + settings.mean[c]) / settings.scale;
      image.rgb[3 * i + channel] = static_cast<uint8_t>(std::lround(std::clamp(value, 0.0, 255.0)));
    }
  }
  return image;
}

Image truth_picture(const Image& picture, const std::vector<Box>& boxes,
                    const std::vector<int>& labels, const std::vector<uint8_t>& difficult,
                    const std::vector<std::string>& class_names) {
  Canvas canvas(picture);
  std::vector<int64_t> counts(class_names.size(), 0);
  int64_t hard = 0;
  for (size_t i = 0; i < boxes.size(); ++i) {
    const auto label = static_cast<size_t>(labels.at(i));
    const bool is_hard = difficult.at(i) != 0;
    canvas.labelled_box(boxes[i], class_names.at(label) + (is_hard ? "?" : ""),
                        {class_colour(labels[i]), 2, 1, is_hard ? 6 : 0});
    ++counts[label];
    hard += is_hard;
  }
  for (size_t k = 0; k < counts.size(); ++k)
    if (counts[k] > 0)
      canvas.legend({class_colour(static_cast<int>(k)), 2},
                    fmt::format("{}: {}", class_names[k], counts[k]));
  if (hard > 0) canvas.note(fmt::format("dashed, '?': difficult, {}", hard));
  return canvas.finish(fmt::format("ground truth: {} objects", boxes.size()));
}

Image tiles_picture(const Image& picture, const TileGrid& grid, int64_t receptive_field,
                    int64_t window_field) {
  const Box tile = tile_of(grid, grid.row, grid.column);
  const Box field = square(tile, static_cast<double>(receptive_field));
  const Box window = square(tile, static_cast<double>(window_field));
  Canvas canvas(picture, overhang(picture, {field, window}, 0.5));
  draw_grid(canvas, grid, {kGrid, 1, 0.55});
  canvas.fill(tile, kMark, 0.5);
  canvas.box(tile, {kMark, 2});
  canvas.box(field, {{70, 210, 90}, 2});
  canvas.box(window, {{90, 160, 255}, 2, 1, 8});
  canvas.legend({kGrid, 1}, fmt::format("{} x {} tiles (rows x columns): cells of the feature map, "
                                        "{:g} x {:g} pixels each",
                                        grid.rows, grid.columns, grid.stride_y, grid.stride_x));
  canvas.legend({kMark, 2}, fmt::format("tile in row {}, column {}", grid.row, grid.column));
  canvas.legend({{70, 210, 90}, 2},
                fmt::format("what its cell of the map sees: {} pixels", receptive_field));
  canvas.legend({{90, 160, 255}, 2, 1, 8},
                fmt::format("what the RPN's window on it sees: {} pixels", window_field));
  return canvas.finish(fmt::format("tiles: {} on an input of {} x {} pixels (width x height)",
                                   grid.rows * grid.columns, picture.width, picture.height));
}

Image base_anchors_picture(const Image& picture, const TileGrid& grid,
                           const std::vector<Box>& anchors, const std::vector<uint8_t>& inside) {
  Canvas canvas(picture, overhang(picture, anchors, 1));
  draw_grid(canvas, grid, {kGrid, 1, 0.25});
  const Box tile = tile_of(grid, grid.row, grid.column);
  canvas.fill(tile, kMark, 0.6);
  for (size_t a = 0; a < anchors.size(); ++a) {
    const Pen pen = {class_colour(static_cast<int>(a)), 2, 1, inside.at(a) ? 0 : 6};
    canvas.box(anchors[a], pen);
    canvas.legend(pen, fmt::format("{}: {}{}", a, size_text(anchors[a]),
                                   inside[a] ? "" : ", crosses the border"));
  }
  canvas.legend({kMark, 2}, fmt::format("tile in row {}, column {}", grid.row, grid.column));
  return canvas.finish(
      fmt::format("base anchors of one tile: {} (width x height in pixels)", anchors.size()));
}

Image anchors_picture(const Image& picture, const std::vector<Box>& anchors, int64_t per_cell,
                      const std::vector<uint8_t>* drawn, const std::string& what, bool margin,
                      int64_t* count) {
  Canvas canvas(picture, margin ? overhang(picture, anchors, 0.5) : 0);
  int64_t all = 0;
  for (size_t i = 0; i < anchors.size(); ++i) all += !drawn || (*drawn)[i];
  // Thousands of outlines are a picture of their density.
  const double opacity = std::clamp(1000.0 / std::max<double>(1, double(all)), 0.1, 1.0);
  std::vector<int64_t> counts(static_cast<size_t>(per_cell), 0);
  for (size_t i = 0; i < anchors.size(); ++i) {
    if (drawn && !(*drawn)[i]) continue;
    const size_t shape = i % static_cast<size_t>(per_cell);
    canvas.box(anchors[i], {class_colour(static_cast<int>(shape)), 1, opacity});
    ++counts[shape];
  }
  for (size_t a = 0; a < counts.size() && a < anchors.size(); ++a)
    canvas.legend({class_colour(static_cast<int>(a)), 1},
                  fmt::format("{} of {}", counts[a], size_text(anchors[a])));
  if (opacity < 1) canvas.note("faint lines add up: brighter is where more of them lie");
  if (count) *count = all;
  return canvas.finish(fmt::format("{}: {}", what, all));
}

Image groups_picture(const Image& picture, const std::vector<BoxGroup>& groups,
                     const std::string& title, const std::vector<std::string>& notes) {
  std::vector<Box> all;
  for (const BoxGroup& group : groups)
    all.insert(all.end(), group.boxes.begin(), group.boxes.end());
  Canvas canvas(picture, overhang(picture, all, 0.25));
  for (const BoxGroup& group : groups) {
    for (size_t i = 0; i < group.boxes.size(); ++i)
      if (i < group.texts.size() && !group.texts[i].empty())
        canvas.labelled_box(group.boxes[i], group.texts[i], group.pen);
      else
        canvas.box(group.boxes[i], group.pen);
    canvas.legend(group.pen, fmt::format("{}: {}", group.name, group.boxes.size()));
  }
  for (const std::string& note : notes) canvas.note(note);
  return canvas.finish(title);
}

Image variants_picture(const std::vector<Variant>& variants,
                       const std::vector<std::string>& class_names, const std::string& title,
                       const std::vector<std::string>& notes) {
  constexpr int kColumns = 3, kGap = 6, kText = 18;
  int width = 1, height = 1;
  for (const Variant& v : variants) {
    width = std::max(width, v.picture.width);
    height = std::max(height, v.picture.height);
  }
  // Of small pictures as many pixels as make a legible grid.
  const int factor = std::clamp(300 / std::max(width, height), 1, 8);
  width *= factor;
  std::vector<int> tops = {kGap};  // of the rows, each as high as its highest picture
  for (size_t i = 0; i < variants.size(); i += kColumns) {
    int highest = 1;
    for (size_t k = i; k < std::min(i + kColumns, variants.size()); ++k)
      highest = std::max(highest, variants[k].picture.height * factor);
    tops.push_back(tops.back() + highest + kGap + kText);
  }
  Image page(kColumns * (width + kGap) + kGap, tops.back(), 52);
  std::vector<uint8_t> seen(class_names.size(), 0);
  for (size_t i = 0; i < variants.size(); ++i) {
    const Variant& v = variants[i];
    const int left = kGap + static_cast<int>(i % kColumns) * (width + kGap);
    const int top = tops[i / kColumns] + kText;
    Image cell(v.picture.width * factor, v.picture.height * factor);
    for (int y = 0; y < cell.height; ++y)
      for (int x = 0; x < cell.width; ++x)
        std::copy_n(v.picture.pixel(x / factor, y / factor), 3, cell.pixel(x, y));
    for (size_t k = 0; k < v.boxes.size(); ++k) {
      const auto f = static_cast<float>(factor);
      const Box& b = v.boxes[k];
      draw_box(cell, {b.x1 * f, b.y1 * f, b.x2 * f, b.y2 * f}, class_colour(v.labels.at(k)), 2);
      seen.at(static_cast<size_t>(v.labels[k])) = 1;
    }
    draw_text(page, left, top - 16, v.text, {220, 220, 220}, 2);
    for (int y = 0; y < cell.height; ++y)
      std::copy_n(cell.pixel(0, y), static_cast<size_t>(cell.width) * 3, page.pixel(left, top + y));
  }
  Canvas canvas(page);
  for (size_t k = 0; k < seen.size(); ++k)
    if (seen[k]) canvas.legend({class_colour(static_cast<int>(k)), 2}, class_names[k]);
  for (const std::string& note : notes) canvas.note(note);
  return canvas.finish(title);
}

Colour heat(double value) {
  constexpr std::array<Colour, 5> kStops = {
      {{70, 90, 255}, {40, 190, 230}, {70, 210, 80}, {255, 200, 40}, {240, 50, 40}}};
  const double v = 4 * std::clamp(std::isnan(value) ? 0 : value, 0.0, 1.0);
  const auto below = std::min<size_t>(static_cast<size_t>(v), 3);
  Colour colour{};
  for (size_t c = 0; c < 3; ++c)
    colour[c] = static_cast<uint8_t>(std::lround(
        kStops[below][c] + (v - double(below)) * (kStops[below + 1][c] - kStops[below][c])));
  return colour;
}

}  // namespace frcnn
