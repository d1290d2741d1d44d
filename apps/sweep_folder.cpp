#include "apps/sweep_folder.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/version.h"
#include "data/files.h"
#include "kernels/launch/check.h"
#include "model/options.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "frcnn sweep 1";

RunState::Kind kind_by_name(const std::string& name) {
  for (const auto kind : {RunState::Kind::waiting, RunState::Kind::done, RunState::Kind::stopped,
                          RunState::Kind::failed})
    if (name == name_of(kind)) return kind;
  fail("unknown state '{}'", name);
}

Json combination_json(const Combination& combination) {
  Json json = Json::object();
  for (const auto& [key, value] : combination) json[key] = value;
  return json;
}

Combination combination_from(const Json& json) {
  Combination combination;
  for (const auto& [key, value] : json.items())
    combination.emplace_back(key, value.get<std::string>());
  return combination;
}

Json run_json(const SweepRun& run, const RunState& state) {
  return {{"number", run.number},   {"name", run.name},         {"combination", run.combination},
          {"seed", run.seed},       {"steps", run.steps},       {"state", name_of(state.kind)},
          {"stages", state.stages}, {"seconds", state.seconds}, {"exit_code", state.exit_code},
          {"error", state.error}};
}

void read_run(const Json& json, Sweep& sweep) {
  SweepRun run{json.at("number"), json.at("name"), json.at("combination"), json.at("seed"),
               json.at("steps")};
  check(run.combination < sweep.plan.combinations.size(), "run {} names combination {} of {}",
        run.number, run.combination, sweep.plan.combinations.size());
  check(!run.name.empty() && run.name.find('/') == std::string::npos && run.name[0] != '.',
        "run {} has the name '{}'", run.number, run.name);
  RunState state;
  state.kind = kind_by_name(json.at("state"));
  state.stages = json.at("stages");
  state.seconds = json.at("seconds");
  state.exit_code = json.at("exit_code");
  state.error = json.at("error");
  check(state.stages >= 0 && state.stages <= sweep.plan.stages(),
        "run {} has finished {} of {} stages", run.number, state.stages, sweep.plan.stages());
  sweep.plan.runs.push_back(std::move(run));
  sweep.states.push_back(std::move(state));
}

Sweep sweep_from(const Json& json) {
  check(json.is_object() && json.value("format", "") == kFormat, "expected format \"{}\"", kFormat);
  Sweep sweep;
  SweepPlan& plan = sweep.plan;
  plan.command = json.at("command");
  const Json& data = json.at("data");  // one text in sweeps of an early version
  plan.data = data.is_string() ? std::vector<std::string>{data.get<std::string>()}
                               : data.get<std::vector<std::string>>();
  plan.metric = metric_by_name(json.at("metric"));
  plan.halving = json.at("halving");
  plan.rungs = json.at("rungs");
  plan.seeded = json.at("seeded");
  sweep.threads = json.at("threads");
  sweep.decided = json.at("decided");
  check(plan.rungs == 0 || (plan.rungs > 0 && plan.rungs < 64 && plan.halving > 1),
        "{} rungs with halving {:g} cannot be", plan.rungs, plan.halving);
  check(sweep.threads >= 1 && sweep.threads <= 4096, "expected threads 1 to 4096, found {}",
        sweep.threads);
  check(sweep.decided >= 0 && sweep.decided <= plan.rungs, "{} of {} rungs decided", sweep.decided,
        plan.rungs);
  for (const Json& combination : json.at("combinations"))
    plan.combinations.push_back(combination_from(combination));
  for (const Json& run : json.at("runs")) read_run(run, sweep);
  return sweep;
}

}  // namespace

const char* name_of(RunState::Kind kind) {
  switch (kind) {
    case RunState::Kind::waiting:
      return "waiting";
    case RunState::Kind::done:
      return "done";
    case RunState::Kind::stopped:
      return "stopped";
    case RunState::Kind::failed:
      break;
  }
  return "failed";
}

Sweep SweepFolder::load() const {
  const std::string text = read_text(plan());
  try {
    Sweep sweep = sweep_from(Json::parse(text));
    sweep.plan.base = read_text(base());
    return sweep;
  } catch (const nlohmann::json::exception& error) {
    fail("{}: cannot be read: {}", plan().string(), error.what());
  } catch (const Error& error) {
    fail("{}: cannot be read: {}", plan().string(), error.what());
  }
}

void SweepFolder::save(const Sweep& sweep) const {
  const SweepPlan& plan_ = sweep.plan;
  Json json = {{"format", kFormat},
               {"program_version", program_version()},
               {"command", plan_.command},
               {"data", plan_.data},
               {"metric", name_of(plan_.metric)},
               {"halving", plan_.halving},
               {"rungs", plan_.rungs},
               {"seeded", plan_.seeded},
               {"threads", sweep.threads},
               {"decided", sweep.decided},
               {"combinations", Json::array()},
               {"runs", Json::array()}};
  for (const Combination& combination : plan_.combinations)
    json["combinations"].push_back(combination_json(combination));
  for (size_t i = 0; i < plan_.runs.size(); ++i)
    json["runs"].push_back(run_json(plan_.runs[i], sweep.states[i]));
  write_file(plan(), std::string_view(json.dump(1) + "\n"));
}

void SweepFolder::make_folders() const {
  std::error_code error;
  fs::create_directories(runs(), error);
  check(!error, "{}: cannot make the folder: {}", runs().string(), error.message());
}

void SweepFolder::save_all(const Sweep& sweep) const {
  write_file(base(), std::string_view(sweep.plan.base));
  save(sweep);
}

}  // namespace frcnn::apps
