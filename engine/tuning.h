#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "engine/autotune.h"
#include "engine/device.h"

/// Autotuning of the whole program: whether kernels are measured, and where that is kept.
namespace frcnn {

struct TuningSettings {
  /// Off, the kernels of layers are chosen by fixed rules of their shapes. Nothing is ever measured
  /// under emulation.
  bool measure = false;
  /// Whether convolutions on the CPU are measured, too; `file` must be named then. Without it equal
  /// runs on two machines of one instruction set take the same kernels.
  bool cpu = false;
  std::filesystem::path file;  ///< empty: tuning_file()
  std::string program;         ///< version of the program that asks
  std::function<void(const std::string&)> warn;
  /// Instead of the device's clock, on every GPU, emulated ones included; for tests. Gets the key,
  /// the candidate's name and what runs it once.
  std::function<double(const TuningKey&, const std::string&, const std::function<void()>&)>
      stopwatch;
};
/// To be called before a model runs; measures nothing by itself. Forgets all choices.
void set_tuning(TuningSettings settings);

/// The file in the user's cache folder for a device of this name:
/// $XDG_CACHE_HOME/frcnn/tuning-<name>.json, or $HOME/.cache/frcnn/...; empty where neither
/// variable is set.
std::filesystem::path tuning_file(const std::string& device_name);

/// Autotuner::keep_run() for the device. Nothing under emulation. On the CPU, where a run is
/// resumed, also without TuningSettings::cpu if `file` holds choices of a CPU.
void keep_run_tuning(Device device, const std::filesystem::path& file, bool resume);

/// The choices of a device, or nullptr where the fixed rules hold: under emulation, while tuning is
/// off and no run's choices are kept, and in a TuningPause.
Autotuner* tuner_of(Device device);
/// The program's stopwatch, see TuningSettings.
const TuningSettings& tuning_settings();

/// While one is alive, this thread's choices follow the fixed rules.
class TuningPause {
 public:
  TuningPause();
  ~TuningPause();
  TuningPause(const TuningPause&) = delete;
  TuningPause& operator=(const TuningPause&) = delete;

 private:
  bool before_;
};

}  // namespace frcnn
