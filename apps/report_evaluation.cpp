#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/chart.h"
#include "apps/report_sections.h"
#include "data/files.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

using Json = nlohmann::ordered_json;

/// Most classes that a chart or matrix shows one by one.
constexpr size_t kCurves = 6, kMatrix = 24;

std::string number(const Json& value) {
  if (!value.is_number() || value.get<double>() < 0) return "–";
  return fmt::format("{:.4f}", value.get<double>());
}

std::string text(const Json& value) {
  return escape_html(value.get<std::string>());
}

/// Table cell with a bar of `share` (0 to 1) of its width before the text.
std::string bar_cell(double share, const std::string& content) {
  return fmt::format("<td><span class='bar'><i style='width:{:.1f}%'></i></span>{}</td>",
                     100 * std::clamp(share, 0.0, 1.0), content);
}

std::string coco_section(const Json& json) {
  const Json &coco = json["coco"], &bootstrap = json["bootstrap"];
  std::string html =
      "<h2>COCO metric</h2><p class='note'>At most 100 detections per picture and class; – where "
      "no "
      "object counts.</p><div class='columns'><div class='scroll'><table><tbody>";
  for (const auto& [name, value] : coco["numbers"].items())
    html += fmt::format("<tr><td>{}</td><td>{}</td></tr>", text(coco["definitions"][name]),
                        number(value));
  html +=
      "</tbody></table></div><div class='scroll'><table><thead><tr><th>metric</th><th>value</th>"
      "<th>low</th><th>high</th></tr></thead><tbody>";
  const std::pair<const char*, const char*> names[] = {{"map_area", "mAP, area under curve"},
                                                       {"map_voc07_11point", "mAP, VOC07 11-point"},
                                                       {"coco_ap", "COCO AP"},
                                                       {"coco_ap50", "COCO AP50"}};
  const auto row = [](const std::string& name, const Json& entry) {
    return fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", name,
                       number(entry["value"]), number(entry["low"]), number(entry["high"]));
  };
  for (const Json& entry : bootstrap["metrics"])
    for (const auto& [key, name] : names)
      if (entry["name"] == key) html += row(name, entry);
  for (const Json& entry : bootstrap["classes"])
    if (bootstrap["classes"].size() <= kMatrix) html += row("AP, " + text(entry["name"]), entry);
  return html + fmt::format(
                    "</tbody></table><p class='note'>{:g} % intervals: bootstrap over {} pictures, "
                    "{} resamples.</p></div></div>\n",
                    100 * bootstrap["level"].get<double>(), bootstrap["pictures"].get<int64_t>(),
                    bootstrap["resamples"].get<int64_t>());
}

/// Curves of all classes, or of the best and worst where there are many.
std::string curve_section(const Json& json) {
  std::vector<const Json*> classes;
  for (const Json& c : json["classes"])
    if (c["ap_area"].is_number()) classes.push_back(&c);
  if (classes.empty()) return "";
  std::string note = "Of the last validation; the area under the falling hull is the AP.";
  if (classes.size() > kCurves) {
    std::stable_sort(classes.begin(), classes.end(), [](const Json* a, const Json* b) {
      return (*a)["ap_area"].get<double>() > (*b)["ap_area"].get<double>();
    });
    note = fmt::format("The {} best and {} worst of {} classes.", kCurves / 2, kCurves / 2,
                       classes.size());
    classes.erase(classes.begin() + kCurves / 2, classes.end() - kCurves / 2);
  }
  Chart chart{"recall", {}};
  chart.y_max = chart.x_max = 1;
  for (const Json* c : classes) {
    Series series{
        fmt::format("{} ({:.3f})", (*c)["name"].get<std::string>(), (*c)["ap_area"].get<double>()),
        {},
        {}};
    for (const Json& point : (*c)["curve"]) {
      if (series.x.empty()) series.x.push_back(0), series.y.push_back(point[1].get<double>());
      series.x.push_back(point[0].get<double>());
      series.y.push_back(point[1].get<double>());
    }
    chart.series.push_back(std::move(series));
  }
  return "<h2>Precision and recall</h2><p class='note'>" + note + "</p>" +
         chart_html(chart,
                    fmt::format("Precision over recall at IoU {:g}", json["iou"].get<double>()));
}

std::string error_section(const Json& json) {
  const Json& errors = json["errors"];
  double most = 1e-9;
  for (const Json& kind : errors["kinds"])
    if (kind["gain"].is_number()) most = std::max(most, kind["gain"].get<double>());
  const std::pair<const char*, const char*> kinds[] = {
      {"classification", "right place, wrong class"},
      {"localisation", "right class, poor box"},
      {"both", "wrong class and poor box"},
      {"duplicate", "object was found already"},
      {"background", "no object there"},
      {"missed", "object nobody found"}};
  std::string html = fmt::format(
      "<h2>Error shares</h2><p class='note'>What each kind of error costs: how much the mean AP of "
      "{} would grow without it (TIDE). Right from IoU {:g}, background up to IoU {:g}.</p><div "
      "class='scroll'><table><thead><tr><th>error</th><th "
      "class='left'></th><th>count</th><th>costs (dAP)</th>"
      "</tr></thead><tbody>",
      number(errors["map"]), errors["iou_right"].get<double>(),
      errors["iou_background"].get<double>());
  for (const auto& [key, meaning] : kinds) {
    const Json& kind = errors["kinds"][key];
    const double gain = kind["gain"].is_number() ? kind["gain"].get<double>() : 0;
    html += fmt::format("<tr><td>{}</td><td class='left'>{}</td><td>{}</td>{}</tr>", key, meaning,
                        kind["count"].get<int64_t>(), bar_cell(gain / most, number(kind["gain"])));
  }
  return html + "</tbody></table></div>\n";
}

/// The classes that are taken for each other most, where a matrix would be too large.
std::string confusion_list(const Json& confusion) {
  struct Entry {
    size_t truth, found;
    int64_t count;
  };
  std::vector<Entry> entries;
  const Json &counts = confusion["counts"], &names = confusion["classes"];
  for (size_t i = 0; i + 1 < counts.size(); ++i)
    for (size_t j = 0; j + 1 < counts.size(); ++j)
      if (const auto count = counts[i][j].get<int64_t>(); i != j && count > 0)
        entries.push_back({i, j, count});
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.count > b.count; });
  if (entries.size() > 20) entries.resize(20);
  std::string html =
      "<div class='scroll'><table><thead><tr><th>object</th><th>taken for</th><th>count</th></tr>"
      "</thead><tbody>";
  for (const Entry& entry : entries)
    html += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td></tr>", text(names[entry.truth]),
                        text(names[entry.found]), entry.count);
  return html + "</tbody></table></div>\n";
}

std::string confusion_section(const Json& json) {
  const Json& confusion = json["confusion"];
  const Json &counts = confusion["counts"], &names = confusion["classes"];
  const size_t size = counts.size();
  std::string html = fmt::format(
      "<h2>Confusion matrix</h2><p class='note'>Detections that score at least {:g}, paired with "
      "objects at IoU ≥ {:g} whatever their class. Rows: what is there; columns: what was "
      "detected.</p>",
      confusion["score"].get<double>(), confusion["iou"].get<double>());
  if (size > kMatrix + 1) return html + confusion_list(confusion);
  html += "<div class='scroll'><table class='matrix'><thead><tr><th></th>";
  for (size_t j = 0; j < size; ++j)
    html += "<th>" + (j + 1 < size ? text(names[j]) : std::string("missed")) + "</th>";
  html += "</tr></thead><tbody>";
  for (size_t i = 0; i < size; ++i) {
    int64_t sum = 0;
    for (const Json& count : counts[i]) sum += count.get<int64_t>();
    html += "<tr><td>" + text(names[i]) + "</td>";
    for (size_t j = 0; j < size; ++j) {
      const auto count = counts[i][j].get<int64_t>();
      const double share = sum > 0 ? static_cast<double>(count) / static_cast<double>(sum) : 0;
      const bool corner = i + 1 == size && j + 1 == size;
      html +=
          fmt::format("<td class='{}' style='--share:{:.0f}%' title='{:.1f} % of the row'>{}</td>",
                      i == j ? "hit" : "miss", 80 * share, 100 * share,
                      corner ? std::string() : std::to_string(count));
    }
    html += "</tr>";
  }
  return html + "</tbody></table></div>\n";
}

std::string calibration_section(const Json& json) {
  const Json& calibration = json["calibration"];
  if (!calibration["expected_calibration_error"].is_number()) return "";
  Series ideal{"ideal", {0, 1}, {0, 1}, false, false, "var(--muted)"};
  Series ours{"detections by score", {}, {}, true, false, "var(--c1)"};
  for (const Json& bin : calibration["bins"])
    if (bin["precision"].is_number()) {
      ours.x.push_back(bin["mean_score"].get<double>());
      ours.y.push_back(bin["precision"].get<double>());
    }
  Chart chart{"mean score", {ours, ideal}};
  chart.y_max = chart.x_max = 1;
  return fmt::format(
             "<h2>Calibration</h2><p class='note'>How often detections of a score are right. Below "
             "the line scores promise too much. Expected calibration error {:.4f} over {} "
             "detections.</p>",
             calibration["expected_calibration_error"].get<double>(),
             calibration["detections"].get<int64_t>()) +
         chart_html(chart, fmt::format("Share of right detections at IoU {:g}",
                                       calibration["iou"].get<double>()));
}

}  // namespace

std::string evaluation_sections(const RunFolder& folder) {
  if (!std::filesystem::exists(folder.evaluation())) return "";
  try {
    const Json json = Json::parse(read_text(folder.evaluation()));
    return coco_section(json) + curve_section(json) + error_section(json) +
           confusion_section(json) + calibration_section(json);
  } catch (const nlohmann::json::exception& error) {
    fail("{}: {}", folder.evaluation().string(), error.what());
  }
}

}  // namespace frcnn::apps
