#include "apps/sweep_plan.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "apps/dataset_io.h"
#include "apps/presets.h"
#include "kernels/launch/check.h"
#include "model/options.h"
#include "model/trainer.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSeed = "train.seed";

std::vector<Combination> combinations_of(const SweepRequest& request) {
  if (!request.list.empty()) {
    if (!request.grid.empty() || request.random > 0)
      throw UsageError("--list names all combinations; leave --grid and --random out");
    return read_combinations(request.list);
  }
  if (request.grid.empty())
    throw UsageError("sweep needs settings to vary: --grid optimizer.lr=0.01,0.02, or --list FILE");
  std::vector<Axis> axes;
  for (const std::string& text : request.grid) axes.push_back(parse_axis(text));
  return request.random > 0 ? random_combinations(axes, request.random, request.random_seed)
                            : grid_product(axes);
}

/// A key that is fixed, or given by --seeds, cannot vary as well.
void refuse_conflicts(const SweepRequest& request, const SweepPlan& plan) {
  const auto keys = plan.keys();
  for (const std::string& assignment : request.fixed) {
    std::string key = assignment.substr(0, assignment.find('='));
    while (key.ends_with(' ')) key.pop_back();
    if (std::count(keys.begin(), keys.end(), key))
      throw UsageError(
          fmt::format("--set {}: the sweep varies {}; leave one of the two out", assignment, key));
  }
  if (!request.seeds.empty() && std::count(keys.begin(), keys.end(), kSeed))
    throw UsageError("--seeds: the sweep varies train.seed already; leave one of the two out");
  for (const uint64_t seed : request.seeds)
    if (std::count(request.seeds.begin(), request.seeds.end(), seed) > 1)
      throw UsageError(fmt::format("--seeds: {} stands there twice", seed));
}

/// A value in a file name: letters, digits, points and dashes.
std::string file_text(const std::string& value) {
  std::string text;
  for (size_t i = 0; i < value.size(); ++i) {
    const auto c = static_cast<unsigned char>(value[i]);
    if (c == ',')
      text += 'x';
    else if (std::isalnum(c) || c == '.' || c == '-' || c == '_')
      text += value[i];
  }
  return text;
}

std::string run_name(const SweepPlan& plan, const SweepRun& run) {
  constexpr size_t kLongest = 48;
  const auto keys = plan.keys();
  std::string name;
  for (const auto& [key, value] : plan.combinations[run.combination])
    name += fmt::format("-{}-{}", file_text(short_name(key, keys)), file_text(value));
  name = fmt::format("{:03}{}", run.number, name.substr(0, kLongest));
  return plan.seeded ? fmt::format("{}-seed-{}", name, run.seed) : name;
}

/// Counts the pictures of each training set once.
class SetSizes {
 public:
  explicit SetSizes(std::vector<std::string> sources) : sources_(std::move(sources)) {}
  int64_t images(const DataConfig& config) {
    // All that decides which pictures are used for training.
    std::string key = fmt::format("{}|{}|{}|{}", config.format, config.train_split,
                                  config.use_difficult, config.coordinates);
    for (const std::string& name : config.classes) key += "|" + name;
    for (const auto& [from, to] : config.class_map) key += fmt::format("|{}={}", from, to);
    const auto known = sizes_.find(key);
    if (known != sizes_.end()) return known->second;
    const Dataset set =
        open_dataset(sources_, split_or_usual(sources_, "", config.train_split), config);
    return sizes_[key] = static_cast<int64_t>(set.images.size());
  }

 private:
  std::vector<std::string> sources_;
  std::map<std::string, int64_t> sizes_;
};

int rungs_of(const SweepRequest& request, size_t combinations) {
  if (request.halving == 0) {
    if (request.rungs > 0) throw UsageError("--rungs needs --halving FACTOR");
    return 0;
  }
  if (!(request.halving > 1 && request.halving <= 1000))
    throw UsageError(fmt::format(
        "--halving must be above 1, up to 1000 (2: the better half goes on), found {:g}",
        request.halving));
  int rungs = 0;  // as many as leave one combination
  for (double left = static_cast<double>(combinations); left > 1 + 1e-9; left /= request.halving)
    ++rungs;
  if (rungs == 0) throw UsageError("--halving needs at least two combinations to choose from");
  return request.rungs > 0 ? std::min(request.rungs, rungs) : rungs;
}

void plan_runs(SweepPlan& plan, const SweepRequest& request) {
  SetSizes sizes(plan.data);
  for (size_t c = 0; c < plan.combinations.size(); ++c) {
    const std::string where =
        fmt::format("combination {} ({})", c + 1, combination_text(plan.combinations[c]));
    std::vector<std::string> overrides;
    for (const auto& [key, value] : plan.combinations[c])
      overrides.push_back(fmt::format("{}={}", key, value));
    const Config config = parse_config(plan.base, where, overrides);
    if (plan.metric != SweepMetric::loss && config.data.val_split.empty())
      throw UsageError(
          fmt::format("{}: data.val_split is empty, so there is no mAP: add --metric loss", where));
    if (plan.metric != SweepMetric::loss && config.train.scheme == "rpn_only")
      throw UsageError(
          fmt::format("{}: train.scheme = \"rpn_only\" gives no mAP: add --metric loss", where));
    const int64_t steps = run_length(config.train, sizes.images(config.data));
    auto seeds = request.seeds;
    if (seeds.empty()) seeds.push_back(config.train.seed);
    for (const uint64_t seed : seeds) {
      checked_value(kSeed, std::to_string(seed), "--seeds");
      SweepRun run{static_cast<int>(plan.runs.size()) + 1, "", c, seed, steps};
      run.name = run_name(plan, run);
      plan.runs.push_back(run);
    }
  }
}

/// As `frcnn train` reads them: the preset, the file on top of it, --set on top of both.
std::string base_settings(const SweepRequest& request) {
  const Config preset = request.preset.empty() ? Config() : preset_config(request.preset);
  return to_toml(request.config.empty()
                     ? parse_config("", "preset " + request.preset, request.fixed, preset)
                     : load_config(request.config, request.fixed, preset));
}

std::string quoted_for_shell(const std::string& word) {
  const bool plain = !word.empty() && word.find_first_not_of(
                                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789_./=:,+-@%") == std::string::npos;
  if (plain) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

}  // namespace

const char* name_of(SweepMetric metric) {
  switch (metric) {
    case SweepMetric::map_area:
      return "map_area";
    case SweepMetric::map_11point:
      return "map_11point";
    case SweepMetric::loss:
      break;
  }
  return "loss";
}

SweepMetric metric_by_name(const std::string& name) {
  for (const SweepMetric metric :
       {SweepMetric::map_area, SweepMetric::map_11point, SweepMetric::loss})
    if (name == name_of(metric)) return metric;
  throw UsageError(fmt::format("--metric must be map_area, map_11point or loss, found '{}'", name));
}

bool is_better(SweepMetric metric, double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return !std::isnan(a) && std::isnan(b);
  return metric == SweepMetric::loss ? a < b : a > b;
}

int64_t SweepPlan::stage_steps(const SweepRun& run, int stage) const {
  if (stage >= rungs) return run.steps;
  const double share = std::pow(halving, stage - rungs);
  return std::max<int64_t>(1, std::llround(static_cast<double>(run.steps) * share));
}

size_t SweepPlan::survivors(int stage) const {
  const double left = static_cast<double>(combinations.size()) / std::pow(halving, stage + 1);
  return std::max<size_t>(1, static_cast<size_t>(std::ceil(left - 1e-9)));
}

std::vector<std::string> SweepPlan::keys() const {
  std::vector<std::string> keys;
  for (const Combination& combination : combinations)
    for (const auto& [key, value] : combination)
      if (!std::count(keys.begin(), keys.end(), key)) keys.push_back(key);
  return keys;
}

std::vector<std::string> SweepPlan::settings(const SweepRun& run) const {
  std::vector<std::string> arguments;
  for (const auto& [key, value] : combinations[run.combination])
    arguments.insert(arguments.end(), {"--set", fmt::format("{}={}", key, value)});
  if (seeded) arguments.insert(arguments.end(), {"--set", fmt::format("{}={}", kSeed, run.seed)});
  return arguments;
}

std::string short_name(const std::string& key, const std::vector<std::string>& keys) {
  const std::string last = key.substr(key.rfind('.') + 1);
  const auto same = std::count_if(keys.begin(), keys.end(), [&](const std::string& other) {
    return other.substr(other.rfind('.') + 1) == last;
  });
  return same > 1 ? key : last;
}

std::string shell_text(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + quoted_for_shell(word);
  return text;
}

std::vector<std::string> data_words(const SweepPlan& plan) {
  std::vector<std::string> words;
  for (const std::string& source : plan.data) words.insert(words.end(), {"--data", source});
  return words;
}

SweepPlan make_plan(const SweepRequest& request) {
  if (request.config.empty() && request.preset.empty())
    throw UsageError(
        "sweep needs settings: frcnn sweep CONFIG.toml (or --preset NAME) --grid ... --data DIR "
        "--out "
        "FOLDER");
  if (request.data.empty()) throw UsageError("sweep needs --data DIR");
  SweepPlan plan;
  plan.metric = metric_by_name(request.metric);
  plan.base = base_settings(request);
  std::vector<std::string> words;
  if (!request.preset.empty()) words = {"--preset", request.preset};
  if (!request.config.empty()) words.push_back(request.config);
  for (const std::string& assignment : request.fixed)
    words.insert(words.end(), {"--set", assignment});
  plan.command = shell_text(words);
  for (const std::string& source : request.data)
    plan.data.push_back(fs::absolute(source).lexically_normal().string());
  plan.seeded = !request.seeds.empty();
  plan.combinations = combinations_of(request);
  plan.halving = request.halving;
  plan.rungs = rungs_of(request, plan.combinations.size());
  refuse_conflicts(request, plan);
  plan_runs(plan, request);
  return plan;
}

void require_same_plan(const SweepPlan& before, const SweepPlan& now, const fs::path& folder) {
  const auto require = [&](const std::string& what, const std::string& a, const std::string& b) {
    if (a != b)
      throw UsageError(fmt::format(
          "{}: the sweep was started with {} = {}, which cannot become {} on the way; start a new "
          "sweep for that",
          folder.string(), what, a, b));
  };
  const Config old_config = parse_config(before.base, "base"),
               config = parse_config(now.base, "base");
  for (const OptionInfo& option : option_list())
    require(option.key, get_option(old_config, option.key).value_or("(as common)"),
            get_option(config, option.key).value_or("(as common)"));
  require("--data", shell_text(before.data), shell_text(now.data));
  require("--metric", name_of(before.metric), name_of(now.metric));
  require("--halving", fmt::format("{:g}", before.halving), fmt::format("{:g}", now.halving));
  require("--rungs", std::to_string(before.rungs), std::to_string(now.rungs));
  require("the number of combinations", std::to_string(before.combinations.size()),
          std::to_string(now.combinations.size()));
  for (size_t i = 0; i < now.combinations.size(); ++i)
    require(fmt::format("combination {}", i + 1), combination_text(before.combinations[i]),
            combination_text(now.combinations[i]));
  require("the number of runs", std::to_string(before.runs.size()),
          std::to_string(now.runs.size()));
  for (size_t i = 0; i < now.runs.size(); ++i) {
    const std::string run = fmt::format("run {}'s ", i + 1);
    require(run + "seed", std::to_string(before.runs[i].seed), std::to_string(now.runs[i].seed));
    require(run + "steps", std::to_string(before.runs[i].steps), std::to_string(now.runs[i].steps));
  }
}

}  // namespace frcnn::apps
