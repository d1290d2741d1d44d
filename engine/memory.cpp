#include "engine/memory.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <unordered_map>

#include "engine/dispatch.h"
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

/// Memory of a GPU. A block is given to the next request as soon as its tensor is gone, although
/// kernels that use it may still be queued: all work of a device is ordered in one stream, so the
/// next user's kernels run after them.
class GpuAllocator final : public CachingAllocator {
 public:
  explicit GpuAllocator(Device device) : CachingAllocator(device), device_(device) {}

 protected:
  void* system_allocate(size_t bytes) override {
    void* memory = nullptr;
    with_gpu(device_, [&](auto on) {
      try {
        memory = kernels::gpu::allocate<decltype(on)::backend>(bytes);
      } catch (const Error&) {  // allocate() says what to do about it
      }
    });
    return memory;
  }
  void system_release(void* pointer) override {
    with_gpu(device_, [&](auto on) {
      kernels::gpu::synchronize<decltype(on)::backend>(on.stream);
      kernels::gpu::release<decltype(on)::backend>(pointer);
    });
  }

 private:
  Device device_;
};

}  // namespace

namespace {
constexpr uint64_t kCommon = 0;  // the pool of everything that is in no MemoryPool

/// The innermost MemoryPool::Scope of a thread.
struct CurrentPool {
  Device device;
  uint64_t id = kCommon;
};
thread_local CurrentPool current_pool;  // NOLINT
}  // namespace

struct CachingAllocator::State {
  struct Block {
    size_t size = 0;
    uint64_t pool = kCommon;
  };
  mutable std::mutex mutex;
  std::map<uint64_t, std::multimap<size_t, void*>> pools;  // free blocks by size
  std::unordered_map<void*, Block> used;
  MemoryStats stats;
};

CachingAllocator::CachingAllocator(Device device)
    : device_(device), state_(std::make_shared<State>()) {}

CachingAllocator& CachingAllocator::of(Device device) {
  // Never destroyed: tensors of other static objects may outlive them.
  static CpuAllocator* const cpu = new CpuAllocator();
  if (!device.is_gpu()) return *cpu;
  static std::mutex* const mutex = new std::mutex();
  static auto* const gpus = new std::map<std::pair<Device::Type, int>, GpuAllocator*>();
  const std::lock_guard lock(*mutex);
  GpuAllocator*& allocator = (*gpus)[{device.type, device.index}];
  if (!allocator) allocator = new GpuAllocator(device);
  return *allocator;
}

void* CachingAllocator::allocate(size_t bytes) {
  if (bytes == 0) return nullptr;
  const size_t size = rounded(bytes);
  std::lock_guard lock(state_->mutex);
  State& s = *state_;
  ++s.stats.allocations;
  void* block = nullptr;
  size_t block_size = size;
  const uint64_t pool = current_pool.device == device_ ? current_pool.id : kCommon;
  auto& kept = s.pools[pool];
  if (const auto found = kept.lower_bound(size);
      found != kept.end() && found->first <= size + std::max(size / 4, size_t{4096})) {
    block_size = found->first;
    block = found->second;
    kept.erase(found);
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
  s.used.emplace(block, State::Block{block_size, pool});
  s.stats.in_use += block_size;
  s.stats.peak_in_use = std::max(s.stats.peak_in_use, s.stats.in_use);
  return block;
}

void CachingAllocator::release(void* pointer) {
  if (!pointer) return;
  std::lock_guard lock(state_->mutex);
  const auto found = state_->used.find(pointer);
  FRCNN_INVARIANT(found != state_->used.end());
  const State::Block block = found->second;
  state_->stats.in_use -= block.size;
  // Blocks of a pool that is gone are everybody's.
  const auto pool = state_->pools.find(block.pool);
  state_->pools[pool == state_->pools.end() ? kCommon : block.pool].emplace(block.size, pointer);
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
  auto& kept = state_->pools[kCommon];
  for (const auto& [size, block] : kept) {
    state_->stats.reserved -= size;
    system_release(block);
  }
  kept.clear();
}

MemoryPool::MemoryPool(Device device) : device_(device) {
  static std::atomic<uint64_t> counter{kCommon};
  id_ = ++counter;
  CachingAllocator::State& s = *CachingAllocator::of(device_).state_;
  const std::lock_guard lock(s.mutex);
  s.pools[id_];
}

MemoryPool::~MemoryPool() {
  CachingAllocator::State& s = *CachingAllocator::of(device_).state_;
  const std::lock_guard lock(s.mutex);
  s.pools[kCommon].merge(s.pools[id_]);
  s.pools.erase(id_);
}

MemoryPool::Scope::Scope(const MemoryPool& pool)
    : device_before_(current_pool.device), before_(current_pool.id) {
  current_pool = {pool.device_, pool.id_};
}
MemoryPool::Scope::~Scope() {
  current_pool = {device_before_, before_};
}

}  // namespace frcnn
