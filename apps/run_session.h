#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>

#include "apps/preflight.h"
#include "apps/run_folder.h"
#include "engine/device.h"

namespace frcnn::apps {

/// What a run spends its time on.
enum class RunPart : uint8_t {
  data,        ///< waiting for the loader
  input,       ///< batches as tensors
  forward,     ///< forward passes with their losses; on a GPU all that the host does for a pass
  backward,    ///< backward passes; on a GPU they belong to `forward`
  update,      ///< optimiser, and waiting for the device
  save,        ///< checkpoints and logs
  validation,  ///< detection, losses, metrics
  stage,       ///< between the stages of a scheme: weights, proposals
};
inline constexpr size_t kRunParts = 8;

/// One time that the program works on a run, an entry of the list "sessions" of RUN/sessions.json:
/// {"begin" (UTC), "first_step", "last_step", "images", "seconds", "parts": {"data": seconds ...},
/// "memory": {"predicted": {...}, "tensors_training", "tensors_validation", "process"} in bytes,
/// "environment": {...}}. Sessions of earlier times stay, but for steps that were lost with them.
class RunSession {
 public:
  /// `device` is the one whose memory is measured.
  RunSession(RunFolder folder, Device device, int64_t first_step);

  /// What is predicted, for comparison.
  void predict(const Preflight& preflight);
  /// Calls `work` and adds its time to a part.
  template <typename Work>
  auto time(RunPart part, const Work& work) {
    const Stopwatch watch(*this, part);
    return work();
  }
  /// Moves time from one part to another, where only a part of a call is known.
  void move(double seconds, RunPart from, RunPart to);
  void add_images(int64_t count) { images_ += count; }
  /// Ends the measurement of the peak of tensors' memory: what came before was a validation, or
  /// training.
  void end_peak(bool validation);
  /// The largest memory that tensors took from the system in this session, bytes.
  size_t peak() const;
  /// Writes the entry as it stands after `step`.
  void write(int64_t step);

 private:
  struct Stopwatch {
    Stopwatch(RunSession& owner, RunPart which) : session(owner), part(which) {}
    ~Stopwatch();
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;
    RunSession& session;
    RunPart part;
    std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
  };

  RunFolder folder_;
  Device device_;
  int64_t first_step_, images_ = 0;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::string date_, predicted_;  // the latter as JSON
  std::array<double, kRunParts> seconds_{};
  size_t training_peak_ = 0, validation_peak_ = 0, reserved_peak_ = 0;
};

}  // namespace frcnn::apps
