#include "apps/chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

/// Drawing area of a chart in SVG units.
struct Frame {
  double width, height;
  double left = 46, right = 18, top = 8, bottom = 34;
  double x0 = 0, x1 = 1, y0 = 0, y1 = 1;

  double px(double x) const { return left + (x - x0) / (x1 - x0) * (width - left - right); }
  double py(double y) const {
    return height - bottom - (y - y0) / (y1 - y0) * (height - top - bottom);
  }
};

void fit(Frame& frame, const Chart& chart) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double x0 = kInfinity, x1 = -kInfinity, y0 = kInfinity, y1 = -kInfinity;
  for (const Series& s : chart.series)
    for (size_t i = 0; i < s.x.size(); ++i) {
      if (!std::isfinite(s.y[i])) continue;
      x0 = std::min(x0, s.x[i]);
      x1 = std::max(x1, s.x[i]);
      y0 = std::min(y0, s.y[i]);
      y1 = std::max(y1, s.y[i]);
    }
  if (!(x0 <= x1)) x0 = y0 = 0, x1 = y1 = 1;
  if (chart.from_zero) {
    x0 = std::min(x0, 0.0);
    y0 = std::min(y0, 0.0);
  }
  if (chart.y_max > 0) y1 = chart.y_max;
  if (chart.x_max > 0) x1 = chart.x_max;
  if (x1 == x0) x1 = x0 + 1;
  if (y1 == y0) y1 = y0 + 1;
  const auto ticks = axis_ticks(y0, y1, 5);
  frame.x0 = x0;
  frame.x1 = x1;
  frame.y0 = std::min(y0, ticks.front());
  frame.y1 = std::max(y1, ticks.back());
}

/// 1200000 as 1.2M, 0.25 as 0.25.
std::string tick_text(double value) {
  if (std::abs(value) >= 1e6) return fmt::format("{:g}M", value / 1e6);
  if (std::abs(value) >= 1e4) return fmt::format("{:g}k", value / 1e3);
  return fmt::format("{:g}", std::abs(value) < 1e-12 ? 0.0 : value);
}

std::string axes(const Frame& f, const Chart& chart) {
  std::string svg;
  for (const double y : axis_ticks(f.y0, f.y1, 5))
    svg += fmt::format(
        "<line class='grid' x1='{:.1f}' x2='{:.1f}' y1='{:.1f}' y2='{:.1f}'/>"
        "<text class='tick' x='{:.1f}' y='{:.1f}' text-anchor='end'>{}</text>",
        f.left, f.width - f.right, f.py(y), f.py(y), f.left - 6, f.py(y) + 4, tick_text(y));
  for (const double x : axis_ticks(f.x0, f.x1, f.width > 500 ? 8 : 4))
    if (x >= f.x0 && x <= f.x1)
      svg += fmt::format("<text class='tick' x='{:.1f}' y='{:.1f}' text-anchor='middle'>{}</text>",
                         f.px(x), f.height - f.bottom + 16, tick_text(x));
  return svg + fmt::format("<text class='tick' x='{:.1f}' y='{:.1f}' text-anchor='end'>{}</text>",
                           f.width - f.right, f.height - 4, escape_html(chart.x_label));
}

/// Mean of neighbours, a twentieth of the points at most; not across points that are not finite.
std::vector<double> running_mean(const std::vector<double>& values) {
  const auto count = static_cast<int64_t>(values.size());
  const int64_t half = std::max<int64_t>(1, count / 40);
  const auto at = [&](int64_t i) { return values[static_cast<size_t>(i)]; };
  std::vector<double> means = values;
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(at(i))) continue;
    int64_t first = i, last = i;
    while (first > std::max<int64_t>(0, i - half) && std::isfinite(at(first - 1))) --first;
    while (last < std::min(count - 1, i + half) && std::isfinite(at(last + 1))) ++last;
    double sum = 0;
    for (int64_t j = first; j <= last; ++j) sum += at(j);
    means[static_cast<size_t>(i)] = sum / static_cast<double>(last - first + 1);
  }
  return means;
}

/// A polyline of at most about 400 points, so that the report of a long run stays small.
std::string path(const Frame& f, const std::vector<double>& x, const std::vector<double>& y,
                 const char* css, const std::string& style) {
  std::string d;
  const size_t stride = std::max<size_t>(1, x.size() / 400);
  bool pen_down = false;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!std::isfinite(y[i])) pen_down = false;
    if (!std::isfinite(y[i]) || (pen_down && i % stride != 0)) continue;
    d += fmt::format("{}{:.1f} {:.1f}", pen_down ? "L" : "M", f.px(x[i]), f.py(y[i]));
    pen_down = true;
  }
  return fmt::format("<path class='{}' d='{}'{}/>", css, d, style);
}

std::string colour_of(const Series& series, size_t index) {
  return series.colour.empty() ? fmt::format("var(--c{})", index % 6 + 1) : series.colour;
}

std::string drawing(const Chart& chart, const std::string& title, double width, double height,
                    const char* css) {
  Frame frame{width, height};
  fit(frame, chart);
  std::string svg = fmt::format("<svg class='{}' viewBox='0 0 {} {}' role='img' aria-label='{}'>",
                                css, width, height, escape_html(title));
  svg += axes(frame, chart);
  size_t index = 0;
  for (const Series& s : chart.series) {
    const std::string colour = colour_of(s, index++);
    const std::string id = s.id.empty() ? "" : fmt::format(" data-id='{}'", escape_html(s.id));
    const std::string stroke = fmt::format(" style='stroke:{}'{}", colour, id);
    const bool smooth = s.smooth && s.x.size() > 20;
    if (smooth) svg += path(frame, s.x, s.y, "raw", stroke);
    svg += path(frame, s.x, smooth ? running_mean(s.y) : s.y, "line", stroke);
    if (!s.markers) continue;
    for (size_t i = 0; i < s.x.size(); ++i)
      if (std::isfinite(s.y[i]))
        svg += fmt::format("<circle cx='{:.1f}' cy='{:.1f}' r='3' style='fill:{}'{}/>",
                           frame.px(s.x[i]), frame.py(s.y[i]), colour, id);
  }
  return svg + "</svg>";
}

}  // namespace

std::vector<double> axis_ticks(double low, double high, int count) {
  const double rough = (high - low) / std::max(1, count);
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 2.5, 5.0})
    if (factor * power >= rough * 0.999) {
      step = factor * power;
      break;
    }
  std::vector<double> ticks;
  const auto first = static_cast<int64_t>(std::floor(low / step + 1e-9));
  const auto last = static_cast<int64_t>(std::ceil(high / step - 1e-9));
  for (int64_t i = first; i <= last; ++i) ticks.push_back(static_cast<double>(i) * step);
  return ticks;
}

std::string escape_html(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '&')
      escaped += "&amp;";
    else if (c == '<')
      escaped += "&lt;";
    else if (c == '>')
      escaped += "&gt;";
    else if (c == '"')
      escaped += "&quot;";
    else if (c == '\'')
      escaped += "&#39;";
    else
      escaped += c;
  }
  return escaped;
}

std::string chart_svg(const Chart& chart, const std::string& title) {
  constexpr int kWidth = 720, kHeight = 260, kHead = 44;
  std::string svg = fmt::format(
      "<svg xmlns='http://www.w3.org/2000/svg' width='{0}' height='{1}' viewBox='0 0 {0} {1}'>\n"
      "<style>svg {{ font-family:sans-serif; }} .grid {{ stroke:#e1e5ea; }} "
      ".tick {{ fill:#5d6673; font-size:12px; }} path {{ fill:none; }} .line {{ stroke-width:2; }} "
      ".raw {{ opacity:.28; }}</style>\n<rect width='{0}' height='{1}' fill='#ffffff'/>\n"
      "<text x='12' y='18' font-size='14' font-weight='bold'>{2}</text>\n",
      kWidth, kHeight + kHead, escape_html(title));
  int x = 12;
  for (size_t i = 0; i < chart.series.size(); ++i) {
    svg += fmt::format(
        "<rect x='{}' y='27' width='12' height='8' style='fill:{}'/>"
        "<text class='tick' x='{}' y='36'>{}</text>\n",
        x, colour_of(chart.series[i], i), x + 16, escape_html(chart.series[i].name));
    x += 34 + 7 * static_cast<int>(chart.series[i].name.size());
  }
  const std::string inner = drawing(chart, title, kWidth, kHeight, "chart");
  svg += fmt::format("<svg y='{}' width='{}' height='{}'", kHead, kWidth, kHeight) +
         inner.substr(std::string("<svg").size()) + "\n</svg>\n";
  // Many programs that show SVG know no CSS variables.
  constexpr const char* kColours[] = {"#2563eb", "#ea580c", "#16a34a",
                                      "#9333ea", "#0891b2", "#be123c"};
  for (size_t i = 0; i < std::size(kColours); ++i) {
    const std::string variable = fmt::format("var(--c{})", i + 1);
    for (size_t at = svg.find(variable); at != std::string::npos; at = svg.find(variable, at))
      svg.replace(at, variable.size(), kColours[i]);
  }
  return svg;
}

std::string chart_html(const Chart& chart, const std::string& title) {
  std::string html = "<figure><figcaption><strong>" + escape_html(title) + "</strong>";
  if (chart.series.size() > 1 && chart.legend)
    for (size_t i = 0; i < chart.series.size(); ++i)
      html += fmt::format("<span class='key'><i style='background:{}'></i>{}</span>",
                          colour_of(chart.series[i], i), escape_html(chart.series[i].name));
  return html + "</figcaption>" + drawing(chart, title, 720, 260, "wide") +
         drawing(chart, title, 360, 240, "narrow") + "</figure>\n";
}

}  // namespace frcnn::apps
