#pragma once

#include <string>
#include <vector>

namespace frcnn::apps {

/// One curve; x ascending, as many y as x. Points that are not finite break the line.
struct Series {
  std::string name;
  std::vector<double> x, y;
  bool markers = false;     ///< a dot at each point
  bool smooth = false;      ///< a running mean over the faint raw values, per unbroken piece
  std::string colour = {};  ///< CSS; empty: the next of the six colours
  std::string id = {};      ///< data-id of the curve, for scripts of the page
};

struct Chart {
  std::string x_label;
  std::vector<Series> series;
  bool from_zero = true;  ///< both axes begin at 0
  double y_max = 0;       ///< fixed upper end; 0: from the values
  bool legend = true;     ///< names of the curves, where there are several
  double x_max = 0;       ///< like y_max
};

/// A chart as <figure> with inline SVG: one drawing for wide screens and one for phones, of which
/// the style sheet of the report shows the right one. Colours are CSS variables (--c1 ...).
std::string chart_html(const Chart& chart, const std::string& title);

/// The chart as an SVG file of its own, on white, with title and legend.
std::string chart_svg(const Chart& chart, const std::string& title);

/// Round numbers that cover [low, high] with about `count` steps.
std::vector<double> axis_ticks(double low, double high, int count);

/// Text for HTML: & < > " escaped.
std::string escape_html(const std::string& text);

}  // namespace frcnn::apps
