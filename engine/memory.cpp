#include "engine/memory.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <unordered_map>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kMiB = size_t{1} << 20;

/// Small requests share a few sizes; large ones are rounded to 64 KiB.
size_t rounded(size_t bytes) {
  const size_t step = bytes < kMiB ? 512 : 64 * 1024;
  return (bytes + step - 1) / step * step;
}

class CpuAllocator final : public CachingAllocator {
 public:
  CpuAllocator() : CachingAllocator(Device{}) {}

 protected:
  void* system_allocate(size_t bytes) override { return std::aligned_alloc(kAlignment, bytes); }
  void system_release(void* pointer) override { std::free(pointer); }
};

}  // namespace

std::string Device::name() const {
  return type == Type::cpu ? "cpu" : fmt::format("cuda:{}", index);
}

struct CachingAllocator::State {
  mutable std::mutex mutex;
  std::multimap<size_t, void*> kept;       // free blocks by size
  std::unordered_map<void*, size_t> used;  // size of every block in use
  MemoryStats stats;
};

CachingAllocator::CachingAllocator(Device device)
    : device_(device), state_(std::make_shared<State>()) {}

CachingAllocator& CachingAllocator::of(Device device) {
  check(device.type == Device::Type::cpu, "[memory] this build has no device {}; use cpu",
        device.name());
  // Never destroyed: tensors of other static objects may outlive it.
  static CpuAllocator* const cpu = new CpuAllocator();
  return *cpu;
}

void* CachingAllocator::allocate(size_t bytes) {
  if (bytes == 0) return nullptr;
  const size_t size = rounded(bytes);
  std::lock_guard lock(state_->mutex);
  State& s = *state_;
  ++s.stats.allocations;
  void* block = nullptr;
  size_t block_size = size;
  if (const auto found = s.kept.lower_bound(size);
      found != s.kept.end() && found->first <= size + std::max(size / 4, size_t{4096})) {
    block_size = found->first;
    block = found->second;
    s.kept.erase(found);
  } else {
    if (s.stats.limit && s.stats.reserved + size > s.stats.limit) release_cached_locked();
    if (s.stats.limit && s.stats.reserved + size > s.stats.limit)
      fail(
          "[memory] {}: {:.1f} MiB more would pass the limit of {:.1f} MiB ({:.1f} MiB in use); "
          "raise --mem-limit, or use smaller images or batches",
          device_.name(), double(size) / kMiB, double(s.stats.limit) / kMiB,
          double(s.stats.in_use) / kMiB);
    block = system_allocate(size);
    if (!block) {
      release_cached_locked();
      block = system_allocate(size);
    }
    if (!block)
      fail("[memory] {} has no {:.1f} MiB left ({:.1f} MiB in use); use smaller images or batches",
           device_.name(), double(size) / kMiB, double(s.stats.in_use) / kMiB);
    ++s.stats.system_calls;
    s.stats.reserved += size;
    s.stats.peak_reserved = std::max(s.stats.peak_reserved, s.stats.reserved);
  }
  s.used.emplace(block, block_size);
  s.stats.in_use += block_size;
  s.stats.peak_in_use = std::max(s.stats.peak_in_use, s.stats.in_use);
  return block;
}

void CachingAllocator::release(void* pointer) {
  if (!pointer) return;
  std::lock_guard lock(state_->mutex);
  const auto found = state_->used.find(pointer);
  FRCNN_INVARIANT(found != state_->used.end());
  state_->stats.in_use -= found->second;
  state_->kept.emplace(found->second, pointer);
  state_->used.erase(found);
}

MemoryStats CachingAllocator::stats() const {
  std::lock_guard lock(state_->mutex);
  return state_->stats;
}

void CachingAllocator::reset_peak() {
  std::lock_guard lock(state_->mutex);
  state_->stats.peak_in_use = state_->stats.in_use;
  state_->stats.peak_reserved = state_->stats.reserved;
}

void CachingAllocator::set_limit(size_t bytes) {
  std::lock_guard lock(state_->mutex);
  state_->stats.limit = bytes;
}

void CachingAllocator::release_cached() {
  std::lock_guard lock(state_->mutex);
  release_cached_locked();
}

void CachingAllocator::release_cached_locked() {
  for (const auto& [size, block] : state_->kept) {
    state_->stats.reserved -= size;
    system_release(block);
  }
  state_->kept.clear();
}

}  // namespace frcnn
