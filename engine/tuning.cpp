#include "engine/tuning.h"

#include <cctype>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>

#include "engine/dispatch.h"
#include "engine/host.h"
#include "kernels/conv/conv2d.h"
#include "kernels/launch/parallel.h"

namespace frcnn {
namespace {

/// Raised when the project's kernels become faster or slower, so that they are measured anew.
constexpr int kKernelsVersion = 1;

struct State {
  std::mutex mutex;
  TuningSettings settings;
  std::map<std::pair<Device::Type, int>, std::unique_ptr<Autotuner>> tuners;
};
State& state() {
  static State instance;
  return instance;
}
thread_local bool paused = false;  // NOLINT

constexpr const char* kCpu = "cpu ";  // begins the name of every CPU in a file

/// Model, instruction set and threads: what the times of the CPU's kernels depend on.
std::string cpu_name() {
  return fmt::format("{}{}, channel blocks of {}, threads {}", kCpu, processor_name(),
                     kernels::cpu::preferred_channel_block(), kernels::num_threads());
}

Autotuner::Settings autotuner_settings(Device device, const TuningSettings& settings) {
  Autotuner::Settings result;
  result.measure = settings.measure;
  result.program = fmt::format("{}, kernels {}", settings.program, kKernelsVersion);
  result.warn = settings.warn;
  if (!device.is_gpu()) {
    result.measure = settings.measure && settings.cpu;
    result.device = cpu_name();
    if (result.measure) result.file = settings.file;
    return result;
  }
  with_gpu(device, [&](auto on) {
    const auto info = kernels::gpu::device_info<decltype(on)::backend>(device.index);
    result.device = fmt::format("{}, compute capability {}.{}, driver {}.{}", info.name,
                                info.compute_capability / 10, info.compute_capability % 10,
                                info.driver / 1000, info.driver % 1000 / 10);
    // Off, nothing that was measured counts.
    if (settings.measure)
      result.file = settings.file.empty() ? tuning_file(info.name) : settings.file;
  });
  return result;
}

bool can_be_tuned(Device device, const TuningSettings& settings) {
  if (!device.is_gpu()) return settings.cpu;
  return device.type == Device::Type::cuda || settings.stopwatch;
}

/// Whether a run's file holds choices of a CPU.
bool of_cpu(const std::filesystem::path& file) {
  return std::filesystem::exists(file) && read_tuning(file).device.starts_with(kCpu);
}

Autotuner& made(Device device, State& s) {
  std::unique_ptr<Autotuner>& tuner = s.tuners[{device.type, device.index}];
  if (!tuner) tuner = std::make_unique<Autotuner>(autotuner_settings(device, s.settings));
  return *tuner;
}

}  // namespace

void set_tuning(TuningSettings settings) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.tuners.clear();
  s.settings = std::move(settings);
}

const TuningSettings& tuning_settings() {
  return state().settings;
}

std::filesystem::path tuning_file(const std::string& device_name) {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets it
    return std::filesystem::path(value ? value : "");
  };
  std::filesystem::path folder = variable("XDG_CACHE_HOME");
  // Its specification: a path that is not absolute is to be ignored.
  if (!folder.is_absolute()) {
    folder = variable("HOME");
    if (folder.empty()) return {};
    folder /= ".cache";
  }
  std::string name;
  for (const char c : device_name)
    if (std::isalnum(static_cast<unsigned char>(c)))
      name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    else if (!name.empty() && name.back() != '-')
      name += '-';
  while (name.ends_with('-')) name.pop_back();
  return folder / "frcnn" / fmt::format("tuning-{}.json", name);
}

void keep_run_tuning(Device device, const std::filesystem::path& file, bool resume) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (can_be_tuned(device, s.settings) || (!device.is_gpu() && resume && of_cpu(file)))
    made(device, s).keep_run(file, resume);
}

Autotuner* tuner_of(Device device) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (paused) return nullptr;
  const auto found = s.tuners.find({device.type, device.index});
  if (found != s.tuners.end()) return found->second.get();
  return s.settings.measure && can_be_tuned(device, s.settings) ? &made(device, s) : nullptr;
}

TuningPause::TuningPause() : before_(paused) {
  paused = true;
}
TuningPause::~TuningPause() {
  paused = before_;
}

}  // namespace frcnn
