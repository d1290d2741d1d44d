// Graphs under emulation: launches and copies kept as calls instead of being done.
#include "kernels/launch/check.h"
#include "kernels/launch/emulation/emulation.h"

namespace frcnn::kernels::emulation {

namespace {
thread_local std::vector<std::function<void()>>* recording = nullptr;
}  // namespace

bool recorded(const std::function<void()>& work) {
  if (recording == nullptr) return false;
  recording->push_back(work);
  return true;
}
std::vector<std::function<void()>> record(const std::function<void()>& body) {
  check(recording == nullptr, "[emulation] a graph is already being recorded");
  std::vector<std::function<void()>> work;
  recording = &work;
  try {
    body();
  } catch (...) {
    recording = nullptr;
    throw;
  }
  recording = nullptr;
  return work;
}
bool is_recording() {
  return recording != nullptr;
}

}  // namespace frcnn::kernels::emulation
