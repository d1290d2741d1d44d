#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/chart.h"
#include "apps/metrics_file.h"
#include "apps/report_style.h"
#include "apps/sweep_results.h"
#include "apps/terminal.h"
#include "apps/training_log.h"
#include "apps/version.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStyle = R"css(
th button { font:inherit; color:inherit; background:none; border:0; padding:0; cursor:pointer;
  white-space:nowrap; }
th button:hover, th button:focus-visible { color:var(--text); }
th button::after { content:"↕"; opacity:.35; margin-left:4px; }
th[aria-sort=ascending] button::after { content:"↑"; opacity:1; }
th[aria-sort=descending] button::after { content:"↓"; opacity:1; }
td { white-space:nowrap; }
tbody tr { cursor:pointer; }
tbody tr:hover, tbody tr.on { background:var(--card); }
tbody tr:focus-visible { outline:2px solid var(--c1); outline-offset:-2px; }
.dot { display:inline-block; width:12px; height:12px; border-radius:3px; margin-right:8px;
  vertical-align:-1px; }
.best td { font-weight:700; }
.failed td { color:var(--muted); }
.range { color:var(--muted); font-weight:400; }
svg.focus [data-id] { opacity:.12; }
svg.focus .on { opacity:1; }
svg .line.on { stroke-width:3; }
.begin { margin-top:16px; }
pre.command { white-space:pre-wrap; overflow-wrap:anywhere; }
)css";

/// Sorting by a column's head; a row that is pointed at, tapped or focused shows its curves.
constexpr const char* kScript = R"js(
for (const table of document.querySelectorAll('table.sortable')) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstElementChild.addEventListener('click', () => {
    const up = head.getAttribute('aria-sort') !== 'ascending';
    heads.forEach(h => h.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const key = row => row.cells[column].dataset.v;
    const order = (a, b) => {
      const x = key(a), y = key(b);
      if (x === '' || y === '') return x === y ? 0 : x === '' ? 1 : -1;
      const both = !isNaN(x) && !isNaN(y);
      return (both ? x - y : x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);
    };
    body.append(...[...body.rows].sort(order));
  }));
}
let kept = null;
function show(row) {
  const ids = row ? row.dataset.runs.split(' ') : [];
  for (const svg of document.querySelectorAll('figure svg')) {
    svg.classList.toggle('focus', ids.length > 0);
    for (const part of svg.querySelectorAll('[data-id]'))
      part.classList.toggle('on', ids.includes(part.dataset.id));
  }
}
for (const row of document.querySelectorAll('tr[data-runs]')) {
  row.addEventListener('mouseenter', () => show(row));
  row.addEventListener('mouseleave', () => show(kept));
  row.addEventListener('focus', () => show(row));
  row.addEventListener('blur', () => show(kept));
  row.addEventListener('click', () => {
    if (kept) kept.classList.remove('on');
    kept = kept === row ? null : row;
    if (kept) kept.classList.add('on');
    show(kept);
  });
}
)js";

/// A cell with the value it is sorted by.
std::string cell(const std::string& text, const std::string& value) {
  return fmt::format("<td data-v='{}'>{}</td>", escape_html(value), text);
}

std::string number_cell(double value) {
  return std::isfinite(value) ? cell(fmt::format("{:.4f}", value), fmt::format("{:.9g}", value))
                              : cell("–", "");
}

std::string head(const std::vector<std::string>& names) {
  std::string html = "<thead><tr>";
  for (const std::string& name : names)
    html += fmt::format("<th><button type='button'>{}</button></th>", escape_html(name));
  return html + "</tr></thead>";
}

/// The page's parts look things up here.
struct Page {
  const SweepFolder& folder;
  const Sweep& sweep;
  const SweepResults& results;

  /// The best six combinations have colours of their own.
  std::string colour(size_t combination) const {
    for (size_t i = 0; i < results.ranking.size() && i < 6; ++i)
      if (results.ranking[i].combination == combination) return fmt::format("var(--c{})", i + 1);
    return "var(--muted)";
  }
  std::string setting_cells(size_t combination) const {
    std::string html;
    for (const std::string& key : sweep.plan.keys()) {
      const std::string value = setting_text(sweep.plan.combinations[combination], key);
      html += cell(escape_html(value), value);
    }
    return html;
  }
};

std::string fact(const std::string& value, const std::string& label) {
  return fmt::format("<div class='fact'><b>{}</b><span>{}</span></div>", escape_html(value),
                     escape_html(label));
}

std::string facts(const Page& page) {
  const SweepPlan& plan = page.sweep.plan;
  std::string html = "<section class='facts'>";
  if (const CombinationResult* best = page.results.best())
    html += fact(value_text(best->mean), fmt::format("best {}", title_of(plan.metric)));
  int64_t counts[4] = {};
  double seconds = 0;
  for (const RunState& state : page.sweep.states) {
    ++counts[static_cast<size_t>(state.kind)];
    seconds += state.seconds;
  }
  html += fact(fmt::format("{} of {}", counts[1], plan.runs.size()), "runs to the end");
  if (counts[0]) html += fact(std::to_string(counts[0]), "runs waiting");
  if (counts[2]) html += fact(std::to_string(counts[2]), "runs dropped early");
  if (counts[3]) html += fact(std::to_string(counts[3]), "runs failed");
  html += fact(duration_text(seconds), "time of all runs");
  return html + "</section>\n";
}

std::string best_settings(const Page& page) {
  const CombinationResult* best = page.results.best();
  if (!best)
    return fmt::format("<p class='note begin'>No combination has reached its end with a {}.</p>\n",
                       title_of(page.sweep.plan.metric));
  const SweepPlan& plan = page.sweep.plan;
  return fmt::format("<h2>Best settings</h2><p>{}</p><pre class='command'>{}</pre>\n",
                     escape_html(combination_text(plan.combinations[best->combination])),
                     escape_html(train_command(plan, plan.runs[best->runs.front()])));
}

std::string combination_table(const Page& page) {
  const SweepPlan& plan = page.sweep.plan;
  const auto keys = plan.keys();
  std::vector<std::string> names = {"#"};
  for (const std::string& key : keys) names.push_back(short_name(key, keys));
  names.emplace_back(title_of(plan.metric));
  if (plan.seeded) names.insert(names.end(), {"min – max", "seeds"});
  if (plan.metric != SweepMetric::loss) names.emplace_back("loss");
  names.insert(names.end(), {"at step", "time", "state"});
  std::string html = "<div class='scroll'><table class='sortable'>" + head(names) + "<tbody>";
  int rank = 0;
  for (const CombinationResult& c : page.results.ranking) {
    std::string ids;
    for (const size_t i : c.runs) ids += (ids.empty() ? "" : " ") + std::to_string(i);
    const char* const css = &c == page.results.best()          ? " class='best'"
                            : c.kind == RunState::Kind::failed ? " class='failed'"
                                                               : "";
    html += fmt::format("<tr tabindex='0' data-runs='{}'{}>", ids, css);
    html += cell(fmt::format("<span class='dot' style='background:{}'></span>{}",
                             page.colour(c.combination), rank + 1),
                 std::to_string(rank + 1));
    html += page.setting_cells(c.combination) + number_cell(c.mean);
    if (plan.seeded) {
      const bool known = std::isfinite(c.mean);
      html += cell(
          known ? fmt::format("<span class='range'>{:.4f} – {:.4f}</span>", c.low, c.high) : "–",
          known ? fmt::format("{:.9g}", c.high - c.low) : "");
      html += cell(std::to_string(c.runs.size()), std::to_string(c.runs.size()));
    }
    if (plan.metric != SweepMetric::loss) html += number_cell(c.loss);
    html += cell(std::to_string(c.step), std::to_string(c.step)) +
            cell(duration_text(c.seconds), fmt::format("{:.1f}", c.seconds)) +
            cell(name_of(c.kind), name_of(c.kind)) + "</tr>";
    ++rank;
  }
  return html + "</tbody></table></div>\n";
}

std::string run_table(const Page& page) {
  const SweepPlan& plan = page.sweep.plan;
  std::vector<std::string> names = {"run", "seed", title_of(plan.metric)};
  if (plan.metric != SweepMetric::loss) names.emplace_back("loss");
  names.insert(names.end(), {"at step", "time", "state"});
  std::string html = "<div class='scroll'><table class='sortable'>" + head(names) + "<tbody>";
  for (size_t i = 0; i < plan.runs.size(); ++i) {
    const SweepRun& run = plan.runs[i];
    const RunState& state = page.sweep.states[i];
    const RunResult& result = page.results.runs[i];
    html += fmt::format("<tr tabindex='0' data-runs='{}'{}>", i,
                        state.kind == RunState::Kind::failed ? " class='failed'" : "");
    html += cell(fmt::format("<span class='dot' style='background:{}'></span>{}",
                             page.colour(run.combination), escape_html(run.name)),
                 run.name);
    html += cell(std::to_string(run.seed), std::to_string(run.seed)) +
            number_cell(result.value(plan.metric));
    if (plan.metric != SweepMetric::loss) html += number_cell(result.loss);
    html += cell(std::to_string(result.step), std::to_string(result.step)) +
            cell(duration_text(state.seconds), fmt::format("{:.1f}", state.seconds)) +
            cell(name_of(state.kind), name_of(state.kind)) + "</tr>";
  }
  return html + "</tbody></table></div>\n";
}

std::string failures(const Page& page) {
  std::string html;
  for (size_t i = 0; i < page.sweep.states.size(); ++i)
    if (page.sweep.states[i].kind == RunState::Kind::failed)
      html += fmt::format("<p><b>{}</b><br>{}</p>", escape_html(page.sweep.plan.runs[i].name),
                          escape_html(page.sweep.states[i].error));
  return html.empty() ? "" : "<h2>Failed runs</h2>" + html + "\n";
}

/// Hides what would press all other curves to the floor: losses far above where most runs begin.
void limit_losses(Chart& chart) {
  std::vector<double> highest;
  for (const Series& series : chart.series) {
    double most = 0;
    for (const double y : series.y)
      if (std::isfinite(y)) most = std::max(most, y);
    if (most > 0) highest.push_back(most);
  }
  if (highest.empty()) return;
  std::sort(highest.begin(), highest.end());
  const double limit = 1.5 * highest[(highest.size() - 1) / 2];
  if (highest.back() <= limit) return;
  chart.y_max = limit;
  for (Series& series : chart.series)
    for (double& y : series.y)
      if (y > limit) y = std::numeric_limits<double>::quiet_NaN();
}

Series validations_of(const fs::path& file, SweepMetric metric) {
  Series series;
  series.markers = true;
  if (!fs::exists(file)) return series;
  const char* const key = metric == SweepMetric::map_11point ? "map_voc07_11point" : "map_area";
  try {
    const auto content = nlohmann::json::parse(MetricsFile(file).text());
    for (const auto& entry : content["validations"]) {
      if (!entry.contains(key) || !entry[key].is_number()) continue;
      series.x.push_back(entry["step"].get<double>());
      series.y.push_back(entry[key].get<double>());
    }
  } catch (const nlohmann::json::exception& error) {
    fail("{}: {}", file.string(), error.what());
  }
  return series;
}

std::string charts(const Page& page) {
  const SweepPlan& plan = page.sweep.plan;
  Chart losses{"step", {}}, accuracies{"step", {}};
  losses.legend = accuracies.legend = false;
  size_t points = 0;
  // The best is drawn last, above the others.
  for (auto c = page.results.ranking.rbegin(); c != page.results.ranking.rend(); ++c)
    for (const size_t i : c->runs) {
      const RunFolder run = page.folder.run(plan.runs[i]);
      Series loss, accuracy = validations_of(run.metrics(), plan.metric);
      if (fs::exists(run.log())) {
        const LogTable log = read_log(run.log());
        const auto *steps = log.find("step"), *values = log.find("loss");
        if (steps && values) loss.x = *steps, loss.y = *values;
      }
      loss.smooth = true;
      loss.colour = accuracy.colour = page.colour(c->combination);
      loss.id = accuracy.id = std::to_string(i);
      loss.name = accuracy.name = plan.runs[i].name;
      points += accuracy.x.size();
      losses.series.push_back(std::move(loss));
      accuracies.series.push_back(std::move(accuracy));
    }
  limit_losses(losses);
  const SweepMetric shown = plan.metric == SweepMetric::loss ? SweepMetric::map_area : plan.metric;
  std::string html =
      "<h2>Curves</h2><p class='note'>One curve for each run, in the colour of its line of the "
      "table; all but the best six are grey. Point at a line of the table, or tap it, to see its "
      "curves alone.</p>" +
      chart_html(losses, "Training loss");
  if (points > 0) html += chart_html(accuracies, title_of(shown));
  return html;
}

}  // namespace

std::string results_html(const SweepFolder& folder, const Sweep& sweep,
                         const SweepResults& results) {
  const Page page{folder, sweep, results};
  const SweepPlan& plan = sweep.plan;
  const std::string name = escape_html(fs::weakly_canonical(folder.root()).filename().string());
  std::string html = fmt::format(
      "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
      "content='width=device-width, initial-scale=1'><meta name='color-scheme' content='light "
      "dark'><title>{} – sweep</title>\n<style>{}{}</style></head>\n<body><main>\n<h1>{}</h1><p "
      "class='note'>{} combinations of settings, {} runs, judged by {}; frcnn {}</p>\n",
      name, kReportStyle, kStyle, name, plan.combinations.size(), plan.runs.size(),
      escape_html(title_of(plan.metric)), program_version());
  html += facts(page) + best_settings(page);
  html +=
      "<h2>Combinations</h2><p class='note'>Combinations that were trained to their end come "
      "first, the best on top. A click on a column's head sorts by it.</p>" +
      combination_table(page);
  html += charts(page) + failures(page);
  if (plan.seeded) html += "<h2>Runs</h2>" + run_table(page);
  return html + fmt::format("</main><script>{}</script></body></html>\n", kScript);
}

}  // namespace frcnn::apps
