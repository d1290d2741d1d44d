#include "engine/recorded_step.h"

#include <algorithm>

#include "engine/dispatch.h"
#include "engine/memory.h"

namespace frcnn {
namespace {
thread_local bool g_recording = false;  // NOLINT
}

struct RecordedSteps::Step {
  explicit Step(Device device) : pool(device) {}
  MemoryPool pool;
  std::function<void()> replay;  // empty until the second call
};

RecordedSteps::RecordedSteps(Device device) : device_(device) {}
RecordedSteps::~RecordedSteps() = default;

bool RecordedSteps::recording() {
  return g_recording;
}

size_t RecordedSteps::recorded() const {
  return static_cast<size_t>(std::count_if(
      steps_.begin(), steps_.end(), [](const auto& entry) { return bool{entry.second->replay}; }));
}

void RecordedSteps::run(const std::string& key, const std::function<void()>& work) {
  std::unique_ptr<Step>& step = steps_[key];
  if (!step) {
    step = std::make_unique<Step>(device_);
    const MemoryPool::Scope scope(step->pool);
    return work();
  }
  if (!step->replay)
    with_gpu(device_, [&](auto on) {
      using Graph = kernels::gpu::Graph<decltype(on)::backend>;
      const MemoryPool::Scope scope(step->pool);
      const auto graph = std::make_shared<Graph>(on.stream, [&] {
        g_recording = true;
        try {
          work();
        } catch (...) {
          g_recording = false;
          throw;
        }
        g_recording = false;
      });
      step->replay = [graph, stream = on.stream] { graph->replay(stream); };
    });
  step->replay();
}

}  // namespace frcnn
