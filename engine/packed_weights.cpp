#include "engine/packed_weights.h"

#include "engine/byte_buffer.h"
#include "engine/recorded_step.h"

namespace frcnn {

Tensor PackedWeights::get(const Tensor& weights, const std::string& format, size_t bytes,
                          const std::function<void(void*)>& pack) {
  std::lock_guard lock(mutex_);
  Entry* entry = nullptr;
  for (Entry& e : entries_)
    if (e.format == format && e.weights_id == weights.id()) entry = &e;
  // A recorded step must pack weights that training changes, even if they have not changed just
  // now.
  const bool replayed = RecordedSteps::recording() && weights.requires_grad();
  if (entry && entry->version == weights.version() && !replayed) return entry->copy;
  if (!entry) {
    entries_.push_back(
        {format, weights.id(), 0, byte_buffer(bytes, weights.device(), MemoryPurpose::packed)});
    entry = &entries_.back();
  }
  pack(entry->copy.raw());
  entry->version = weights.version();
  return entry->copy;
}

PackedWeights* PackedWeights::unless_trained(PackedWeights* cache, const Tensor& weights,
                                             bool recording) {
  if (!cache || !recording || !weights.requires_grad() || weights.device().is_gpu()) return cache;
  cache->clear();
  return nullptr;
}

void PackedWeights::clear() {
  std::lock_guard lock(mutex_);
  entries_.clear();
}

}  // namespace frcnn
