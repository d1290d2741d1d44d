#include "engine/memory.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <unordered_map>

#include "engine/arena.h"
#include "engine/dispatch.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kLarge = kMiB;  // blocks for the arena

/// Small requests share a few sizes; large ones are rounded to 64 KiB.
size_t rounded(size_t bytes) {
  const size_t step = bytes < kLarge ? 512 : Arena::kGrain;
  return (bytes + step - 1) / step * step;
}

/// Addresses to reserve: more than there is memory, so that gaps don't matter.
size_t arena_reach() {
#ifdef __SANITIZE_ADDRESS__
  return 0;  // each block from the system, where the sanitizer sees its bounds
#else
  const size_t memory =
      static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGE_SIZE));
  return std::min(2 * memory, size_t{1} << 40);
#endif
}

class CpuAllocator final : public CachingAllocator {
 public:
  CpuAllocator() : CachingAllocator(Device{}, arena_reach()) {}

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
thread_local CurrentPool current_pool;                                    // NOLINT
thread_local MemoryPurpose current_purpose = MemoryPurpose::activations;  // NOLINT
}  // namespace

MemoryPurposeScope::MemoryPurposeScope(MemoryPurpose purpose) : before_(current_purpose) {
  current_purpose = purpose;
}
MemoryPurposeScope::~MemoryPurposeScope() {
  current_purpose = before_;
}

struct CachingAllocator::State {
  struct Block {
    size_t size = 0;
    uint64_t pool = kCommon;
    MemoryPurpose purpose = MemoryPurpose::activations;
  };
  mutable std::mutex mutex;
  std::map<uint64_t, std::multimap<size_t, void*>> pools;  // free blocks by size
  std::unordered_map<void*, Block> used;
  std::unique_ptr<Arena> passing, lasting;  // none on a GPU
  MemoryStats stats;

  Arena* arena_for(MemoryPurpose purpose) const {
    const bool passes = purpose == MemoryPurpose::activations || purpose == MemoryPurpose::scratch;
    return (passes ? passing : lasting).get();
  }
  Arena* owner(const void* pointer) const {
    for (Arena* arena : {passing.get(), lasting.get()})
      if (arena && arena->owns(pointer)) return arena;
    return nullptr;
  }
};

CachingAllocator::CachingAllocator(Device device, size_t reach)
    : device_(device), state_(std::make_shared<State>()) {
  if (reach == 0) return;
  state_->passing = std::make_unique<Arena>(reach);
  state_->lasting = std::make_unique<Arena>(reach, Arena::Freed::returned);
}

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

void CachingAllocator::check_limit(size_t growth) {
  const MemoryStats& stats = state_->stats;
  if (stats.limit && stats.reserved + growth > stats.limit)
    fail(
        "[memory] {}: {:.1f} MiB more would pass the limit of {:.1f} MiB ({:.1f} MiB in use); "
        "raise --mem-limit, or use smaller images or batches",
        device_.name(), double(growth) / kMiB, double(stats.limit) / kMiB,
        double(stats.in_use) / kMiB);
}

/// nullptr where the arena has no room.
void* CachingAllocator::from_arena(Arena& arena, size_t size) {
  MemoryStats& stats = state_->stats;
  size_t growth = arena.growth(size);
  if (stats.limit && stats.reserved + growth > stats.limit) {
    release_cached_locked();
    growth = arena.growth(size);
    check_limit(growth);
  }
  const size_t before = arena.resident();
  void* block = arena.allocate(size);
  if (!block) return nullptr;
  stats.reserved += arena.resident() - before;
  stats.system_calls += growth > 0;
  return block;
}

void* CachingAllocator::from_system(size_t size) {
  MemoryStats& stats = state_->stats;
  if (stats.limit && stats.reserved + size > stats.limit) release_cached_locked();
  check_limit(size);
  void* block = system_allocate(size);
  if (!block) {
    release_cached_locked();
    block = system_allocate(size);
  }
  if (!block)
    fail("[memory] {} has no {:.1f} MiB left ({:.1f} MiB in use); use smaller images or batches",
         device_.name(), double(size) / kMiB, double(stats.in_use) / kMiB);
  ++stats.system_calls;
  stats.reserved += size;
  return block;
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
  Arena* const arena = s.arena_for(current_purpose);
  if (arena && size >= kLarge && pool == kCommon) block = from_arena(*arena, size);
  auto& kept = s.pools[pool];
  if (const auto found = kept.lower_bound(size);
      !block && found != kept.end() && found->first <= size + std::max(size / 4, size_t{4096})) {
    block_size = found->first;
    block = found->second;
    kept.erase(found);
  }
  if (!block) block = from_system(size);
  s.stats.peak_reserved = std::max(s.stats.peak_reserved, s.stats.reserved);
  s.used.emplace(block, State::Block{block_size, pool, current_purpose});
  s.stats.in_use += block_size;
  s.stats.by_purpose[static_cast<size_t>(current_purpose)] += block_size;
  if (s.stats.in_use > s.stats.peak_in_use) {
    s.stats.peak_in_use = s.stats.in_use;
    s.stats.peak_by_purpose = s.stats.by_purpose;
  }
  return block;
}

void CachingAllocator::release(void* pointer) {
  if (!pointer) return;
  std::lock_guard lock(state_->mutex);
  const auto found = state_->used.find(pointer);
  FRCNN_INVARIANT(found != state_->used.end());
  const State::Block block = found->second;
  state_->used.erase(found);
  state_->stats.in_use -= block.size;
  state_->stats.by_purpose[static_cast<size_t>(block.purpose)] -= block.size;
  if (Arena* const arena = state_->owner(pointer)) {
    const size_t before = arena->resident();
    arena->release(pointer);
    state_->stats.reserved -= before - arena->resident();
    return;
  }
  // Blocks of a pool that is gone are everybody's.
  const auto pool = state_->pools.find(block.pool);
  state_->pools[pool == state_->pools.end() ? kCommon : block.pool].emplace(block.size, pointer);
}

MemoryStats CachingAllocator::stats() const {
  std::lock_guard lock(state_->mutex);
  return state_->stats;
}

void CachingAllocator::reset_peak() {
  std::lock_guard lock(state_->mutex);
  state_->stats.peak_in_use = state_->stats.in_use;
  state_->stats.peak_by_purpose = state_->stats.by_purpose;
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
  for (Arena* arena : {state_->passing.get(), state_->lasting.get()}) {
    if (!arena) continue;
    const size_t before = arena->resident();
    arena->trim();
    state_->stats.reserved -= before - arena->resident();
  }
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
