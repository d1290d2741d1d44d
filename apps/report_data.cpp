#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/chart.h"
#include "apps/report_sections.h"
#include "data/doctor.h"
#include "data/files.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

using Json = nlohmann::ordered_json;

/// Most classes whose table is open from the start.
constexpr size_t kOpenClasses = 24;

std::string text(const Json& value) {
  return escape_html(value.get<std::string>());
}

int64_t integer(const Json& value) {
  return value.get<int64_t>();
}

/// "12,345".
std::string grouped(int64_t value) {
  std::string digits = std::to_string(value);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > (value < 0 ? 1 : 0); at -= 3)
    digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

std::string range(const Json& pair) {
  const int64_t low = integer(pair[0]), high = integer(pair[1]);
  return low == high ? grouped(low) : fmt::format("{} to {}", grouped(low), grouped(high));
}

/// A table with a column per split: what, and the value of each.
std::string split_table(const Json& splits) {
  std::string html = "<div class='scroll'><table class='facts-table'><thead><tr><th>split</th>";
  for (const Json& split : splits) html += "<th>" + text(split["split"]) + "</th>";
  html += "</tr></thead><tbody>";
  const auto row = [&](const char* name, const auto& value, bool always = true) {
    std::string cells;
    bool any = always;
    for (const Json& split : splits) {
      const std::string cell = value(split);
      any = any || (cell != "0" && !cell.empty());
      cells += "<td>" + cell + "</td>";
    }
    if (any) html += fmt::format("<tr><td>{}</td>{}</tr>", name, cells);
  };
  const auto count = [](const char* key) {
    return [key](const Json& split) { return grouped(integer(split[key])); };
  };
  row("pictures", count("images"));
  row("of these without objects", count("images_without_objects"), false);
  row("objects", count("objects"));
  row("of these difficult", count("difficult"), false);
  row("of these truncated", count("truncated"), false);
  row("crowd regions", count("crowds"), false);
  row("annotations repaired", count("repaired"), false);
  row("annotations left out", count("left_out"), false);
  row("width of pictures, pixels", [](const Json& split) { return range(split["width"]); });
  row("height of pictures, pixels", [](const Json& split) { return range(split["height"]); });
  const auto quartiles = [](const char* key, const char* form) {
    return [key, form](const Json& split) {
      const Json& q = split[key];
      if (q.size() != 5) return std::string("–");
      const auto at = [&](size_t i) { return fmt::format(fmt::runtime(form), q[i].get<double>()); };
      return fmt::format("{} ({} to {})", at(2), at(0), at(4));
    };
  };
  row("side of objects, median (range)", quartiles("box_size", "{:.0f}"));
  row("height / width of objects, median (range)", quartiles("box_ratio", "{:.2f}"));
  row("hash of pictures and objects",
      [](const Json& split) { return "<code>" + text(split["fingerprint"]) + "</code>"; });
  html += "</tbody></table></div>";
  const bool one = std::all_of(splits.begin(), splits.end(), [&](const Json& split) {
    return split["sources"] == splits[0]["sources"];
  });
  for (const Json& split : splits) {
    std::string sources;
    for (const Json& source : split["sources"])
      sources += (sources.empty() ? "" : ", ") + fmt::format("<code>{}</code>", text(source));
    html += fmt::format("<p class='note source'>{}: {}</p>",
                        one ? std::string("read from") : text(split["split"]), sources);
    if (one) break;
  }
  return html + "\n";
}

/// Bars side by side: for each size the share of each split's objects, with their number.
std::string size_bars(const Json& splits) {
  double most = 0;
  const auto share = [](const Json& split, size_t bin) {
    const auto all = split["objects"].get<double>();
    return all > 0 ? split["sizes"][bin].get<double>() / all : 0.0;
  };
  const size_t bins = splits[0]["sizes"].size();
  for (const Json& split : splits)
    for (size_t bin = 0; bin < bins; ++bin) most = std::max(most, share(split, bin));
  if (most <= 0) return "";
  std::string html =
      "<figure><figcaption><span>Objects by their side (square root of the area, pixels of the "
      "picture)</span>";
  for (size_t i = 0; i < splits.size(); ++i)
    html += fmt::format("<span class='key'><i style='background:var(--c{})'></i>{}</span>", i + 1,
                        text(splits[i]["split"]));
  html += "</figcaption><div class='bars'>";
  for (size_t bin = 0; bin < bins; ++bin) {
    std::string bars, counts;
    for (size_t i = 0; i < splits.size(); ++i) {
      const double part = share(splits[i], bin);
      bars += fmt::format("<i style='height:{:.1f}%;background:var(--c{})' title='{:.1f} %'></i>",
                          100 * part / most, i + 1, 100 * part);
      counts += fmt::format("<b style='color:var(--c{})'>{}</b>", i + 1,
                            grouped(integer(splits[i]["sizes"][bin])));
    }
    html += fmt::format("<div><div class='stand'>{}</div><span>{}</span>{}</div>", bars,
                        escape_html(size_bin_name(bin)), counts);
  }
  return html + "</div></figure>\n";
}

std::string class_rows(const Json& card) {
  const Json& splits = card["splits"];
  const bool anchors = card.contains("anchors");
  int64_t most = 1, crowds = 0, difficult = 0;
  for (const Json& split : splits) {
    crowds += integer(split["crowds"]), difficult += integer(split["difficult"]);
    for (const Json& c : split["classes"]) most = std::max(most, integer(c["objects"]));
  }
  std::string head = "<th>class</th>";
  for (const Json& split : splits) {
    head += fmt::format("<th>objects, {0}</th><th>pictures, {0}</th>", text(split["split"]));
    if (difficult > 0) head += "<th>difficult</th>";
    if (crowds > 0) head += "<th>crowds</th>";
  }
  if (anchors) head += "<th>anchor ≥ 0.5</th>";
  std::string rows;
  for (size_t k = 0; k < splits[0]["classes"].size(); ++k) {
    rows += "<tr><td>" + text(splits[0]["classes"][k]["name"]) + "</td>";
    for (size_t i = 0; i < splits.size(); ++i) {
      const Json& c = splits[i]["classes"].at(k);
      rows += fmt::format(
          "<td><span class='bar'><i style='width:{:.1f}%;background:var(--c{})'></i></span><span "
          "class='n'>{}</span></td><td>{}</td>",
          100 * c["objects"].get<double>() / static_cast<double>(most), i + 1,
          grouped(integer(c["objects"])), grouped(integer(c["images"])));
      if (difficult > 0) rows += "<td>" + grouped(integer(c["difficult"])) + "</td>";
      if (crowds > 0) rows += "<td>" + grouped(integer(c["crowds"])) + "</td>";
    }
    if (anchors)
      rows += fmt::format("<td>{:.1f} %</td>",
                          100 * card["anchors"]["classes"].at(k)["recall_50"].get<double>());
    rows += "</tr>";
  }
  return "<div class='scroll'><table><thead><tr>" + head + "</tr></thead><tbody>" + rows +
         "</tbody></table></div>";
}

std::string class_part(const Json& card) {
  const size_t classes = card["splits"][0]["classes"].size();
  std::string note;
  if (card.contains("anchors"))
    note = fmt::format(
        "<p class='note'>anchor ≥ 0.5: share of the training targets that an anchor covers with an "
        "IoU of at least 0.5; {:.1f} % of all.</p>",
        100 * card["anchors"]["all"]["recall_50"].get<double>());
  return fmt::format("<details{}><summary>Objects of {} class{}</summary>{}{}</details>\n",
                     classes <= kOpenClasses ? " open" : "", classes, classes == 1 ? "" : "es",
                     class_rows(card), note);
}

}  // namespace

std::string data_section(const RunFolder& folder) {
  std::string html = "<h2>Data</h2>";
  if (!std::filesystem::exists(folder.dataset()))
    return html +
           "<p class='note'>The run does not tell (dataset.json is missing); with its data set in "
           "place, <code>frcnn report</code> adds it.</p>\n";
  try {
    const Json card = Json::parse(read_text(folder.dataset()));
    const Json& splits = card.at("splits");
    check(!splits.empty(), "{}: names no split", folder.dataset().string());
    if (card.value("later", false))
      html +=
          "<p class='note'>As the data set was when this report was made, not as the run "
          "began.</p>";
    return html + split_table(splits) + size_bars(splits) + class_part(card);
  } catch (const nlohmann::json::exception& error) {
    fail("{}: {}", folder.dataset().string(), error.what());
  }
}

}  // namespace frcnn::apps
