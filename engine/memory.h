#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/device.h"

namespace frcnn {

class Arena;

/// What a block of memory is for.
enum class MemoryPurpose : uint8_t {
  activations,  ///< results of operations, their gradients, and whatever names nothing else
  weights,      ///< parameters and buffers
  gradients,    ///< of parameters
  optimizer,    ///< its state: momenta, moments, averages
  packed,       ///< copies of weights in the format of a kernel that are kept
  scratch       ///< what a kernel needs while it runs
};
inline constexpr std::array<const char*, 6> kMemoryPurposes = {
    "activations", "weights", "gradients", "optimizer", "packed weights", "scratch"};
/// Bytes by purpose.
using MemoryByPurpose = std::array<size_t, kMemoryPurposes.size()>;

/// What this thread asks for while it lives is for `purpose`. Scopes nest.
class MemoryPurposeScope {
 public:
  explicit MemoryPurposeScope(MemoryPurpose purpose);
  ~MemoryPurposeScope();
  MemoryPurposeScope(const MemoryPurposeScope&) = delete;
  MemoryPurposeScope& operator=(const MemoryPurposeScope&) = delete;

 private:
  MemoryPurpose before_;
};

/// What a device's caching allocator has done so far, in bytes.
struct MemoryStats {
  size_t in_use = 0;                  ///< held by tensors now
  size_t peak_in_use = 0;             ///< most ever held by tensors since reset_peak()
  size_t reserved = 0;                ///< taken from the system: in use + kept for reuse
  size_t peak_reserved = 0;           ///< most ever taken since reset_peak()
  size_t limit = 0;                   ///< limit on `reserved`; 0 means none
  uint64_t allocations = 0;           ///< requests served
  uint64_t system_calls = 0;          ///< requests that had to go to the system
  MemoryByPurpose by_purpose{};       ///< what `in_use` is for
  MemoryByPurpose peak_by_purpose{};  ///< what `peak_in_use` was for
};

/// Memory of one device, kept for reuse after a tensor lets go of it.
///
/// A freed block serves the next request that it fits without wasting more than a quarter. On the
/// CPU blocks from 1 MiB on come from two Arenas, where freed neighbours merge: one for activations
/// and scratch memory, one for what stays from pass to pass, which would lie in the way of the
/// next pass otherwise, and goes back to the system when it is freed. Blocks are aligned to 64
/// bytes. Thread-safe.
class CachingAllocator {
 public:
  /// The allocator of `device`; lives as long as the program.
  static CachingAllocator& of(Device device);

  virtual ~CachingAllocator() = default;
  /// `bytes` of uninitialised memory (nullptr for 0). Throws Error with advice when the limit would
  /// be passed even after releasing all kept blocks, or when the system has no more.
  void* allocate(size_t bytes);
  /// Gives back what allocate() returned.
  void release(void* pointer);

  MemoryStats stats() const;
  void reset_peak();
  /// Sets the limit on memory taken from the system; 0 removes it (`--mem-limit`).
  void set_limit(size_t bytes);
  /// Returns all kept blocks to the system.
  void release_cached();

 protected:
  /// `reach`: of each arena (engine/arena.h); 0 for none.
  explicit CachingAllocator(Device device, size_t reach = 0);
  friend class MemoryPool;
  virtual void* system_allocate(size_t bytes) = 0;  ///< nullptr when there is no more
  virtual void system_release(void* pointer) = 0;

 private:
  struct State;
  void* from_arena(Arena& arena, size_t size);
  void* from_system(size_t size);
  void check_limit(size_t growth);
  void release_cached_locked();
  Device device_;
  std::shared_ptr<State> state_;
};

/// Memory of a device kept apart from all other. Blocks that are taken while a Scope is alive
/// belong to the pool: after their release they serve only its own later requests. A recorded graph
/// (kernels/launch/gpu.h) uses the addresses of its recording for ever: the pool keeps them from
/// being given to anybody else. At the pool's end its blocks return to the common store.
class MemoryPool {
 public:
  explicit MemoryPool(Device device);
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  /// Requests of this thread for the pool's device go to the pool. Scopes nest.
  class Scope {
   public:
    explicit Scope(const MemoryPool& pool);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Device device_before_;
    uint64_t before_;
  };

 private:
  Device device_;
  uint64_t id_;
};

}  // namespace frcnn
