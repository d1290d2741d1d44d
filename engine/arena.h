#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace frcnn {

/// Memory of the CPU for large blocks: one range of addresses, of which pages are taken from the
/// system as blocks first reach them.
///
/// A request gets the smallest free block that holds it (of equal ones the lowest), cut to size;
/// freed neighbours merge. So blocks of many sizes, one after the other, need little more memory
/// than the most that was in use at once, and pages that were written once are not taken anew. Not
/// thread-safe.
class Arena {
 public:
  /// Sizes are rounded up to this; blocks are aligned to it.
  static constexpr size_t kGrain = size_t{64} << 10;

  /// What becomes of the pages of a freed block.
  enum class Freed : uint8_t { kept, returned };

  /// Reserves `reach` bytes of addresses (no memory); less where the system refuses, down to none.
  explicit Arena(size_t reach, Freed freed = Freed::kept);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// `size` bytes, a multiple of kGrain above 0. nullptr where no free range holds them or the
  /// system gives no memory.
  void* allocate(size_t size);
  /// Bytes that allocate(size) would take from the system.
  size_t growth(size_t size) const;
  /// Frees a block of allocate().
  void release(void* pointer);
  /// Returns the pages of all free blocks to the system.
  void trim();

  bool owns(const void* pointer) const;
  /// Bytes taken from the system: in use, and kept in free blocks.
  size_t resident() const { return resident_ * kGrain; }

 private:
  struct Place {
    size_t offset = 0, size = 0;
    bool found = false;
  };
  Place find(size_t size) const;
  size_t absent(size_t offset, size_t size) const;
  void give_back(size_t offset, size_t size);
  void add_free(size_t offset, size_t size);
  void remove_free(size_t offset, size_t size);

  Freed freed_;
  std::byte* base_ = nullptr;
  size_t reach_ = 0;                           // bytes of addresses
  size_t writable_ = 0;                        // bytes from base_ on that may be touched
  size_t resident_ = 0;                        // grains
  std::vector<bool> present_;                  // by grain
  std::map<size_t, size_t> free_;              // size by offset
  std::set<std::pair<size_t, size_t>> sizes_;  // (size, offset) of the same
  std::map<size_t, size_t> used_;              // size by offset
};

}  // namespace frcnn
