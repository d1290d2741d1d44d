#include "apps/sweep_runner.h"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <fstream>
#include <thread>

#include "apps/program_device.h"
#include "apps/stop_signal.h"
#include "apps/sweep_results.h"
#include "data/files.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using Kind = RunState::Kind;

constexpr auto kPause = std::chrono::milliseconds(50);

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The end of a file, at most `most` bytes.
std::string tail(const fs::path& file, std::streamoff most) {
  std::ifstream stream(file, std::ios::binary | std::ios::ate);
  if (!stream) return "";
  const std::streamoff size = stream.tellg();
  stream.seekg(std::max<std::streamoff>(0, size - most));
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// Step of the last whole row of a log; 0 when there is none. Cheap also for long logs.
int64_t last_step(const fs::path& log) {
  const std::string text = tail(log, 4096);
  const size_t end = text.rfind('\n');
  if (end == std::string::npos || end == 0) return 0;
  const size_t before = text.rfind('\n', end - 1);
  return before == std::string::npos ? 0 : std::atoll(text.c_str() + before + 1);
}

/// What was left by a run that was killed before it had settings.
void clear_unstarted(const RunFolder& folder) {
  if (folder.started() || !fs::exists(folder.root())) return;
  for (const auto& entry : fs::directory_iterator(folder.root()))
    if (entry.path().filename() != RunFolder::kOutput) fs::remove_all(entry.path());
}

}  // namespace

std::string failure_text(const fs::path& output, const ProcessEnd& end) {
  if (end.signal != 0)
    return fmt::format("ended by signal {} ({})", end.signal, strsignal(end.signal));
  const std::string text = tail(output, 8192), mark = "frcnn: error: ";
  const size_t begin = text.rfind(mark);
  if (begin == std::string::npos) return fmt::format("ended with exit code {}", end.exit_code);
  const size_t from = begin + mark.size();
  return text.substr(from, text.find('\n', from) - from);
}

SweepRunner::SweepRunner(const SweepFolder& folder, Sweep& sweep, int slots,
                         std::vector<std::string> devices)
    : folder_(folder), sweep_(sweep), slots_(static_cast<size_t>(slots)) {
  for (size_t i = 0; i < slots_.size(); ++i) slots_[i].device = devices[i % devices.size()];
}

std::vector<std::string> SweepRunner::arguments(const Slot& slot, const SweepRun& run,
                                                int stage) const {
  const SweepPlan& plan = sweep_.plan;
  std::vector<std::string> words = {kOwnProgram, "train", folder_.base().string()};
  const auto add = [&](const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
  };
  add(plan.settings(run));
  // --resume also begins a run whose folder is empty.
  add(data_words(plan));
  add({"--out", folder_.run(run).root().string(), "--resume"});
  add({"--threads", std::to_string(sweep_.threads), "--device", slot.device});
  add(inherited_arguments());
  if (stage < plan.rungs) add({"--stop-after", std::to_string(plan.stage_steps(run, stage))});
  return words;
}

void SweepRunner::save() const {
  folder_.save(sweep_);
}

void SweepRunner::start(Slot& slot, size_t index, int stage) {
  const SweepRun& run = sweep_.plan.runs[index];
  const RunFolder run_folder = folder_.run(run);
  clear_unstarted(run_folder);
  std::error_code error;
  fs::create_directories(run_folder.root(), error);
  check(!error, "{}: cannot make the folder: {}", run_folder.root().string(), error.message());
  slot.run = index;
  slot.start = Clock::now();
  slot.process = std::make_unique<ChildProcess>(arguments(slot, run, stage), folder_.output(run));
}

void SweepRunner::finish(Slot& slot, const ProcessEnd& end, int stage) {
  slot.process.reset();
  const SweepRun& run = sweep_.plan.runs[slot.run];
  RunState& state = sweep_.states[slot.run];
  state.seconds += seconds_since(slot.start);
  state.exit_code = end.signal != 0 ? 128 + end.signal : end.exit_code;
  state.error.clear();
  if (state.exit_code == 0) {
    state.stages = stage + 1;
    if (state.stages == sweep_.plan.stages()) state.kind = Kind::done;
  } else if (stop_requested()) {
    state.exit_code = 0;  // it was told to end, and goes on later
  } else {
    state.kind = Kind::failed;
    state.error = failure_text(folder_.output(run), end);
  }
  save();
  write_results(folder_, sweep_);
  if (stop_requested() && state.exit_code == 0 && state.kind == Kind::waiting) return;
  std::string text = state.kind == Kind::failed ? "failed: " + state.error : "";
  if (text.empty()) {
    const RunResult result = read_run_result(folder_.run(run));
    text = fmt::format("step {} of {}, loss {}", result.step, run.steps, value_text(result.loss));
    if (sweep_.plan.metric != SweepMetric::loss)
      text += fmt::format(", {} {}", title_of(sweep_.plan.metric),
                          value_text(result.value(sweep_.plan.metric)));
  }
  progress_->note(fmt::format("{}: {}", run.name, text));
}

void SweepRunner::stop_all() {
  for (const Slot& slot : slots_)
    if (slot.process) slot.process->send(SIGTERM);
}

void SweepRunner::show(Progress& progress, int stage) const {
  int64_t done = 0, ready = 0, running = 0;
  for (size_t i = 0; i < sweep_.states.size(); ++i) {
    const RunState& state = sweep_.states[i];
    const int64_t target = sweep_.plan.stage_steps(sweep_.plan.runs[i], stage);
    if (state.kind == Kind::stopped) continue;
    const bool idle = state.kind == Kind::failed || state.stages > stage;
    ready += idle;
    done += idle ? target : std::min(target, last_step(folder_.run(sweep_.plan.runs[i]).log()));
  }
  for (const Slot& slot : slots_) running += slot.process ? 1 : 0;
  progress.update(done, fmt::format("{} runs ready, {} running", ready, running));
}

bool SweepRunner::run_stage(int stage) {
  const SweepPlan& plan = sweep_.plan;
  std::vector<size_t> queue;
  int64_t total = 0, before = 0;
  for (size_t i = 0; i < plan.runs.size(); ++i) {
    const RunState& state = sweep_.states[i];
    if (state.kind == Kind::stopped) continue;
    const int64_t target = plan.stage_steps(plan.runs[i], stage);
    const bool waits = state.kind == Kind::waiting && state.stages <= stage;
    total += target;
    before += waits ? std::min(target, last_step(folder_.run(plan.runs[i]).log())) : target;
    if (waits) queue.push_back(i);
  }
  if (queue.empty()) return true;
  std::reverse(queue.begin(), queue.end());
  Progress progress(
      plan.rungs == 0 ? "sweep" : fmt::format("sweep {}/{}", stage + 1, plan.stages()), total,
      before);
  progress_ = &progress;
  bool told = false;
  for (;;) {
    bool busy = false;
    if (stop_requested() && !told) {
      told = true;
      stop_all();
    }
    for (Slot& slot : slots_) {
      if (slot.process)
        if (const auto end = slot.process->poll()) finish(slot, *end, stage);
      if (!slot.process && !queue.empty() && !stop_requested()) {
        start(slot, queue.back(), stage);
        queue.pop_back();
      }
      busy = busy || slot.process;
    }
    if (!busy) break;
    show(progress, stage);
    std::this_thread::sleep_for(kPause);
  }
  show(progress, stage);
  progress_ = nullptr;
  return !stop_requested();
}

void SweepRunner::drop_runs(int stage) {
  // Judged by what the runs had at the end of this stage, whatever their folders hold by now.
  const SweepPlan& plan = sweep_.plan;
  std::vector<double> means(plan.combinations.size(), 0);
  std::vector<double> counts(means.size(), 0);
  std::vector<size_t> order;
  for (size_t i = 0; i < plan.runs.size(); ++i) {
    const SweepRun& run = plan.runs[i];
    const RunResult result = read_run_result(folder_.run(run), plan.stage_steps(run, stage));
    const bool alive = sweep_.states[i].kind == Kind::waiting;
    means[run.combination] +=
        alive ? result.value(plan.metric) : std::numeric_limits<double>::quiet_NaN();
    counts[run.combination] += 1;
  }
  for (size_t c = 0; c < means.size(); ++c) {
    means[c] /= counts[c];
    order.push_back(c);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return is_better(plan.metric, means[a], means[b]); });
  std::vector<bool> goes_on(means.size(), false);
  for (size_t i = 0; i < plan.survivors(stage) && i < order.size(); ++i) goes_on[order[i]] = true;
  for (size_t i = 0; i < plan.runs.size(); ++i)
    if (sweep_.states[i].kind == Kind::waiting && !goes_on[plan.runs[i].combination])
      sweep_.states[i].kind = Kind::stopped;
  sweep_.decided = stage + 1;
  save();
  write_results(folder_, sweep_);
}

bool SweepRunner::run() {
  for (int stage = sweep_.decided; stage < sweep_.plan.stages(); ++stage) {
    if (!run_stage(stage)) return false;
    if (stage < sweep_.plan.rungs) drop_runs(stage);
  }
  write_results(folder_, sweep_);
  return true;
}

}  // namespace frcnn::apps
