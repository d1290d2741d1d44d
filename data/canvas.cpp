#include "data/canvas.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "data/font.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace {

constexpr int kLeastSide = 800;  // of the longer side, in canvas pixels
constexpr int kMostFactor = 24;
constexpr uint8_t kMarginGrey = 52, kPaperGrey = 28;
constexpr Colour kInk = {235, 235, 235};

bool is_bright(Colour colour) {
  return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140;
}

/// Words of a text in lines of at most `most` characters.
std::vector<std::string> wrapped(const std::string& text, size_t most) {
  std::vector<std::string> lines;
  std::string line;
  size_t at = 0;
  while (at < text.size()) {
    size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    if (!line.empty() && line.size() + 1 + word.size() > most) {
      lines.push_back(line);
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
    at = end + 1;
  }
  if (!line.empty()) lines.push_back(line);
  return lines;
}

void copy_into(Image& target, const Image& source, int x, int y) {
  for (int row = 0; row < source.height; ++row)
    std::copy_n(source.pixel(0, row), static_cast<size_t>(source.width) * 3,
                target.pixel(x, y + row));
}

}  // namespace

Canvas::Canvas(const Image& picture, double margin) {
  check(picture.width > 0 && picture.height > 0, "[canvas] expected a picture, got {} x {} pixels",
        picture.width, picture.height);
  margin_ = static_cast<int>(std::ceil(std::max(0.0, margin)));
  const int width = picture.width + 2 * margin_, height = picture.height + 2 * margin_;
  const int longer = std::max(width, height);
  factor_ = std::clamp((kLeastSide + longer - 1) / longer, 1, kMostFactor);
  unit_ = std::max(1, static_cast<int>(std::lround(longer * factor_ / 1000.0)));
  image_ = Image(width * factor_, height * factor_, kMarginGrey);
  for (int y = 0; y < picture.height * factor_; ++y)
    for (int x = 0; x < picture.width * factor_; ++x)
      std::copy_n(picture.pixel(x / factor_, y / factor_), 3,
                  image_.pixel(x + margin_ * factor_, y + margin_ * factor_));
}

Canvas::Rect Canvas::place(const Box& b) const {
  const auto at = [&](float v) { return std::round((double{v} + margin_) * factor_); };
  return {at(b.x1), at(b.y1), at(b.x2), at(b.y2)};
}

void Canvas::blend(int x1, int y1, int x2, int y2, Colour colour, double opacity) {
  x1 = std::max(x1, 0), x2 = std::min(x2, image_.width);
  y1 = std::max(y1, 0), y2 = std::min(y2, image_.height);
  for (int y = y1; y < y2; ++y)
    for (int x = x1; x < x2; ++x) {
      uint8_t* p = image_.pixel(x, y);
      for (size_t c = 0; c < 3; ++c)
        p[c] = static_cast<uint8_t>(std::lround(p[c] + opacity * (colour[c] - p[c])));
    }
}

/// The pixels [x1, x2) x [y1, y2) of a line that runs along x or y, with its dashes.
void Canvas::line(double x1, double y1, double x2, double y2, bool along_x, const Pen& pen) {
  const auto whole = [](double v, int most) {
    return static_cast<int>(std::lround(std::clamp(v, -1.0, most + 1.0)));
  };
  const int left = whole(x1, image_.width), right = whole(x2, image_.width);
  const int top = whole(y1, image_.height), bottom = whole(y2, image_.height);
  if (pen.dash <= 0) {
    blend(left, top, right, bottom, pen.colour, pen.opacity);
    return;
  }
  const int dash = pen.dash * unit_;
  if (along_x)
    for (int x = left; x < right; x += 2 * dash)
      blend(x, top, std::min(x + dash, right), bottom, pen.colour, pen.opacity);
  else
    for (int y = top; y < bottom; y += 2 * dash)
      blend(left, y, right, std::min(y + dash, bottom), pen.colour, pen.opacity);
}

void Canvas::box(const Box& b, const Pen& pen) {
  const Rect r = place(b);
  if (!(r.x2 > r.x1 && r.y2 > r.y1)) return;
  const double width = pen.width * unit_;
  const double across = std::min(width, r.x2 - r.x1), down = std::min(width, r.y2 - r.y1);
  const double low = std::max(r.y1 + down, r.y2 - down),
               right = std::max(r.x1 + across, r.x2 - across);
  line(r.x1, r.y1, r.x2, r.y1 + down, true, pen);
  line(r.x1, low, r.x2, r.y2, true, pen);
  line(r.x1, r.y1 + down, r.x1 + across, low, false, pen);
  line(right, r.y1 + down, r.x2, low, false, pen);
}

void Canvas::vertical(double x, double from, double to, const Pen& pen) {
  const double at = std::round((x + margin_) * factor_);
  line(at, (from + margin_) * factor_, at + pen.width * unit_, (to + margin_) * factor_, false,
       pen);
}

void Canvas::horizontal(double y, double from, double to, const Pen& pen) {
  const double at = std::round((y + margin_) * factor_);
  line((from + margin_) * factor_, at, (to + margin_) * factor_, at + pen.width * unit_, true, pen);
}

void Canvas::dot(double x, double y, int size, Colour colour) {
  const double side = size * unit_;
  const double left = std::round((x + margin_) * factor_ - side / 2);
  const double top = std::round((y + margin_) * factor_ - side / 2);
  line(left, top, left + side, top + side, true, {colour});
}

void Canvas::fill(const Box& b, Colour colour, double opacity) {
  const Rect r = place(b);
  if (r.x2 > r.x1 && r.y2 > r.y1) line(r.x1, r.y1, r.x2, r.y2, true, {colour, 1, opacity});
}

void Canvas::add_plate(const Rect& at, std::string_view text, Colour colour) {
  if (!text.empty() && std::isfinite(at.x1) && std::isfinite(at.y1))
    plates_.push_back({at, std::string(text), colour});
}

void Canvas::draw_plates() {
  const int scale = std::max(1, unit_ * 3 / 2), gap = scale + 1;
  const int most = std::max(0, (image_.width - 2 * gap) / (kGlyphAdvance * scale));
  struct Pixels {
    int x1, y1, x2, y2;
  };
  std::vector<Pixels> taken;
  const auto covered = [&](const Pixels& p) {
    int64_t area = 0;
    for (const Pixels& t : taken)
      area += int64_t{std::max(0, std::min(p.x2, t.x2) - std::max(p.x1, t.x1))} *
              std::max(0, std::min(p.y2, t.y2) - std::max(p.y1, t.y1));
    return area;
  };
  for (const Plate& plate : plates_) {
    const std::string text = plate.text.substr(0, static_cast<size_t>(most));
    if (text.empty()) continue;
    const auto [text_width, text_height] = text_size(text, scale);
    const int width = text_width + 2 * gap, height = text_height + 2 * gap;
    const auto within = [](double v, int most_allowed) {
      return static_cast<int>(std::lround(std::clamp(v, 0.0, std::max(0.0, double(most_allowed)))));
    };
    const Rect& r = plate.at;
    // Above, inside, at the other corners: the first that hides no plate, or hides least.
    const std::array<std::array<double, 2>, 6> places = {{{r.x1, r.y1 - height},
                                                          {r.x1, r.y1},
                                                          {r.x2 - width, r.y1 - height},
                                                          {r.x1, r.y2},
                                                          {r.x2 - width, r.y2},
                                                          {r.x1, r.y2 - height}}};
    Pixels best{};
    int64_t least = std::numeric_limits<int64_t>::max();
    for (const auto& [x, y] : places) {
      const int left = within(x, image_.width - width), top = within(y, image_.height - height);
      const Pixels p{left, top, left + width, top + height};
      const int64_t hidden = covered(p);
      if (hidden < least) best = p, least = hidden;
      if (least == 0) break;
    }
    taken.push_back(best);
    blend(best.x1, best.y1, best.x2, best.y2, plate.colour, 1);
    draw_text(image_, best.x1 + gap, best.y1 + gap, text, is_bright(plate.colour) ? Colour{} : kInk,
              scale);
  }
}

void Canvas::label(double x, double y, std::string_view text, Colour colour) {
  const double left = (x + margin_) * factor_, bottom = (y + margin_) * factor_;
  add_plate({left, bottom, left, bottom}, text, colour);
}

void Canvas::labelled_box(const Box& b, std::string_view text, const Pen& pen) {
  box(b, pen);
  const Rect r = place(b);
  if (r.x2 > r.x1 && r.y2 > r.y1) add_plate(r, text, pen.colour);
}

void Canvas::legend(const Pen& pen, std::string text) {
  legend_.push_back({true, pen, std::move(text)});
}

void Canvas::note(std::string text) {
  legend_.push_back({false, {}, std::move(text)});
}

Image Canvas::finish(const std::string& title) const {
  const int scale = 2 * std::max(1, static_cast<int>(std::lround(image_.width / 1000.0)));
  const int gap = 4 * scale;
  const int sample = 16 * scale, row = 12 * scale;
  const int width = std::max(image_.width, 200 * scale);
  const auto lines_of = [&](const std::string& text, int indent) {
    return wrapped(text, static_cast<size_t>(
                             std::max(8, (width - 2 * gap - indent) / (kGlyphAdvance * scale))));
  };
  const std::vector<std::string> heading = lines_of(title, 0);
  const int top = heading.empty() ? 0 : static_cast<int>(heading.size()) * row + gap;
  int rows = 0;
  for (const Entry& e : legend_)
    rows += static_cast<int>(lines_of(e.text, e.sample ? sample + gap : 0).size());
  const int bottom = rows == 0 ? 0 : rows * row + gap;

  Canvas page(Image(1, 1));  // its drawing functions, in pixels
  page.factor_ = 1;
  page.unit_ = unit_;
  page.image_ = Image(width, top + image_.height + bottom, kPaperGrey);
  Canvas labelled(*this);
  labelled.draw_plates();
  copy_into(page.image_, labelled.image_, (width - image_.width) / 2, top);
  int y = gap / 2 + scale;
  for (const std::string& text : heading) {
    draw_text(page.image_, gap, y, text, kInk, scale);
    y += row;
  }
  y = top + image_.height + gap / 2 + scale;
  for (const Entry& e : legend_) {
    const int indent = e.sample ? sample + gap : 0;
    if (e.sample) {
      Pen pen = e.pen;
      pen.opacity = std::max(pen.opacity, 0.8);
      const auto left = static_cast<float>(gap), upper = static_cast<float>(y - scale);
      page.box(
          {left, upper, left + static_cast<float>(sample), upper + static_cast<float>(9 * scale)},
          pen);
    }
    for (const std::string& text : lines_of(e.text, indent)) {
      draw_text(page.image_, gap + indent, y, text, kInk, scale);
      y += row;
    }
  }
  return page.image_;
}

Image beside(const Image& left, const Image& right) {
  constexpr int kGap = 8;
  Image both(left.width + kGap + right.width, std::max(left.height, right.height), kMarginGrey);
  copy_into(both, left, 0, 0);
  copy_into(both, right, left.width + kGap, 0);
  return both;
}

}  // namespace frcnn
