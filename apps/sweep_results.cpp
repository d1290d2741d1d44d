#include "apps/sweep_results.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/metrics_file.h"
#include "apps/terminal.h"
#include "apps/training_log.h"
#include "data/files.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

void read_losses(const fs::path& file, int64_t until, RunResult& result) {
  if (!fs::exists(file)) return;
  const LogTable log = read_log(file);
  const auto *steps = log.find("step"), *epochs = log.find("epoch"), *losses = log.find("loss");
  if (!steps || !losses || !epochs) return;
  size_t rows = 0;
  while (rows < steps->size() && (until == 0 || (*steps)[rows] <= static_cast<double>(until)))
    ++rows;
  if (rows == 0) return;
  const double last = (*steps)[rows - 1];
  result.step = static_cast<int64_t>(last);
  result.epoch = (*epochs)[rows - 1];
  double sum = 0;
  int count = 0;
  for (size_t i = rows; i > 0 && (count == 0 || (*steps)[i - 1] > 0.9 * last); --i, ++count)
    sum += (*losses)[i - 1];
  result.loss = sum / count;
}

void read_validations(const fs::path& file, int64_t until, RunResult& result) {
  if (!fs::exists(file)) return;
  try {
    const Json content = Json::parse(MetricsFile(file).text());
    for (const Json& entry : content["validations"]) {
      if (until > 0 && entry["step"].get<int64_t>() > until) break;
      const auto value = [&](const char* name) {
        const bool known = entry.contains(name) && entry[name].is_number();
        return known ? entry[name].get<double>() : kNaN;
      };
      result.map_area = value("map_area");
      result.map_11point = value("map_voc07_11point");
      result.step = std::max(result.step, entry["step"].get<int64_t>());
    }
  } catch (const nlohmann::json::exception& error) {
    fail("{}: {}", file.string(), error.what());
  }
}

/// Failed before stopped before waiting: a combination is as good as the worst of its runs.
int badness(RunState::Kind kind) {
  switch (kind) {
    case RunState::Kind::done:
      return 0;
    case RunState::Kind::waiting:
      return 1;
    case RunState::Kind::stopped:
      return 2;
    case RunState::Kind::failed:
      break;
  }
  return 3;
}

CombinationResult combine(const Sweep& sweep, const std::vector<RunResult>& runs, size_t index) {
  CombinationResult c;
  c.combination = index;
  c.kind = RunState::Kind::done;
  c.stages = sweep.plan.stages();
  c.low = std::numeric_limits<double>::infinity();
  c.high = -c.low;
  c.step = std::numeric_limits<int64_t>::max();
  for (size_t i = 0; i < runs.size(); ++i) {
    if (sweep.plan.runs[i].combination != index) continue;
    const RunState& state = sweep.states[i];
    const double value = runs[i].value(sweep.plan.metric);
    c.runs.push_back(i);
    if (badness(state.kind) > badness(c.kind)) c.kind = state.kind;
    c.stages = std::min(c.stages, state.stages);
    c.mean += value;
    c.low = std::min(c.low, value);
    c.high = std::max(c.high, value);
    c.loss += runs[i].loss;
    c.seconds += state.seconds;
    c.step = std::min(c.step, runs[i].step);
  }
  const auto count = static_cast<double>(c.runs.size());
  c.mean /= count;
  c.loss /= count;
  c.seconds /= count;
  if (std::isnan(c.mean)) c.low = c.high = kNaN;  // min and max pass over NaN
  return c;
}

Json number_or_null(double value) {
  if (!std::isfinite(value)) return nullptr;
  return value;
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string cell = "\"";
  for (const char c : text) cell += c == '"' ? "\"\"" : std::string(1, c);
  return cell + "\"";
}

std::string csv_number(double value) {
  return std::isfinite(value) ? fmt::format("{:.6g}", value) : "";
}

Json settings_json(const Combination& combination) {
  Json json = Json::object();
  for (const auto& [key, value] : combination) json[key] = value;
  return json;
}

std::string state_text(const CombinationResult& c, bool is_best) {
  return is_best ? "done, best" : name_of(c.kind);
}

}  // namespace

double RunResult::value(SweepMetric metric) const {
  switch (metric) {
    case SweepMetric::map_area:
      return map_area;
    case SweepMetric::map_11point:
      return map_11point;
    case SweepMetric::loss:
      break;
  }
  return loss;
}

RunResult read_run_result(const RunFolder& folder, int64_t until) {
  RunResult result;
  read_losses(folder.log(), until, result);
  read_validations(folder.metrics(), until, result);
  return result;
}

const CombinationResult* SweepResults::best() const {
  const bool any = !ranking.empty() && ranking.front().kind == RunState::Kind::done &&
                   std::isfinite(ranking.front().mean);
  return any ? &ranking.front() : nullptr;
}

SweepResults collect_results(const SweepFolder& folder, const Sweep& sweep) {
  SweepResults results;
  for (const SweepRun& run : sweep.plan.runs)
    results.runs.push_back(read_run_result(folder.run(run)));
  for (size_t i = 0; i < sweep.plan.combinations.size(); ++i)
    results.ranking.push_back(combine(sweep, results.runs, i));
  std::stable_sort(results.ranking.begin(), results.ranking.end(),
                   [&](const CombinationResult& a, const CombinationResult& b) {
                     if (a.kind != b.kind) return badness(a.kind) < badness(b.kind);
                     if (a.stages != b.stages) return a.stages > b.stages;
                     return is_better(sweep.plan.metric, a.mean, b.mean);
                   });
  return results;
}

const char* title_of(SweepMetric metric) {
  switch (metric) {
    case SweepMetric::map_area:
      return "mAP@0.5 (area)";
    case SweepMetric::map_11point:
      return "mAP@0.5 (VOC07 11-point)";
    case SweepMetric::loss:
      break;
  }
  return "loss";
}

std::string value_text(double value) {
  return std::isfinite(value) ? fmt::format("{:.4f}", value) : "-";
}

std::string setting_text(const Combination& combination, const std::string& key) {
  for (const auto& [name, value] : combination)
    if (name == key) return value;
  return "";
}

std::string train_command(const SweepPlan& plan, const SweepRun& run) {
  auto words = plan.settings(run);
  const std::vector<std::string> data = data_words(plan);
  words.insert(words.end(), data.begin(), data.end());
  words.insert(words.end(), {"--out", "NEW"});
  return fmt::format("frcnn train {} {}", plan.command, shell_text(words));
}

std::string results_table(const Sweep& sweep, const SweepResults& results) {
  const SweepPlan& plan = sweep.plan;
  const auto keys = plan.keys();
  std::vector<std::vector<std::string>> rows(1);
  for (const std::string& key : keys) rows[0].push_back(short_name(key, keys));
  rows[0].emplace_back(title_of(plan.metric));
  if (plan.seeded) rows[0].insert(rows[0].end(), {"min - max", "seeds"});
  if (plan.metric != SweepMetric::loss) rows[0].emplace_back("loss");
  rows[0].insert(rows[0].end(), {"at step", "time", "state"});
  for (const CombinationResult& c : results.ranking) {
    std::vector<std::string> row;
    for (const std::string& key : keys)
      row.push_back(setting_text(plan.combinations[c.combination], key));
    row.push_back(value_text(c.mean));
    if (plan.seeded) {
      const bool known = std::isfinite(c.mean);
      row.push_back(known ? value_text(c.low) + " - " + value_text(c.high) : "-");
      row.push_back(std::to_string(c.runs.size()));
    }
    if (plan.metric != SweepMetric::loss) row.push_back(value_text(c.loss));
    row.push_back(std::to_string(c.step));
    row.push_back(duration_text(c.seconds));
    row.push_back(state_text(c, &c == results.best()));
    rows.push_back(std::move(row));
  }
  std::vector<int> widths(rows[0].size());
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], static_cast<int>(row[i].size()));
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i + 1 < row.size(); ++i) line += padded(row[i], -widths[i]) + "  ";
    text += line + row.back() + "\n";
  }
  if (const CombinationResult* best = results.best())
    text += fmt::format("\nbest     {}\nagain    {}\n",
                        combination_text(plan.combinations[best->combination]),
                        train_command(plan, plan.runs[best->runs.front()]));
  return text;
}

std::string results_csv(const Sweep& sweep, const SweepResults& results) {
  const SweepPlan& plan = sweep.plan;
  const auto keys = plan.keys();
  std::string text = "run,name";
  for (const std::string& key : keys) text += "," + key;
  text += ",seed,state,step,steps,epoch,loss,map_area,map_11point,seconds,exit_code,error\n";
  for (size_t i = 0; i < plan.runs.size(); ++i) {
    const SweepRun& run = plan.runs[i];
    const RunState& state = sweep.states[i];
    const RunResult& result = results.runs[i];
    text += fmt::format("{},{}", run.number, run.name);
    for (const std::string& key : keys)
      text += "," + csv_cell(setting_text(plan.combinations[run.combination], key));
    text += fmt::format(
        ",{},{},{},{},{:.4f},{},{},{},{:.1f},{},{}\n", run.seed, name_of(state.kind), result.step,
        run.steps, result.epoch, csv_number(result.loss), csv_number(result.map_area),
        csv_number(result.map_11point), state.seconds, state.exit_code, csv_cell(state.error));
  }
  return text;
}

std::string results_json(const SweepFolder& folder, const Sweep& sweep,
                         const SweepResults& results) {
  const SweepPlan& plan = sweep.plan;
  Json combinations = Json::array(), runs = Json::array();
  for (const CombinationResult& c : results.ranking) {
    Json names = Json::array();
    for (const size_t i : c.runs) names.push_back(plan.runs[i].name);
    combinations.push_back({{"settings", settings_json(plan.combinations[c.combination])},
                            {"state", name_of(c.kind)},
                            {"mean", number_or_null(c.mean)},
                            {"min", number_or_null(c.low)},
                            {"max", number_or_null(c.high)},
                            {"loss", number_or_null(c.loss)},
                            {"step", c.step},
                            {"runs", names}});
  }
  for (size_t i = 0; i < plan.runs.size(); ++i) {
    const SweepRun& run = plan.runs[i];
    const RunState& state = sweep.states[i];
    const RunResult& result = results.runs[i];
    runs.push_back({{"number", run.number},
                    {"name", run.name},
                    {"folder", folder.run(run).root().string()},
                    {"settings", settings_json(plan.combinations[run.combination])},
                    {"seed", run.seed},
                    {"state", name_of(state.kind)},
                    {"step", result.step},
                    {"steps", run.steps},
                    {"epoch", result.epoch},
                    {"loss", number_or_null(result.loss)},
                    {"map_area", number_or_null(result.map_area)},
                    {"map_11point", number_or_null(result.map_11point)},
                    {"seconds", state.seconds},
                    {"exit_code", state.exit_code},
                    {"error", state.error}});
  }
  Json json = {{"metric", name_of(plan.metric)}, {"best", nullptr}};
  if (const CombinationResult* best = results.best())
    json["best"] = {{"settings", settings_json(plan.combinations[best->combination])},
                    {"mean", best->mean},
                    {"command", train_command(plan, plan.runs[best->runs.front()])}};
  json["combinations"] = std::move(combinations);
  json["runs"] = std::move(runs);
  return json.dump(1) + "\n";
}

void write_results(const SweepFolder& folder, const Sweep& sweep) {
  const SweepResults results = collect_results(folder, sweep);
  write_file(folder.csv(), std::string_view(results_csv(sweep, results)));
  write_file(folder.json(), std::string_view(results_json(folder, sweep, results)));
  write_file(folder.html(), std::string_view(results_html(folder, sweep, results)));
}

}  // namespace frcnn::apps
