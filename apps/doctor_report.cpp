#include "apps/doctor_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/terminal.h"

namespace frcnn::apps {
namespace {

using Json = nlohmann::ordered_json;

std::string counted(int64_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::vector<std::string> list_names(const Diagnosis& d) {
  std::vector<std::string> names;
  for (const PictureList& list : d.lists) names.push_back(list.name);
  return names;
}

std::string findings_part(const Diagnosis& d, size_t most) {
  std::string text;
  for (size_t i = 0; i < d.findings.size();) {
    const DefectInfo& kind = info(d.findings[i].defect);
    size_t end = i;
    while (end < d.findings.size() && d.findings[end].defect == kind.defect) ++end;
    text +=
        fmt::format("\n{} [{}] {}: {}\n", name_of(kind.severity), kind.code, kind.title, end - i);
    for (size_t k = i; k < std::min(end, i + most); ++k)
      text += "  " + to_string(d.findings[k]) + "\n";
    if (end - i > most) text += fmt::format("  ... and {} more\n", end - i - most);
    text += fmt::format("  advice: {}\n", kind.advice);
    i = end;
  }
  return text;
}

std::string class_part(const Diagnosis& d) {
  const DatasetSummary summary = summarise(d.set);
  size_t width = 5;
  for (const auto& c : summary.classes) width = std::max(width, c.name.size());
  const int w = static_cast<int>(width) + 2;
  std::string text =
      "\nobjects by class and by side (square root of the area, pixels of the picture)\n  " +
      padded("class", w) + padded("objects", -9) + padded("pictures", -10);
  SizeHistogram all{};
  for (size_t bin = 0; bin < all.size(); ++bin) text += padded(size_bin_name(bin), -9);
  const auto row = [&](const std::string& name, int64_t objects, int64_t pictures,
                       const SizeHistogram& sizes) {
    text += "\n  " + padded(name, w) + padded(fmt::format("{}", objects), -9) +
            padded(fmt::format("{}", pictures), -10);
    for (const int64_t count : sizes) text += padded(fmt::format("{}", count), -9);
  };
  for (size_t k = 0; k < summary.classes.size(); ++k) {
    const auto& c = summary.classes[k];
    row(c.name, c.boxes, c.images, d.sizes[k]);
    for (size_t bin = 0; bin < all.size(); ++bin) all[bin] += d.sizes[k][bin];
  }
  row("all", summary.boxes, summary.images - summary.images_without_objects, all);
  return text + "\n";
}

std::string coverage_row(const std::string& name, int width, const ClassCoverage& c) {
  std::string text =
      fmt::format("  {}{}{}{}{}", padded(name, width), padded(fmt::format("{}", c.objects), -9),
                  padded(fmt::format("{:.1f} %", 100 * c.recall_50()), -9),
                  padded(fmt::format("{:.1f} %", 100 * c.recall_70()), -9),
                  padded(fmt::format("{:.3f}", c.mean_best()), -8));
  for (const int64_t count : c.histogram) text += padded(fmt::format("{}", count), -7);
  return text + "\n";
}

std::string coverage_size_name(size_t bin) {
  if (bin == 0) return fmt::format("< {}", kCoverageSizes.front());
  if (bin == kCoverageSizes.size()) return fmt::format(">= {}", kCoverageSizes.back());
  return fmt::format("{}-{}", kCoverageSizes.at(bin - 1), kCoverageSizes.at(bin));
}

std::string anchor_part(const Diagnosis& d, const AnchorReport& a) {
  size_t longest = 8;
  for (const std::string& name : d.set.class_names) longest = std::max(longest, name.size());
  const int w = static_cast<int>(longest) + 2;
  std::string text = fmt::format(
      "\nanchors of {}: anchors.sizes = [{:g}] ({}), anchors.ratios = [{:g}]\n"
      "objects by the IoU with their best anchor, and the recall that the RPN reaches with anchors "
      "alone\n  ",
      a.config, fmt::join(a.sizes, ", "), a.unit, fmt::join(a.ratios, ", "));
  text += padded("class", w) + padded("objects", -9) + padded(">= 0.5", -9) + padded(">= 0.7", -9) +
          padded("mean", -8);
  for (int bin = 0; bin < 10; ++bin) text += padded(fmt::format(".{}-", bin), -7);
  text += "\n";
  for (size_t k = 0; k < a.coverage.classes.size(); ++k)
    text += coverage_row(d.set.class_names[k], w, a.coverage.classes[k]);
  text += coverage_row("all", w, a.coverage.all);
  text += "  " + padded("side", w) + "(pixels of the network's input)\n";
  for (size_t bin = 0; bin < a.coverage.by_size.size(); ++bin)
    if (a.coverage.by_size[bin].objects > 0)
      text += coverage_row(coverage_size_name(bin), w, a.coverage.by_size[bin]);
  text += fmt::format(
      "suggested by k-means on IoU: anchors.sizes = [{:g}], anchors.ratios = [{:g}]: recall {:.1f} "
      "% at IoU 0.5 and {:.1f} % at 0.7, mean {:.3f}\n",
      fmt::join(a.coverage.advised_sizes, ", "), fmt::join(a.coverage.advised_ratios, ", "),
      100 * a.advised.all.recall_50(), 100 * a.advised.all.recall_70(), a.advised.all.mean_best());
  return text;
}

std::string repair_part(const Repairs& repairs, const std::string& folder, size_t most) {
  std::string text = fmt::format(
      "\n{}: repaired copy with {}, {}\n", folder, counted(repairs.pictures, "picture"),
      counted(repairs.objects, "object"), counted(std::ssize(repairs.changes), "change"));
  for (const auto& [defect, count] : repairs.counts)
    text += fmt::format("  {}{}  {}\n", padded(info(defect).code, 20),
                        padded(fmt::format("{}", count), -6), info(defect).fix);
  for (size_t i = 0; i < std::min(most, repairs.changes.size()); ++i)
    text += "  " + repairs.changes[i] + "\n";
  if (repairs.changes.size() > most)
    text += fmt::format("  ... all of them are in {}/repairs.txt\n", folder);
  return text;
}

Json repair_json(const Repairs& repairs, const std::string& folder) {
  Json counts = Json::object();
  for (const auto& [defect, count] : repairs.counts) counts[std::string(info(defect).code)] = count;
  return {{"folder", folder},
          {"images", repairs.pictures},
          {"objects", repairs.objects},
          {"counts", counts},
          {"changes", repairs.changes}};
}

Json coverage_json(const ClassCoverage& c) {
  return {{"objects", c.objects},           {"recall_50", c.recall_50()},
          {"recall_70", c.recall_70()},     {"learnable", c.learnable},
          {"mean_best_iou", c.mean_best()}, {"histogram", c.histogram}};
}

Json anchor_json(const Diagnosis& d, const AnchorReport& a) {
  Json classes = Json::array(), sizes = Json::array();
  for (size_t k = 0; k < a.coverage.classes.size(); ++k) {
    Json row = {{"class", d.set.class_names[k]}};
    row.update(coverage_json(a.coverage.classes[k]));
    classes.push_back(row);
  }
  for (size_t bin = 0; bin < a.coverage.by_size.size(); ++bin) {
    Json row = {{"side", coverage_size_name(bin)}};
    row.update(coverage_json(a.coverage.by_size[bin]));
    sizes.push_back(row);
  }
  return {{"config", a.config},
          {"sizes", a.sizes},
          {"unit", a.unit},
          {"ratios", a.ratios},
          {"all", coverage_json(a.coverage.all)},
          {"classes", classes},
          {"by_size", sizes},
          {"suggested",
           {{"sizes", a.coverage.advised_sizes},
            {"ratios", a.coverage.advised_ratios},
            {"all", coverage_json(a.advised.all)}}}};
}

}  // namespace

std::string doctor_text(const DoctorReport& report, size_t most) {
  const Diagnosis& d = report.diagnosis;
  const DatasetSummary summary = summarise(d.set);
  std::string text =
      fmt::format("{}: {}, {}, {} classes\n", d.set.name, counted(summary.images, "picture"),
                  counted(summary.boxes, "object"), d.set.class_names.size());
  if (!d.lists.empty())
    text += fmt::format("splits compared with each other: {}\n", fmt::join(list_names(d), ", "));
  text += fmt::format("{}, {}, {} ({:.1f} s)\n", counted(d.count(Severity::error), "error"),
                      counted(d.count(Severity::warning), "warning"),
                      counted(d.count(Severity::note), "note"), report.seconds);
  text += findings_part(d, most) + class_part(d);
  if (report.anchors) text += anchor_part(d, *report.anchors);
  if (report.repairs) text += repair_part(*report.repairs, report.fix, most);
  return text;
}

std::string doctor_json(const DoctorReport& report) {
  const Diagnosis& d = report.diagnosis;
  const DatasetSummary summary = summarise(d.set);
  Json findings = Json::array(), classes = Json::array(), bins = Json::array();
  for (const Finding& f : d.findings) {
    const DefectInfo& kind = info(f.defect);
    findings.push_back({{"code", kind.code},
                        {"severity", name_of(severity_of(f))},
                        {"file", f.file},
                        {"line", f.line},
                        {"message", f.message},
                        {"advice", kind.advice}});
  }
  for (size_t k = 0; k < summary.classes.size(); ++k) {
    const auto& c = summary.classes[k];
    classes.push_back({{"name", c.name},
                       {"objects", c.boxes},
                       {"pictures", c.images},
                       {"difficult", c.difficult},
                       {"sizes", d.sizes[k]}});
  }
  for (size_t bin = 0; bin <= kSizeLimits.size(); ++bin) bins.push_back(size_bin_name(bin));
  Json json = {{"data", report.data},
               {"split", report.split},
               {"images", summary.images},
               {"objects", summary.boxes},
               {"splits_compared", list_names(d)},
               {"errors", d.count(Severity::error)},
               {"warnings", d.count(Severity::warning)},
               {"notes", d.count(Severity::note)},
               {"findings", findings},
               {"size_bins", bins},
               {"classes", classes}};
  json["anchors"] = report.anchors ? anchor_json(d, *report.anchors) : Json();
  json["fix"] = report.repairs ? repair_json(*report.repairs, report.fix) : Json();
  // Names in annotations need not be UTF-8.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace frcnn::apps
