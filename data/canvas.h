#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/draw.h"
#include "data/image.h"
#include "kernels/boxes/box.h"

namespace frcnn {

/// How a line looks. Width and dashes are in units that grow with the canvas.
struct Pen {
  Colour colour = {255, 255, 255};
  int width = 1;
  double opacity = 1;  ///< 0 to 1; lines that lie on each other add up
  int dash = 0;        ///< length of dashes and gaps; 0: a solid line
};

/// A picture to draw on, in coordinates of the picture: small ones are enlarged by a whole factor,
/// so that lines and letters are legible at any size. A margin shows what lies outside the picture;
/// finish() puts a title above and a legend below.
class Canvas {
 public:
  /// `margin`: pixels of the picture on every side.
  explicit Canvas(const Image& picture, double margin = 0);

  /// Canvas pixels per pixel of the picture.
  int factor() const { return factor_; }

  /// Outline inside of the box. Sides outside of the canvas are not drawn; boxes with NaN or
  /// without area are left out.
  void box(const Box& box, const Pen& pen);
  /// Straight lines at x or y over [from, to).
  void vertical(double x, double from, double to, const Pen& pen);
  void horizontal(double y, double from, double to, const Pen& pen);
  /// A filled square around (x, y), `size` units wide.
  void dot(double x, double y, int size, Colour colour);
  void fill(const Box& box, Colour colour, double opacity);
  /// Text on a plate of its colour, its bottom left corner at (x, y), moved into the canvas. Plates
  /// lie on top of everything else, and beside each other where there is room.
  void label(double x, double y, std::string_view text, Colour colour);
  /// box() and a label above its top left corner, or at another of its corners.
  void labelled_box(const Box& box, std::string_view text, const Pen& pen);

  /// A line of the legend: what the pen stands for.
  void legend(const Pen& pen, std::string text);
  /// A line of the legend without a sample.
  void note(std::string text);

  /// The whole picture with title and legend.
  Image finish(const std::string& title) const;

 private:
  struct Rect {
    double x1, y1, x2, y2;
  };
  Rect place(const Box& box) const;
  void blend(int x1, int y1, int x2, int y2, Colour colour, double opacity);
  void line(double x1, double y1, double x2, double y2, bool along_x, const Pen& pen);
  struct Plate {
    Rect at;  ///< canvas pixels: what it belongs to, a point or a box
    std::string text;
    Colour colour;
  };
  void add_plate(const Rect& at, std::string_view text, Colour colour);
  /// Draws the plates into the image.
  void draw_plates();
  struct Entry {
    bool sample = false;
    Pen pen;
    std::string text;
  };

  int factor_ = 1, margin_ = 0, unit_ = 1;
  Image image_;
  std::vector<Plate> plates_;
  std::vector<Entry> legend_;
};

/// Two pictures side by side, the lower one filled up with the colour of margins.
Image beside(const Image& left, const Image& right);

}  // namespace frcnn
