#include "data/voc_object.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace frcnn {
namespace {

Box to_continuous(const std::array<double, 4>& c, VocCoordinates coordinates) {
  const double low = coordinates == VocCoordinates::one_based ? -1 : 0;
  const double high = coordinates == VocCoordinates::zero_based ? 1 : 0;
  return {static_cast<float>(c[0] + low), static_cast<float>(c[1] + low),
          static_cast<float>(c[2] + high), static_cast<float>(c[3] + high)};
}

/// A box drawn on a stored picture, in the picture as EXIF orientation 5..8 turns it.
Box turned(const Box& box, const ImageInfo& info) {
  const auto w = static_cast<float>(info.stored_width), h = static_cast<float>(info.stored_height);
  Box b = box;
  if (info.orientation == 7 || info.orientation == 8) b.x1 = w - box.x2, b.x2 = w - box.x1;
  if (info.orientation == 6 || info.orientation == 7) b.y1 = h - box.y2, b.y2 = h - box.y1;
  return {b.y1, b.x1, b.y2, b.x2};
}

/// Whether the corners lie in the picture when they are read as edges: then sticking out by one
/// pixel comes from counting pixels from another number than the rest of the folder does.
bool off_by_one(const std::array<double, 4>& c, const VocFrame& frame) {
  const double w = frame.stored ? frame.stored->stored_width : frame.width;
  const double h = frame.stored ? frame.stored->stored_height : frame.height;
  return c[0] >= 0 && c[1] >= 0 && c[2] <= w && c[3] <= h;
}

}  // namespace

std::string corners_text(const VocObject& object) {
  const auto& c = object.corners;
  return fmt::format("'{}' ({:g}, {:g}, {:g}, {:g})", object.name, c[0], c[1], c[2], c[3]);
}

VocVerdict judge_object(const VocObject& object, const VocFrame& frame) {
  VocVerdict verdict;
  const auto report = [&](FindingKind kind, Defect defect, const std::string& message) {
    verdict.findings.push_back(
        {kind, "", object.line, fmt::format("{} {}", corners_text(object), message), defect});
  };
  std::array<double, 4> c = object.corners;
  const double largest = *std::max_element(c.begin(), c.end());
  if (largest >= 65500 && std::max(frame.width, frame.height) < 65000) {
    report(FindingKind::left_out, Defect::coordinate_wrapped,
           fmt::format("has a coordinate {:g} far outside the picture ({}x{}): a negative number "
                       "written without its sign?",
                       largest, frame.width, frame.height));
    return verdict;
  }
  if (c[0] == c[2] || c[1] == c[3]) {
    report(FindingKind::left_out, Defect::box_empty, "has no area");
    return verdict;
  }
  if (c[0] > c[2] || c[1] > c[3]) {
    if (c[0] > c[2]) std::swap(c[0], c[2]);
    if (c[1] > c[3]) std::swap(c[1], c[3]);
    report(FindingKind::repaired, Defect::box_swapped, "has its corners swapped");
  }
  Box box = to_continuous(c, frame.coordinates);
  if (frame.stored) box = turned(box, *frame.stored);
  const Box inside = {std::max(box.x1, 0.0f), std::max(box.y1, 0.0f),
                      std::min(box.x2, static_cast<float>(frame.width)),
                      std::min(box.y2, static_cast<float>(frame.height))};
  const bool overlaps = inside.x2 > inside.x1 && inside.y2 > inside.y1;
  if (!overlaps || inside.area() < 0.5f * box.area()) {
    report(FindingKind::left_out, Defect::box_outside,
           fmt::format("lies {} outside the picture ({}x{})", overlaps ? "mostly" : "wholly",
                       frame.width, frame.height));
    return verdict;
  }
  const double out = std::max(std::max(inside.x1 - box.x1, inside.y1 - box.y1),
                              std::max(box.x2 - inside.x2, box.y2 - inside.y2));
  if (out <= frame.slack) {
    verdict.box = inside;
    return verdict;
  }
  if (off_by_one(c, frame))
    report(FindingKind::repaired, Defect::coordinate_base,
           fmt::format("sticks out of the picture ({}x{}) by one pixel when it is read as the "
                       "folder's other boxes, {}; clipped",
                       frame.width, frame.height,
                       frame.coordinates == VocCoordinates::one_based ? "1-based" : "0-based"));
  else
    report(FindingKind::repaired, Defect::box_clipped,
           fmt::format("sticks out of the picture ({}x{}) and is clipped to it", frame.width,
                       frame.height));
  verdict.box = inside;
  return verdict;
}

}  // namespace frcnn
