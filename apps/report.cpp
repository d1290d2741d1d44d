#include "apps/report.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "apps/chart.h"
#include "apps/metrics_file.h"
#include "apps/report_sections.h"
#include "apps/report_style.h"
#include "apps/training_log.h"
#include "apps/version.h"
#include "data/files.h"
#include "kernels/launch/check.h"
#include "model/options.h"

namespace frcnn::apps {
namespace {

using Json = nlohmann::ordered_json;

std::string percent(const Json& value) {
  return value.is_number() ? fmt::format("{:.1f} %", 100 * value.get<double>()) : "–";
}

std::string number(const Json& value) {
  return value.is_number() ? fmt::format("{:.4f}", value.get<double>()) : "–";
}

std::string fact(const std::string& value, const std::string& label) {
  return fmt::format("<div class='fact'><b>{}</b><span>{}</span></div>", escape_html(value),
                     escape_html(label));
}

std::string facts(const Config& config, const LogTable& log, const Json& validations) {
  std::string html = "<section class='facts'>";
  if (!validations.empty()) {
    const Json& last = validations.back();
    const std::string at = fmt::format("@{:g}", last.value("iou", 0.5));
    html += fact(percent(last["map_area"]), "mAP" + at + ", area under curve");
    html += fact(percent(last["map_voc07_11point"]), "mAP" + at + ", VOC07 11-point");
  }
  const auto* steps = log.find("step");
  const auto* epochs = log.find("epoch");
  const auto* losses = log.find("loss");
  if (steps && epochs && losses && !steps->empty()) {
    html += fact(fmt::format("{:.0f}", steps->back()), "steps");
    html += fact(fmt::format("{:.1f}", epochs->back()), "epochs");
    html += fact(fmt::format("{:.3f}", losses->back()), "last loss");
  }
  html += fact(config.model.backbone.name, "backbone");
  return html + "</section>\n";
}

/// A loss of the log over its steps. Stages of a training are curves of their own, without a line
/// from one to the next; a stage that has no such loss (0 all the time) has no curve.
Series loss_series(const LogTable& log, const char* column, const char* name) {
  const auto *steps = log.find("step"), *values = log.find(column), *stages = log.find("stage");
  if (!steps || !values) return {name, {}, {}};
  Series series{name, {}, {}, false, true};
  const size_t count = values->size();
  for (size_t first = 0, last = 0; first < count; first = last) {
    last = count;
    if (stages) {
      const double stage = (*stages)[first];
      last = first;
      while (last < count && (*stages)[last] == stage) ++last;
    }
    const bool several = first > 0 || last < count;
    const bool trained = std::any_of(values->begin() + static_cast<std::ptrdiff_t>(first),
                                     values->begin() + static_cast<std::ptrdiff_t>(last),
                                     [](double value) { return value != 0; });
    if (several && !trained) continue;
    if (!series.x.empty()) {
      series.x.push_back((*steps)[first]);
      series.y.push_back(std::numeric_limits<double>::quiet_NaN());
    }
    series.x.insert(series.x.end(), steps->begin() + static_cast<std::ptrdiff_t>(first),
                    steps->begin() + static_cast<std::ptrdiff_t>(last));
    series.y.insert(series.y.end(), values->begin() + static_cast<std::ptrdiff_t>(first),
                    values->begin() + static_cast<std::ptrdiff_t>(last));
  }
  return series;
}

std::string loss_charts(const LogTable& log) {
  const auto* steps = log.find("step");
  if (!steps || steps->empty()) return "<p class='note'>The log has no rows yet.</p>\n";
  const auto series = [&](const char* column, const char* name) {
    return loss_series(log, column, name);
  };
  std::string html = chart_html({"step", {series("loss", "total")}}, "Total loss");
  html += chart_html(
      {"step",
       {series("loss_rpn_class", "RPN class"), series("loss_rpn_box", "RPN box"),
        series("loss_roi_class", "detector class"), series("loss_roi_box", "detector box")}},
      "Losses");
  Chart rates{"step", {}};
  for (size_t i = 0; i < log.names.size(); ++i)
    if (log.names[i].starts_with("lr_") && log.names[i].find("_biases") == std::string::npos &&
        log.names[i].find("_norms") == std::string::npos)
      rates.series.push_back({log.names[i].substr(3), *steps, log.columns[i]});
  // Equal schedules lie on each other: one curve says it.
  const bool equal = std::all_of(rates.series.begin(), rates.series.end(),
                                 [&](const Series& s) { return s.y == rates.series.front().y; });
  if (equal && rates.series.size() > 1) rates.series.resize(1);
  if (!rates.series.empty()) html += chart_html(rates, "Learning rate");
  return html;
}

/// A number of each validation over the epochs.
Series validation_series(const Json& validations, const char* name, const Json::json_pointer& key) {
  Series series{name, {}, {}, true};
  for (const Json& v : validations) {
    if (!v.contains(key) || !v[key].is_number() || !v.contains("epoch")) continue;
    series.x.push_back(v["epoch"].get<double>());
    series.y.push_back(v[key].get<double>());
  }
  return series;
}

/// mAP (of `metrics`, by key and name) and, beside it, the losses of the same validations.
std::string validation_charts(const Json& validations,
                              const std::vector<std::pair<const char*, const char*>>& metrics,
                              const char* title) {
  if (validations.size() < 2) return "";
  Chart accuracy{"epoch", {}};
  accuracy.y_max = 1;
  for (const auto& [key, name] : metrics)
    accuracy.series.push_back(validation_series(validations, name, Json::json_pointer(key)));
  const std::string left = chart_html(accuracy, title);
  const std::pair<const char*, const char*> names[] = {{"/losses/total", "total"},
                                                       {"/losses/rpn_class", "RPN class"},
                                                       {"/losses/rpn_box", "RPN box"},
                                                       {"/losses/roi_class", "detector class"},
                                                       {"/losses/roi_box", "detector box"}};
  Chart losses{"epoch", {}};
  for (const auto& [key, name] : names) {
    Series series = validation_series(validations, name, Json::json_pointer(key));
    const bool some =
        std::any_of(series.y.begin(), series.y.end(), [](double y) { return y != 0; });
    if (some) losses.series.push_back(std::move(series));  // 0: a part that is not trained
  }
  if (losses.series.empty()) return left;
  return "<div class='columns'>" + left + chart_html(losses, "Losses of the validation split") +
         "</div>\n";
}

std::string class_table(const Json& validations) {
  if (validations.empty()) return "<p class='note'>No validation has been done.</p>\n";
  const Json& last = validations.back();
  const std::string at = fmt::format("AP@{:g}", last.value("iou", 0.5));
  std::string html = fmt::format(
      "<p class='note'>Step {}, {} pictures of split “{}”.</p><div class='scroll'><table>"
      "<thead><tr><th>class</th><th>objects</th><th>detections</th><th>{} area</th>"
      "<th>{} VOC07 11-point</th></tr></thead><tbody>",
      last["step"].get<int64_t>(), last.value("images", 0),
      escape_html(last.value("split", std::string())), at, at);
  for (const Json& c : last["classes"]) {
    const double bar = c["ap_area"].is_number() ? 100 * c["ap_area"].get<double>() : 0;
    html += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td><span class='bar'><i "
        "style='width:{:.1f}%'></i></span>{}</td><td>{}</td></tr>",
        escape_html(c.value("name", std::string())), c.value("objects", 0),
        c.value("detections", 0), bar, number(c["ap_area"]), number(c["ap_voc07_11point"]));
  }
  return html + fmt::format(
                    "</tbody><tfoot><tr><td>mean (mAP)</td><td></td><td></td><td><span "
                    "class='bar'></span>{}</td><td>{}</td></tr></tfoot></table></div>\n",
                    number(last["map_area"]), number(last["map_voc07_11point"]));
}

/// Recall of the proposals where the RPN was trained alone.
std::string recall_section(const Json& metrics) {
  if (!metrics.contains("proposals") || metrics["proposals"].empty()) return "";
  const Json& last = metrics["proposals"].back();
  std::string html = fmt::format(
      "<h2>Region proposals</h2><p class='note'>Step {}: share of {} objects that a proposal "
      "covers.</p><div class='scroll'><table><thead><tr><th>best proposals</th><th>IoU ≥ 0.5</th>"
      "<th>IoU ≥ 0.7</th><th>average recall</th></tr></thead><tbody>",
      last["step"].get<int64_t>(), last["objects"].get<int64_t>());
  for (const Json& at : last["recall"])
    html += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                        at["proposals"].get<int64_t>(), number(at["recall_50"]),
                        number(at["recall_70"]), number(at["average_recall"]));
  const std::string most = fmt::format("/recall/{}/recall_", last["recall"].size() - 1);
  const std::string half = most + "50", high = most + "70";
  return html + "</tbody></table></div>\n" +
         validation_charts(metrics["proposals"],
                           {{half.c_str(), "IoU ≥ 0.5"}, {high.c_str(), "IoU ≥ 0.7"}},
                           "Recall of proposals on the validation split");
}

/// Gives every section a name to link to, and lists them behind the title.
std::string with_contents(const std::string& head, const std::string& body) {
  constexpr std::string_view kBegin = "<h2>", kEnd = "</h2>";
  std::string html, links;
  size_t at = 0;
  for (int number = 1;; ++number) {
    const size_t begin = body.find(kBegin, at);
    if (begin == std::string::npos) break;
    const size_t text = begin + kBegin.size(), end = body.find(kEnd, text);
    const std::string title = body.substr(text, end - text);
    html += body.substr(at, begin - at) + fmt::format("<h2 id='s{}'>{}", number, title);
    links += fmt::format("<a href='#s{}'>{}</a>", number, title);
    at = end;
  }
  return head + "<nav>" + links + "</nav>\n" + html + body.substr(at);
}

std::string example_pictures(const RunFolder& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder.examples(), error))
    if (entry.path().extension() == ".jpg") files.push_back(entry.path());
  if (files.empty()) return "";
  std::sort(files.begin(), files.end());
  std::string html =
      "<h2>Examples</h2><p class='note'>Pictures of the validation split with the detections that "
      "score at least 0.5.</p><div class='pictures'>";
  for (const auto& file : files) {
    const std::string name = file.stem().string();
    html += fmt::format("<img alt='{0}' title='{0}' src='data:image/jpeg;base64,{1}'>",
                        escape_html(name.substr(name.find('-') + 1)), base64(read_bytes(file)));
  }
  return html + "</div>\n";
}

/// The version of frcnn that trained the run last.
std::string version_of(const RunFolder& folder) {
  if (!std::filesystem::exists(folder.info())) return program_version();
  try {
    return Json::parse(read_text(folder.info())).value("program_version", program_version());
  } catch (const nlohmann::json::exception& error) {
    fail("{}: {}", folder.info().string(), error.what());
  }
}

std::string settings(const std::string& toml) {
  return "<h2>Settings</h2><details><summary>Resolved settings of the run (config.toml)</summary>"
         "<pre>" +
         escape_html(toml) + "</pre></details>\n";
}

}  // namespace

std::string base64(const std::vector<uint8_t>& bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t rest = std::min<size_t>(3, bytes.size() - i);
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; ++j) bits = bits << 8 | (j < rest ? bytes[i + j] : 0U);
    for (size_t j = 0; j < 4; ++j) text += j <= rest ? kDigits[bits >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

void write_loss_curve(const RunFolder& folder, const std::filesystem::path& file) {
  check(std::filesystem::exists(folder.log()), "{}: holds no log of a run (no log.csv)",
        folder.root().string());
  const LogTable log = read_log(folder.log());
  const auto* steps = log.find("step");
  check(steps && !steps->empty(), "{}: has no rows yet", folder.log().string());
  const Chart chart{
      "step",
      {loss_series(log, "loss", "total"), loss_series(log, "loss_rpn_class", "RPN class"),
       loss_series(log, "loss_rpn_box", "RPN box"),
       loss_series(log, "loss_roi_class", "detector class"),
       loss_series(log, "loss_roi_box", "detector box")}};
  const std::string name = std::filesystem::weakly_canonical(folder.root()).filename().string();
  write_file(file, std::string_view(chart_svg(chart, "Losses of " + name)));
}

std::string report_html(const RunFolder& folder) {
  check(folder.started(), "{}: holds no run (no config.toml)", folder.root().string());
  const std::string toml = read_text(folder.config());
  const Config config = parse_config(toml, folder.config().string());
  const LogTable log = std::filesystem::exists(folder.log()) ? read_log(folder.log()) : LogTable();
  const Json metrics = Json::parse(MetricsFile(folder.metrics()).text());
  const Json& validations = metrics["validations"];
  const std::string name =
      escape_html(std::filesystem::weakly_canonical(folder.root()).filename().string());
  std::string html = fmt::format(
      "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
      "content='width=device-width, initial-scale=1'><meta name='color-scheme' content='light "
      "dark'><title>{} – Faster R-CNN training</title>\n<style>{}</style></head>\n<body><main>\n"
      "<h1>{}</h1><p class='note'>Faster R-CNN, {} backbone, trained with frcnn {}</p>\n",
      name, kReportStyle, name, escape_html(config.model.backbone.name),
      escape_html(version_of(folder)));
  std::string body;
  try {
    html += facts(config, log, validations);
    body = "<h2>Accuracy</h2>" + class_table(validations) +
           validation_charts(
               validations,
               {{"/map_area", "area under curve"}, {"/map_voc07_11point", "VOC07 11-point"}},
               "mAP on the validation split") +
           recall_section(metrics);
  } catch (const nlohmann::json::exception& error) {
    fail("{}: {}", folder.metrics().string(), error.what());
  }
  body += evaluation_sections(folder) + picture_section(folder);
  body += "<h2>Training</h2>" + loss_charts(log) + example_pictures(folder);
  body += data_section(folder) + time_section(folder, log) + memory_section(folder) +
          environment_section(folder) + command_section(folder, config) + settings(toml);
  return with_contents(html, body) +
         fmt::format("</main><script>{{{}}}</script></body></html>\n", kReportScript);
}

void write_report(const RunFolder& folder) {
  write_file(folder.report(), std::string_view(report_html(folder)));
}

}  // namespace frcnn::apps
