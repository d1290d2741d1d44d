#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "engine/device.h"

namespace frcnn {

/// Work on a GPU that is done again and again with inputs at the same addresses: a training pass,
/// an inference. Of each key the first call does the work as it comes, the second records it as a
/// graph (kernels/launch/gpu.h), and from the second on the graph is started: one call instead of
/// hundreds of launches. The tensors that the work makes and drops live in a memory pool of the
/// key.
///
/// The work may not wait for the host; whatever changes between calls must lie in tensors that
/// exist before (inputs, counters, weights). Not thread-safe.
class RecordedSteps {
 public:
  explicit RecordedSteps(Device device);
  ~RecordedSteps();
  RecordedSteps(const RecordedSteps&) = delete;
  RecordedSteps& operator=(const RecordedSteps&) = delete;

  void run(const std::string& key, const std::function<void()>& work);
  /// Keys recorded so far.
  size_t recorded() const;

  /// Whether this thread is recording: caches must then do what a replay will need (packed copies
  /// of weights that change), although their content is right at the moment.
  static bool recording();

 private:
  struct Step;
  Device device_;
  std::map<std::string, std::unique_ptr<Step>> steps_;
};

}  // namespace frcnn
