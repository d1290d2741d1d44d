#include "data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

/// Minimum, quartiles and maximum; empty when there are no values.
std::vector<double> quartiles(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  std::vector<double> out;
  for (const double q : {0.0, 0.25, 0.5, 0.75, 1.0})
    out.push_back(
        values[static_cast<size_t>(std::lround(q * static_cast<double>(values.size() - 1)))]);
  return out;
}

std::string quartile_line(const char* what, const std::vector<double>& q, const char* format) {
  if (q.empty()) return "";
  std::string text = fmt::format("  {:<22}", what);
  constexpr const char* kNames[] = {"min", "25 %", "median", "75 %", "max"};
  for (size_t i = 0; i < q.size(); ++i)
    text += fmt::format("{}{} {}", i == 0 ? "" : ", ", kNames[i],
                        fmt::format(fmt::runtime(format), q[i]));
  return text + "\n";
}

}  // namespace

std::string to_string(const Finding& finding) {
  std::string text = finding.file;
  if (finding.line > 0) text += fmt::format(":{}", finding.line);
  if (!text.empty()) text += ": ";
  if (finding.kind == FindingKind::repaired) text += "repaired: ";
  if (finding.kind == FindingKind::left_out) text += "left out: ";
  return text + finding.message;
}

void throw_errors(const std::vector<Finding>& findings, bool strict) {
  const Finding* first = nullptr;
  size_t count = 0;
  for (const Finding& finding : findings) {
    if (finding.kind == FindingKind::note) continue;
    if (finding.kind != FindingKind::error && !strict) continue;
    if (count++ == 0) first = &finding;
  }
  if (count == 0) return;
  fail("{}{}", to_string(*first),
       count == 1 ? ""
                  : fmt::format(" (and {} more {})", count - 1, count == 2 ? "error" : "errors"));
}

DatasetSummary summarise(const Dataset& dataset) {
  DatasetSummary summary;
  for (const std::string& name : dataset.class_names) summary.classes.push_back({name});
  std::vector<double> sizes, ratios;
  std::set<std::pair<int, int>> picture_sizes;
  for (const ImageRecord& image : dataset.images) {
    ++summary.images;
    if (image.objects.empty()) ++summary.images_without_objects;
    const bool first = picture_sizes.empty();
    picture_sizes.insert({image.width, image.height});
    summary.min_width = first ? image.width : std::min(summary.min_width, image.width);
    summary.min_height = first ? image.height : std::min(summary.min_height, image.height);
    summary.max_width = std::max(summary.max_width, image.width);
    summary.max_height = std::max(summary.max_height, image.height);
    std::set<int> seen;
    for (const Object& object : image.objects) {
      DatasetSummary::Class& entry = summary.classes.at(static_cast<size_t>(object.label));
      if (object.crowd) {
        ++entry.crowds, ++summary.crowds;
        continue;
      }
      ++entry.boxes, ++summary.boxes;
      entry.difficult += object.difficult, summary.difficult += object.difficult;
      entry.truncated += object.truncated, summary.truncated += object.truncated;
      if (seen.insert(object.label).second) ++entry.images;
      sizes.push_back(std::sqrt(static_cast<double>(object.box.area())));
      ratios.push_back(static_cast<double>(object.box.height()) / object.box.width());
    }
  }
  for (const Finding& finding : dataset.findings) {
    summary.repaired += finding.kind == FindingKind::repaired;
    summary.left_out += finding.kind >= FindingKind::left_out;
  }
  summary.box_size = quartiles(std::move(sizes));
  summary.box_ratio = quartiles(std::move(ratios));
  summary.distinct_sizes = static_cast<int64_t>(picture_sizes.size());
  return summary;
}

std::string describe(const Dataset& dataset) {
  const DatasetSummary s = summarise(dataset);
  std::string text = fmt::format("{}\n", dataset.name);
  text += fmt::format("  {:<22}{} ({} without objects)\n", "pictures", s.images,
                      s.images_without_objects);
  text +=
      s.distinct_sizes == 1
          ? fmt::format("  {:<22}{}x{}\n", "picture size", s.min_width, s.min_height)
          : fmt::format("  {:<22}{} different, width {} to {}, height {} to {}\n", "picture sizes",
                        s.distinct_sizes, s.min_width, s.max_width, s.min_height, s.max_height);
  text += fmt::format("  {:<22}{} ({} difficult, {} truncated)\n", "objects", s.boxes, s.difficult,
                      s.truncated);
  if (s.crowds > 0)
    text += fmt::format("  {:<22}{} (never trained on, neither right nor wrong when detected)\n",
                        "crowd regions", s.crowds);
  text += quartile_line("sqrt(area), pixels", s.box_size, "{:.1f}");
  text += quartile_line("height / width", s.box_ratio, "{:.2f}");
  text += fmt::format("  {:<22}{} repaired, {} left out\n", "defects", s.repaired, s.left_out);
  size_t width = 5;
  for (const auto& entry : s.classes) width = std::max(width, entry.name.size());
  text += fmt::format("  {:<{}}  {:>8}  {:>9}  {:>9}  {:>8}\n", "class", width, "objects",
                      "difficult", "truncated", "pictures");
  for (const auto& entry : s.classes)
    text += fmt::format("  {:<{}}  {:>8}  {:>9}  {:>9}  {:>8}\n", entry.name, width, entry.boxes,
                        entry.difficult, entry.truncated, entry.images);
  for (const Finding& finding : dataset.findings)
    if (finding.kind == FindingKind::note) text += fmt::format("  note: {}\n", finding.message);
  return text;
}

void require_not_empty(const Dataset& dataset, bool need_objects) {
  check(!dataset.images.empty(), "{}: expected pictures, found an empty data set", dataset.name);
  const bool any = std::any_of(dataset.images.begin(), dataset.images.end(),
                               [](const ImageRecord& image) { return !image.objects.empty(); });
  check(!need_objects || any,
        "{}: expected labelled objects, found none in {} pictures ({} left out)", dataset.name,
        dataset.images.size(), summarise(dataset).left_out);
}

}  // namespace frcnn
