#include "engine/arena.h"

#include <sys/mman.h>

#include <iterator>

#include "kernels/launch/check.h"

namespace frcnn {

Arena::Arena(size_t reach, Freed freed) : freed_(freed) {
  for (size_t bytes = reach / kGrain * kGrain; bytes >= kGrain;
       bytes = bytes / 2 / kGrain * kGrain) {
    // A grain more than needed, so that the first block can be aligned to a grain.
    void* range = mmap(nullptr, bytes + kGrain, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) continue;
    const size_t past = reinterpret_cast<uintptr_t>(range) % kGrain;
    std::byte* const begin = static_cast<std::byte*>(range);
    base_ = begin + (past ? kGrain - past : 0);
    if (base_ > begin) munmap(begin, static_cast<size_t>(base_ - begin));
    munmap(base_ + bytes, past ? past : kGrain);
    reach_ = bytes;
    break;
  }
  present_.resize(reach_ / kGrain);
  if (reach_) add_free(0, reach_);
}

Arena::~Arena() {
  if (reach_) munmap(base_, reach_);
}

Arena::Place Arena::find(size_t size) const {
  if (free_.empty()) return {};
  // The last free block reaches to the end of the addresses: it is cut when no other serves.
  const auto place = sizes_.lower_bound({size, 0});
  if (place == sizes_.end()) return {};
  return {place->second, place->first, true};
}

size_t Arena::absent(size_t offset, size_t size) const {
  size_t grains = 0;
  for (size_t g = offset / kGrain; g < (offset + size) / kGrain; ++g) grains += !present_[g];
  return grains * kGrain;
}

size_t Arena::growth(size_t size) const {
  const Place place = find(size);
  return place.found ? absent(place.offset, size) : size;
}

void* Arena::allocate(size_t size) {
  FRCNN_INVARIANT(size > 0 && size % kGrain == 0);
  const Place place = find(size);
  if (!place.found) return nullptr;
  const size_t end = place.offset + size;
  if (end > writable_) {
    if (mprotect(base_ + writable_, end - writable_, PROT_READ | PROT_WRITE) != 0) return nullptr;
    writable_ = end;
  }
  for (size_t g = place.offset / kGrain; g < end / kGrain; ++g) {
    resident_ += !present_[g];
    present_[g] = true;
  }
  remove_free(place.offset, place.size);
  if (place.size > size) add_free(end, place.size - size);
  used_.emplace(place.offset, size);
  return base_ + place.offset;
}

void Arena::release(void* pointer) {
  FRCNN_INVARIANT(owns(pointer));
  const auto block = used_.find(static_cast<size_t>(static_cast<std::byte*>(pointer) - base_));
  FRCNN_INVARIANT(block != used_.end());
  size_t offset = block->first, size = block->second;
  used_.erase(block);
  if (freed_ == Freed::returned) give_back(offset, size);
  const auto after = free_.find(offset + size);
  if (after != free_.end()) {
    const size_t more = after->second;
    remove_free(offset + size, more);
    size += more;
  }
  const auto before = free_.lower_bound(offset);
  if (before != free_.begin()) {
    const auto [start, length] = *std::prev(before);
    if (start + length == offset) {
      remove_free(start, length);
      offset = start;
      size += length;
    }
  }
  add_free(offset, size);
}

void Arena::trim() {
  for (const auto& [offset, size] : free_) give_back(offset, size);
}

void Arena::give_back(size_t offset, size_t size) {
  const size_t last = (offset + size) / kGrain;
  for (size_t g = offset / kGrain; g < last;) {
    size_t end = g;
    while (end < last && present_[end]) present_[end++] = false;
    if (end > g) {
      madvise(base_ + g * kGrain, (end - g) * kGrain, MADV_DONTNEED);
      resident_ -= end - g;
    }
    g = end + 1;
  }
}

bool Arena::owns(const void* pointer) const {
  const auto* at = static_cast<const std::byte*>(pointer);
  return reach_ > 0 && at >= base_ && at < base_ + reach_;
}

void Arena::add_free(size_t offset, size_t size) {
  free_.emplace(offset, size);
  sizes_.emplace(size, offset);
}

void Arena::remove_free(size_t offset, size_t size) {
  free_.erase(offset);
  sizes_.erase({size, offset});
}

}  // namespace frcnn
