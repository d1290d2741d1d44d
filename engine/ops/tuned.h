#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/tuning.h"

namespace frcnn {

/// Work that several kernels can do, in float32 maps and matrices.
struct TunedWork {
  TuningKey key;
  std::vector<TuningCandidate> candidates;  ///< the first is the choice of the fixed rules
  int64_t outputs = 0;                      ///< numbers that the work writes
  /// Largest L2 norm of a candidate's outputs minus the first one's, relative to these. Far above
  /// rounding errors: what exceeds it is a fault of kernel, library or driver.
  double tolerance = 0;
  /// Makes candidate i ready (packed weights, workspace) and returns what runs it. Its outputs go
  /// to `out`, scratch memory; inputs are only read.
  std::function<std::function<void()>(size_t i, float* out)> prepare;
};

/// Index of the candidate to run: the fastest as measured on this device, now or earlier, where the
/// program's tuning is on (engine/tuning.h), else the first. While a step is being recorded
/// (RecordedSteps) nothing is measured.
size_t tuned_choice(Device device, const TunedWork& work);

/// The device's compute capability (90 for 9.0), asked for once.
int compute_capability(Device device);

}  // namespace frcnn
