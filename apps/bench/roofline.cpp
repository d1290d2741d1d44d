#include <algorithm>
#include <cmath>

#include "apps/bench/rows.h"
#include "apps/chart.h"

namespace frcnn::apps::bench {
namespace {

constexpr double kWidth = 820, kHeight = 520, kLeft = 62, kRight = 190, kTop = 40, kBottom = 46;

// Colours as in the report (apps/report_style.h), light and dark.
constexpr const char* kStyle =
    "<style>:root{--bg:#fff;--text:#1b1f24;--muted:#5d6673;--line:#e1e5ea;--c1:#2563eb;"
    "--c2:#ea580c;--c3:#16a34a;--c4:#9333ea;--c5:#0891b2;--c6:#be123c}"
    "@media(prefers-color-scheme:dark){:root{--bg:#14171b;--text:#e7eaee;--muted:#9aa4b1;"
    "--line:#323941;--c1:#60a5fa;--c2:#fb923c;--c3:#4ade80;--c4:#c084fc;--c5:#22d3ee;"
    "--c6:#fb7185}}"
    "text{font:12px system-ui,sans-serif;fill:var(--muted)}.t{font-size:15px;fill:var(--text)}"
    ".g{stroke:var(--line)}.r{stroke:var(--text);stroke-width:1.5;fill:none}</style>";

/// Both axes in powers of ten.
struct Axes {
  double x0 = 1e300, x1 = 0, y0 = 1e300, y1 = 0;
  void take(double x, double y) {
    x0 = std::min(x0, x), x1 = std::max(x1, x);
    y0 = std::min(y0, y), y1 = std::max(y1, y);
  }
  void round_out() {
    for (double* low : {&x0, &y0}) *low = std::pow(10, std::floor(std::log10(*low * 0.9)));
    for (double* high : {&x1, &y1}) *high = std::pow(10, std::ceil(std::log10(*high * 1.1)));
  }
  double px(double x) const {
    return kLeft + std::log(x / x0) / std::log(x1 / x0) * (kWidth - kLeft - kRight);
  }
  double py(double y) const {
    return kHeight - kBottom - std::log(y / y0) / std::log(y1 / y0) * (kHeight - kTop - kBottom);
  }
};

/// 1e9 as "1 G".
std::string unit_text(double value) {
  constexpr const char* kUnits[] = {"", " k", " M", " G", " T", " P"};
  int unit = 0;
  while (value >= 999 && unit < 5) value /= 1000, ++unit;
  return fmt::format("{:g}{}", value, kUnits[unit]);
}

std::string grid(const Axes& axes) {
  std::string svg;
  for (double x = axes.x0; x <= axes.x1 * 1.01; x *= 10)
    svg += fmt::format(
        "<line class='g' x1='{0:.1f}' x2='{0:.1f}' y1='{1}' y2='{2}'/>"
        "<text x='{0:.1f}' y='{3}' text-anchor='middle'>{4:g}</text>",
        axes.px(x), kTop, kHeight - kBottom, kHeight - kBottom + 16, x);
  for (double y = axes.y0; y <= axes.y1 * 1.01; y *= 10)
    svg += fmt::format(
        "<line class='g' x1='{0}' x2='{1}' y1='{2:.1f}' y2='{2:.1f}'/>"
        "<text x='{3}' y='{4:.1f}' text-anchor='end'>{5}</text>",
        kLeft, kWidth - kRight, axes.py(y), kLeft - 6, axes.py(y) + 4, unit_text(y));
  return svg +
         fmt::format("<text x='{}' y='{}' text-anchor='end'>FLOP per byte</text>", kWidth - kRight,
                     kHeight - 8) +
         fmt::format("<text x='{}' y='{}'>FLOP/s</text>", kLeft, kTop - 8);
}

std::string roofs(const Axes& axes, const Ceilings& ceilings) {
  std::string svg;
  for (const auto& [arithmetic, flops] : ceilings.flops) {
    if (!(flops > 0 && ceilings.bytes_per_second > 0)) continue;
    const double ridge = flops / ceilings.bytes_per_second;
    const double start = std::max(axes.x0, axes.y0 / ceilings.bytes_per_second);
    const double knee = std::clamp(ridge, start, axes.x1);
    svg += fmt::format("<path class='r' d='M{:.1f} {:.1f}L{:.1f} {:.1f}L{:.1f} {:.1f}'/>",
                       axes.px(start), axes.py(start * ceilings.bytes_per_second), axes.px(knee),
                       axes.py(std::min(flops, knee * ceilings.bytes_per_second)), axes.px(axes.x1),
                       axes.py(flops));
    svg += fmt::format("<text x='{:.1f}' y='{:.1f}' text-anchor='end'>{} {}FLOP/s</text>",
                       axes.px(axes.x1) - 4, axes.py(flops) - 5, arithmetic,
                       unit_text(std::round(flops / 1e9) * 1e9));
  }
  return svg;
}

}  // namespace

std::string roofline_svg(const std::vector<Row>& rows, const Ceilings& ceilings,
                         const std::string& title) {
  std::vector<const Row*> points;
  std::vector<std::string> names;  // versions: one colour each
  Axes axes;
  for (const Row& row : rows) {
    if (!row.refused.empty() || !(row.flops > 0 && row.bytes > 0 && row.time.median > 0)) continue;
    points.push_back(&row);
    axes.take(row.flops / row.bytes, row.flops / row.time.median);
    if (std::find(names.begin(), names.end(), row.version) == names.end())
      names.push_back(row.version);
  }
  for (const auto& [arithmetic, flops] : ceilings.flops)
    if (flops > 0 && !points.empty()) axes.take(axes.x0, flops);
  std::string svg = fmt::format(
      "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {0} {1}' role='img' "
      "aria-label='{2}'>{3}<rect width='{0}' height='{1}' fill='var(--bg)'/>"
      "<text class='t' x='{4}' y='18'>{2}</text>",
      kWidth, kHeight, escape_html(title), kStyle, kLeft);
  if (points.empty()) return svg + "<text x='62' y='60'>nothing with FLOPs was run</text></svg>\n";
  axes.round_out();
  svg += grid(axes) + roofs(axes, ceilings);
  for (const Row* row : points) {
    const auto at = std::find(names.begin(), names.end(), row->version) - names.begin();
    const double flops = row->flops / row->time.median;
    svg += fmt::format(
        "<circle cx='{:.1f}' cy='{:.1f}' r='4' style='fill:var(--c{})' fill-opacity='{}'>"
        "<title>{}</title></circle>",
        axes.px(row->flops / row->bytes), axes.py(flops), at % 6 + 1, at < 6 ? 0.85 : 0.4,
        escape_html(fmt::format("{} {}, {} {}: {}FLOP/s", row->op, row->label, row->pass,
                                row->version, unit_text(std::round(flops / 1e7) * 1e7))));
  }
  for (size_t i = 0; i < names.size(); ++i)
    svg += fmt::format(
        "<circle cx='{0}' cy='{1}' r='4' style='fill:var(--c{2})' fill-opacity='{3}'/>"
        "<text x='{4}' y='{5}'>{6}</text>",
        kWidth - kRight + 20, kTop + 10 + 20 * static_cast<double>(i), i % 6 + 1,
        i < 6 ? 0.85 : 0.4, kWidth - kRight + 32, kTop + 14 + 20 * static_cast<double>(i),
        escape_html(names[i].empty() ? "one version" : names[i]));
  return svg + "</svg>\n";
}

}  // namespace frcnn::apps::bench
