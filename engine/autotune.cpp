#include "engine/autotune.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

constexpr double kWorthwhile = 0.97;  // less is within what a measurement varies by
constexpr double kAlike = 1.25;       // sizes within this factor share a choice

std::optional<size_t> index_of(const std::string& name,
                               const std::vector<TuningCandidate>& candidates) {
  for (size_t i = 0; i < candidates.size(); ++i)
    if (candidates[i].name == name) return i;
  return std::nullopt;
}

/// Whether all that compete now were measured then: a version may be new, or a library.
bool all_competed(const TuningEntry& entry, const std::vector<TuningCandidate>& candidates) {
  return std::all_of(candidates.begin(), candidates.end(), [&](const TuningCandidate& candidate) {
    return entry.seconds.contains(candidate.name);
  });
}

}  // namespace

Autotuner::Autotuner(Settings settings) : settings_(std::move(settings)) {
  std::error_code error;
  if (settings_.file.empty() || !std::filesystem::exists(settings_.file, error)) return;
  try {
    TuningFile content = read_tuning(settings_.file);
    if (content.device == settings_.device && content.program == settings_.program)
      entries_ = std::move(content.entries);
    else
      warn(fmt::format("{}: was measured on {} by version {}, not on {} by {}: measuring anew",
                       settings_.file.string(), content.device, content.program, settings_.device,
                       settings_.program));
  } catch (const Error& why) {
    warn(fmt::format("{}; measuring anew", why.what()));
  }
}

void Autotuner::warn(const std::string& text) const {
  if (settings_.warn) settings_.warn(text);
}

void Autotuner::keep_run(const std::filesystem::path& file, bool resume) {
  const std::lock_guard lock(mutex_);
  run_file_ = file;
  run_entries_.clear();
  if (!resume || !std::filesystem::exists(file)) return;
  TuningFile content = read_tuning(file);
  run_entries_ = std::move(content.entries);
  settings_.measure = content.measure;
  if (!settings_.measure) entries_.clear();
}

std::optional<size_t> Autotuner::remembered(const TuningKey& key,
                                            const std::vector<TuningCandidate>& candidates) const {
  if (const auto found = run_entries_.find(key.text()); found != run_entries_.end()) {
    if (const auto index = index_of(found->second.version, candidates)) return index;
    warn(fmt::format(
        "{}: this run took {}, which this device or build does not have: the last bits of results "
        "may differ from here on",
        key.text(), found->second.version));
  }
  const auto found = entries_.find(key.text());
  if (found == entries_.end()) return std::nullopt;
  const TuningEntry& entry = found->second;
  if (entry.like.empty() && !all_competed(entry, candidates)) return std::nullopt;
  return index_of(entry.version, candidates);
}

std::optional<TuningEntry> Autotuner::of_neighbour(
    const TuningKey& key, const std::vector<TuningCandidate>& candidates) const {
  const std::string family = key.family + " @ ";
  double nearest = kAlike;
  std::optional<TuningEntry> result;
  for (const TuningEntries* entries : {&run_entries_, &entries_})
    for (auto it = entries->lower_bound(family);
         it != entries->end() && it->first.starts_with(family); ++it) {
      const TuningEntry& entry = it->second;
      // Only what was measured itself: a chain of neighbours could lead anywhere.
      if (!entry.like.empty() || !all_competed(entry, candidates) ||
          !index_of(entry.version, candidates))
        continue;
      const double factor = std::max(entry.amount, key.amount) / std::min(entry.amount, key.amount);
      if (!(factor <= nearest) || (result && factor == nearest)) continue;
      nearest = factor;
      result = {entry.version, key.amount, {}, it->first};
    }
  return result;
}

TuningEntry Autotuner::measured(const std::vector<TuningCandidate>& candidates,
                                const Measure& measure) const {
  TuningEntry entry;
  double best = 0;
  for (const TuningCandidate& candidate : candidates) {
    double& seconds = entry.seconds[candidate.name] = -1;
    if (&candidate != candidates.data() && candidate.memory > settings_.memory_limit) continue;
    try {
      const double found = measure(candidate);
      if (!std::isfinite(found) || found <= 0) continue;
      seconds = found;
    } catch (const Error&) {  // not on this device, or no memory for it
      continue;
    }
    if (!entry.version.empty() && seconds >= best) continue;
    entry.version = candidate.name;
    best = seconds;
  }
  const double standard = entry.seconds.at(candidates.front().name);
  if (standard > 0 && best > kWorthwhile * standard) entry.version = candidates.front().name;
  return entry;
}

void Autotuner::keep_for_run(const std::string& key, const TuningEntry& entry) {
  if (run_file_.empty() || run_entries_.contains(key)) return;
  run_entries_[key] = entry;
  write_tuning(run_file_, {settings_.device, settings_.program, settings_.measure, run_entries_});
}

size_t Autotuner::keep(const TuningKey& key, const std::vector<TuningCandidate>& candidates,
                       const TuningEntry& entry, bool on_machine) {
  const std::string text = key.text();
  entries_[text] = entry;
  if (on_machine && !settings_.file.empty()) try {
      add_to_tuning(settings_.file, {settings_.device, settings_.program, true, {{text, entry}}});
    } catch (const Error& error) {
      warn(fmt::format("{}; choices among kernels are not kept", error.what()));
      settings_.file.clear();
    }
  keep_for_run(text, entry);
  return *index_of(entry.version, candidates);
}

size_t Autotuner::choose(const TuningKey& key, const std::vector<TuningCandidate>& candidates,
                         const Measure& measure) {
  check(!candidates.empty(), "[tuning] {}: there is nothing to choose from", key.text());
  const std::lock_guard lock(mutex_);
  if (const auto index = remembered(key, candidates)) {
    if (const auto found = entries_.find(key.text()); found != entries_.end())
      keep_for_run(key.text(), found->second);
    return *index;
  }
  run_entries_.erase(key.text());  // one that cannot be had here
  const TuningEntry standard{candidates.front().name, key.amount, {}, {}};
  if (!settings_.measure || candidates.size() == 1)
    return keep(key, candidates, standard, /*on_machine=*/false);
  if (const auto entry = of_neighbour(key, candidates)) return keep(key, candidates, *entry, true);
  TuningEntry entry = measured(candidates, measure);
  // Where nothing could be measured, it may be possible another time.
  if (entry.version.empty()) return keep(key, candidates, standard, false);
  entry.amount = key.amount;
  return keep(key, candidates, entry, true);
}

size_t Autotuner::expected(const TuningKey& key,
                           const std::vector<TuningCandidate>& candidates) const {
  const std::lock_guard lock(mutex_);
  if (const auto index = remembered(key, candidates)) return *index;
  if (const auto entry = settings_.measure ? of_neighbour(key, candidates) : std::nullopt)
    return *index_of(entry->version, candidates);
  return 0;
}

double measured_seconds(const TuningClock& clock, const std::function<void()>& run,
                        double give_up) {
  constexpr double kSample = 100e-6;
  constexpr int kMostRuns = 20;
  const auto sample = [&](int runs) {
    clock.start();
    for (int i = 0; i < runs; ++i) run();
    return clock.stop() / runs;
  };
  run();
  const double once = sample(1);
  if (!(once <= give_up)) return once;
  const int runs =
      static_cast<int>(std::clamp(std::ceil(kSample / std::max(once, 1e-9)), 1.0, 1.0 * kMostRuns));
  std::array<double, 5> times{};
  for (double& time : times) time = sample(runs);
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

}  // namespace frcnn
