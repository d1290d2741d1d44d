#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/chart.h"
#include "apps/report.h"
#include "apps/report_sections.h"
#include "data/files.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

using Json = nlohmann::ordered_json;

/// A box with its name, in pixels of the picture; `unit` is the width of a line.
std::string box_svg(const Json& box, const std::string& css, const std::string& name, double unit,
                    double picture_width) {
  const double x = box[0].get<double>(), y = box[1].get<double>();
  const double w = box[2].get<double>() - x, h = box[3].get<double>() - y;
  // The name stands above the box, or in it where there is no room.
  const double text_y = y > 7 * unit ? y - 1.5 * unit : y + 6.5 * unit;
  // About as wide as bold letters are; it must end within the picture.
  const double width = 3.7 * unit * static_cast<double>(name.size());
  const double text_x = std::clamp(x, 0.0, std::max(0.0, picture_width - width));
  return fmt::format(
      "<g class='{0}'><rect class='under' x='{1:.1f}' y='{2:.1f}' width='{3:.1f}' "
      "height='{4:.1f}'/><rect x='{1:.1f}' y='{2:.1f}' width='{3:.1f}' height='{4:.1f}'/><text "
      "x='{8:.1f}' y='{5:.1f}' font-size='{6:.1f}'>{7}</text></g>",
      css, x, y, w, h, text_y, 6 * unit, escape_html(name), text_x);
}

std::string picture_html(const Json& picture, const RunFolder& folder) {
  const auto width = picture["width"].get<double>(), height = picture["height"].get<double>();
  const double unit = std::max(width, height) / 200;
  std::string truth, found;
  for (const Json& object : picture["objects"]) {
    const auto state = object["state"].get<std::string>();
    const auto name = object["class"].get<std::string>();
    truth += box_svg(object["box"], state, state == "ignored" ? name + "?" : name, unit, width);
  }
  for (const Json& d : picture["detections"])
    found +=
        box_svg(d["box"], d["right"].get<bool>() ? "right" : "wrong",
                fmt::format("{} {:.2f}", d["class"].get<std::string>(), d["score"].get<double>()),
                unit, width);
  const auto id = picture["id"].get<std::string>();
  return fmt::format(
             "<figure class='shot' tabindex='0'><div><img alt='{0}' "
             "src='data:image/jpeg;base64,{1}'><svg class='boxes' viewBox='0 0 {2:g} {3:g}' "
             "style='--unit:{4:.2f}'><g class='layer-truth'>{5}</g><g "
             "class='layer-found'>{6}</g></svg></div>",
             escape_html(id),
             base64(read_bytes(folder.pictures() / picture["file"].get<std::string>())), width,
             height, unit, truth, found) +
         fmt::format(
             "<figcaption><strong>{}</strong><span>F1 {:.2f}</span><span>{} right, {} wrong, "
             "{} missed</span></figcaption></figure>\n",
             escape_html(id), picture["f1"].get<double>(), picture["right"].get<int64_t>(),
             picture["wrong"].get<int64_t>(), picture["missed"].get<int64_t>());
}

}  // namespace

const char* const kReportScript = R"js(
const states = ['both', 'truth', 'found', 'none'];
const shots = [...document.querySelectorAll('.shot')];
const show = (shot, state) => { shot.dataset.show = state; };
const next = shot => show(shot, states[(states.indexOf(shot.dataset.show || 'both') + 1) % 4]);
for (const shot of shots) {
  shot.addEventListener('click', () => next(shot));
  shot.addEventListener('keydown', e => {
    if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); next(shot); }
  });
}
for (const button of document.querySelectorAll('.choice button'))
  button.addEventListener('click', () => {
    for (const shot of shots) show(shot, button.value);
    for (const other of button.parentNode.children) other.classList.toggle('on', other === button);
  });
)js";

std::string picture_section(const RunFolder& folder) {
  if (!std::filesystem::exists(folder.evaluation())) return "";
  try {
    const Json json = Json::parse(read_text(folder.evaluation()));
    if (json["pictures"].empty()) return "";
    std::string html =
        "<h2>Worst and best pictures</h2><p class='note'>By F1 of the detections that score at "
        "least "
        "0.5, at IoU ≥ 0.5. A click on a picture shows and hides the boxes.</p>"
        "<p class='legend'><span class='key'><i class='k-found'></i>object, found</span><span "
        "class='key'><i class='k-missed'></i>object, missed</span><span class='key'><i "
        "class='k-right'></i>detection, right</span><span class='key'><i class='k-wrong'></i>"
        "detection, wrong</span></p><p class='choice'><button value='both' class='on'>both</button>"
        "<button value='truth'>objects</button><button value='found'>detections</button><button "
        "value='none'>picture only</button></p>";
    for (const auto& [kind, title] : {std::pair("worst", "Worst"), std::pair("best", "Best")}) {
      std::string shots;
      for (const Json& picture : json["pictures"])
        if (picture["kind"] == kind) shots += picture_html(picture, folder);
      if (!shots.empty())
        html += fmt::format("<h3>{}</h3><div class='shots'>{}</div>", title, shots);
    }
    return html + "\n";
  } catch (const nlohmann::json::exception& error) {
    fail("{}: {}", folder.evaluation().string(), error.what());
  }
}

}  // namespace frcnn::apps
