#include "engine/ops/tuned.h"

#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <optional>

#include "engine/dispatch.h"
#include "engine/memory.h"
#include "engine/recorded_step.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/reductions.h"

namespace frcnn {
namespace {

namespace gpu = kernels::gpu;

double timed(Device device, const std::function<void()>& run, double give_up) {
  if (!device.is_gpu()) {
    using Clock = std::chrono::steady_clock;
    Clock::time_point begin;
    return measured_seconds(
        {[&] { begin = Clock::now(); },
         [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); }},
        run, give_up);
  }
  double seconds = 0;
  with_gpu(device, [&](auto on) {
    gpu::StreamTimer<decltype(on)::backend> timer(on.stream);
    seconds =
        measured_seconds({[&] { timer.start(); }, [&] { return timer.stop(); }}, run, give_up);
  });
  return seconds;
}

/// Runs candidates one after the other; their memory is free again at the end.
class Trial {
 public:
  Trial(Device device, const TunedWork& work) : device_(device), work_(work) {
    if (device.is_gpu()) pool_.emplace(device);
  }

  double seconds(const TuningCandidate& candidate) {
    const MemoryPurposeScope purpose(MemoryPurpose::scratch);
    // Other memory than that of the pass around: a recorded step keeps what it was given.
    std::optional<MemoryPool::Scope> scope;
    if (pool_) scope.emplace(*pool_);
    const auto index = static_cast<size_t>(&candidate - work_.candidates.data());
    Tensor& out = index == 0 ? expected_ : found_;
    if (!out) out = Tensor::empty({work_.outputs}, DType::f32, device_);
    const std::function<void()> run = work_.prepare(index, out.data<float>());
    const auto& stopwatch = tuning_settings().stopwatch;
    const double found = stopwatch ? stopwatch(work_.key, candidate.name, run)
                                   : timed(device_, run, kGiveUp * best_);
    if (index == 0)
      norm_ = sum_of_squares(expected_);
    else
      compare(candidate.name);
    if (found > 0) best_ = std::min(best_, found);
    return found;
  }

 private:
  static constexpr double kGiveUp = 3;

  double sum_of_squares(const Tensor& x) const {
    if (!device_.is_gpu()) return kernels::cpu::sum_of_squares(x.numel(), x.data<float>());
    Tensor result = Tensor::zeros({1}, DType::f64, device_);
    Tensor room =
        Tensor::zeros({static_cast<int64_t>(gpu::kReductionWorkspace)}, DType::u8, device_);
    with_gpu(device_, [&](auto on) {
      gpu::sum_of_squares<decltype(on)::backend>(on.stream, x.numel(), x.data<float>(),
                                                 result.data<double>(), room.raw());
    });
    return result.item();
  }

  void compare(const std::string& name) {
    if (!std::isfinite(norm_) || norm_ == 0) return;  // nothing to compare with
    FRCNN_CALL(device_, axpy, work_.outputs, -1.0f, expected_.data<float>(), found_.data<float>());
    const double difference = std::sqrt(sum_of_squares(found_) / norm_);
    if (difference <= work_.tolerance) return;
    const std::string text =
        fmt::format("{}: {} gives another result than {} (relative difference {:.2g})",
                    work_.key.text(), name, work_.candidates.front().name, difference);
    if (tuning_settings().warn) tuning_settings().warn(text + "; it is not used");
    fail("[tuning] {}", text);
  }

  Device device_;
  const TunedWork& work_;
  std::optional<MemoryPool> pool_;
  Tensor expected_, found_;
  double norm_ = std::numeric_limits<double>::quiet_NaN();
  double best_ = std::numeric_limits<double>::infinity();
};

}  // namespace

size_t tuned_choice(Device device, const TunedWork& work) {
  Autotuner* const tuner = tuner_of(device);
  if (tuner == nullptr) return 0;
  if (RecordedSteps::recording()) return tuner->expected(work.key, work.candidates);
  Trial trial(device, work);
  return tuner->choose(work.key, work.candidates,
                       [&](const TuningCandidate& candidate) { return trial.seconds(candidate); });
}

int compute_capability(Device device) {
  static std::mutex mutex;
  static std::map<std::pair<Device::Type, int>, int> known;
  const std::lock_guard lock(mutex);
  int& capability = known[{device.type, device.index}];
  if (capability == 0)
    with_gpu(device, [&](auto on) {
      capability = gpu::device_info<decltype(on)::backend>(device.index).compute_capability;
    });
  return capability;
}

}  // namespace frcnn
