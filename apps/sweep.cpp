#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <thread>

#include "apps/child_process.h"
#include "apps/commands.h"
#include "apps/data_option.h"
#include "apps/program_device.h"
#include "apps/stop_signal.h"
#include "apps/sweep_results.h"
#include "apps/sweep_runner.h"
#include "apps/terminal.h"
#include "engine/device.h"
#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;

struct SweepArguments {
  SweepRequest request;
  std::string out;
  int slots = 1;
  bool resume = false, retry = false, dry_run = false, json = false;
};

/// --device of the runs, dealt to the slots in turn: all GPUs of the machine unless one was named.
std::vector<std::string> run_devices() {
  const std::string& asked = requested_device();
  if (asked != "auto" && asked != "cuda") return {asked};
  std::vector<std::string> devices;
  const int count = cuda_device_count();
  for (int i = 0; i < count; ++i) devices.push_back(fmt::format("cuda:{}", i));
  if (devices.empty()) devices.push_back(asked == "auto" ? "cpu" : asked);
  return devices;
}

/// True where the folder holds no more than what a sweep leaves that was killed at its very begin.
bool can_begin(const SweepFolder& folder) {
  if (!fs::exists(folder.root())) return true;
  const fs::directory_iterator files(folder.root());
  return std::all_of(begin(files), end(files), [&](const fs::directory_entry& entry) {
    return entry.path() == folder.base() ||
           (entry.path() == folder.runs() && fs::is_empty(entry.path()));
  });
}

bool names_settings(const SweepRequest& request) {
  return !request.config.empty() || !request.preset.empty();
}

/// The sweep in the folder, or a new one.
Sweep open_sweep(const SweepFolder& folder, const SweepArguments& arguments) {
  const SweepRequest& request = arguments.request;
  const std::string root = folder.root().string();
  if (!folder.started()) {
    if (arguments.resume && !names_settings(request))
      throw UsageError(root + ": holds no sweep that could be resumed (no sweep.json)");
    if (!can_begin(folder)) throw UsageError(root + ": is not empty; choose another folder");
    Sweep sweep(make_plan(request));
    sweep.threads = std::max(1, kernels::num_threads() / arguments.slots);
    return sweep;
  }
  if (!arguments.resume)
    throw UsageError(root +
                     ": holds a sweep already; go on with --resume, or choose another "
                     "folder");
  Sweep sweep = folder.load();
  const bool asked_again = names_settings(request) || !request.grid.empty() ||
                           !request.list.empty() || !request.fixed.empty() ||
                           !request.seeds.empty() || request.random > 0 || request.halving > 0;
  if (asked_again) require_same_plan(sweep.plan, make_plan(request), folder.root());
  if (arguments.retry)
    for (RunState& state : sweep.states)
      if (state.kind == RunState::Kind::failed) state.kind = RunState::Kind::waiting;
  return sweep;
}

void print_summary(const SweepFolder& folder, const Sweep& sweep, int slots,
                   const std::vector<std::string>& devices) {
  const SweepPlan& plan = sweep.plan;
  int64_t steps = 0;
  for (const SweepRun& run : plan.runs) steps += run.steps;
  std::string device_names;
  for (const std::string& device : devices)
    device_names += (device_names.empty() ? "" : ", ") + device;
  std::fprintf(stderr, "sweep      %s\n", folder.root().c_str());
  std::fprintf(stderr, "plan       %zu combinations, %zu runs, %ld steps to the end of all\n",
               plan.combinations.size(), plan.runs.size(), static_cast<long>(steps));
  if (plan.rungs > 0) {
    std::string text;
    for (int stage = 0; stage < plan.rungs; ++stage)
      text += fmt::format("{}{} after {:.3g} %", stage ? ", " : "", plan.survivors(stage),
                          100 * std::pow(plan.halving, stage - plan.rungs));
    std::fprintf(stderr, "halving    best by %s go on: %s of each run's steps\n",
                 title_of(plan.metric), text.c_str());
  }
  std::fprintf(stderr, "at a time  %d run%s of %d thread%s, on %s\n", slots, slots == 1 ? "" : "s",
               sweep.threads, sweep.threads == 1 ? "" : "s", device_names.c_str());
  int64_t done = 0, failed = 0;
  for (const RunState& state : sweep.states) {
    done += state.kind == RunState::Kind::done;
    failed += state.kind == RunState::Kind::failed;
  }
  if (done + failed > 0)
    std::fprintf(stderr, "resumed    %ld runs done, %ld failed\n", static_cast<long>(done),
                 static_cast<long>(failed));
}

int list_runs(const Sweep& sweep) {
  for (const SweepRun& run : sweep.plan.runs)
    std::printf("%-50s %8ld steps  %s\n", run.name.c_str(), static_cast<long>(run.steps),
                combination_text(sweep.plan.combinations[run.combination]).c_str());
  return kDone;
}

/// Runs of a sweep that was killed end by themselves, but not at once.
void wait_for_runs(FolderLock& lock, const SweepFolder& folder) {
  constexpr int kTenths = 600;
  for (int i = 0; !lock.acquire(folder.runs(), /*inherited=*/true); ++i) {
    if (i == 0)
      std::fprintf(stderr, "waits for runs of the sweep before this one to save their state\n");
    if (stop_requested()) return;
    check(i < kTenths, "{}: runs of an earlier sweep are still at work here; end them first",
          folder.root().string());
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

int sweep_command(const SweepArguments& arguments) {
  const SweepFolder folder(fs::absolute(arguments.out).lexically_normal());
  if (fs::exists(folder.root()) && !fs::is_directory(folder.root()))
    throw UsageError(arguments.out + ": is a file, expected a folder for the sweep");
  FolderLock own, runs;
  const auto lock = [&] {
    check(own.acquire(folder.root(), /*inherited=*/false),
          "{}: another sweep is at work in this folder", arguments.out);
  };
  if (folder.started()) lock();
  Sweep sweep = open_sweep(folder, arguments);
  const auto devices = run_devices();
  print_summary(folder, sweep, arguments.slots, devices);
  if (arguments.dry_run) return list_runs(sweep);
  RunFolder(folder.root()).check_writable();
  catch_stop_signals();
  folder.make_folders();
  lock();
  wait_for_runs(runs, folder);
  if (!stop_requested()) folder.save_all(sweep);
  if (stop_requested() || !SweepRunner(folder, sweep, arguments.slots, devices).run()) {
    std::fprintf(stderr, "stopped; to go on: frcnn sweep --resume --out %s\n",
                 arguments.out.c_str());
    return stop_exit_code();
  }
  const SweepResults results = collect_results(folder, sweep);
  if (arguments.json) {
    std::fputs(results_json(folder, sweep, results).c_str(), stdout);
  } else {
    std::fputs(results_table(sweep, results).c_str(), stdout);
    std::printf("results  %s\n", folder.html().c_str());
  }
  check(results.best(), "no run of the sweep reached its end with a {}; see {}",
        title_of(sweep.plan.metric), folder.csv().string());
  return kDone;
}

void add_plan_options(CLI::App& command, SweepRequest& request) {
  command.add_option("CONFIG", request.config,
                     "settings as TOML (see `frcnn train --help-config`)");
  command
      .add_option("--preset", request.preset,
                  "settings that are part of the program (see `frcnn train --list-presets`)")
      ->type_name("NAME");
  add_data_option(command, request.data);
  const auto repeated = [&](const char* name, std::vector<std::string>& target, const char* help,
                            const char* type) {
    command.add_option(name, target, help)
        ->type_name(type)
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->allow_extra_args(false);
  };
  repeated("--set", request.fixed, "change one setting of all runs: --set train.batch=2",
           "KEY=VALUE");
  repeated("--grid", request.grid,
           "values to try, every combination of all --grid: optimizer.lr=0.01,0.02; lists: "
           "\"roi.hidden=[256,256];[512]\"; with --random also log(1e-4,1e-1) and uniform(0,1)",
           "KEY=VALUES");
  command
      .add_option("--list", request.list,
                  "file with the combinations: TOML with a table [[run]] for each, or CSV with "
                  "keys in its first line")
      ->type_name("FILE.toml|FILE.csv");
  command.add_option("--random", request.random, "draw this many combinations from the --grid")
      ->check(CLI::Range(1, 10000))
      ->type_name("N");
  command
      .add_option("--seed", request.random_seed, "of --random; another gives other combinations")
      ->capture_default_str();
  command
      .add_option("--seeds", request.seeds,
                  "train every combination with each of these seeds (train.seed), compare means")
      ->delimiter(',')
      ->type_name("SEED,SEED");
  command
      .add_option("--metric", request.metric, "what judges a run: map_area, map_11point or loss")
      ->capture_default_str();
  command
      .add_option("--halving", request.halving,
                  "successive halving: all begin, at each rung only the best 1 / FACTOR go on")
      ->type_name("FACTOR");
  command
      .add_option("--rungs", request.rungs,
                  "with --halving: how often runs are dropped; default: until one is left")
      ->check(CLI::Range(1, 30))
      ->type_name("N");
}

}  // namespace

void add_sweep(CLI::App& app, Action& action) {
  auto a = std::make_shared<SweepArguments>();
  CLI::App* command =
      app.add_subcommand("sweep", "train with many combinations of settings and compare them");
  add_plan_options(*command, a->request);
  command->add_option("--out", a->out, "folder for the runs and the results")
      ->type_name("FOLDER")
      ->required();
  command
      ->add_option("--slots", a->slots,
                   "runs at a time; they share --threads, and take the GPUs in turn")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_flag("--resume", a->resume,
                    "go on with the sweep in --out, however it ended; its settings are known");
  command->add_flag("--retry", a->retry, "with --resume: runs that failed are tried once more");
  command->add_flag("--dry-run", a->dry_run, "check everything and list the runs, train nothing");
  command->add_flag("--json", a->json, "print the results as JSON");
  command->footer(
      "Example: frcnn sweep configs/quickstart.toml --data shapes --out sweeps/first "
      "--set train.steps=200 --grid optimizer.lr=0.005,0.01,0.02 --grid "
      "optimizer.momentum=0.8,0.9");
  command->callback([&action, a] { action = [a] { return sweep_command(*a); }; });
}

}  // namespace frcnn::apps
