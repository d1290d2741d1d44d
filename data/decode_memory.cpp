#include "data/decode_memory.h"

#include <cstdint>
#include <cstdlib>

namespace frcnn {
namespace {

/// Stands before each block and keeps its alignment.
struct alignas(std::max_align_t) Head {
  size_t size;
};

struct Bound {
  size_t used = 0, most = SIZE_MAX;
  bool exceeded = false;
};

Bound& bound() {
  thread_local Bound b;
  return b;
}

/// Whether `more` bytes in place of `less` stay within the bound; counts them if so.
bool take(size_t more, size_t less) {
  Bound& b = bound();
  const size_t rest = b.used - (less < b.used ? less : b.used);
  if (more > b.most || rest > b.most - more) {
    b.exceeded = true;
    return false;
  }
  b.used = rest + more;
  return true;
}

}  // namespace

DecodeMemory::DecodeMemory(size_t most) {
  bound() = {0, most, false};
}

DecodeMemory::~DecodeMemory() {
  bound() = {};
}

bool DecodeMemory::exceeded() const {
  return bound().exceeded;
}

void* decode_malloc(size_t size) {
  return decode_realloc(nullptr, size);
}

void* decode_realloc(void* memory, size_t size) {
  Head* head = memory == nullptr ? nullptr : static_cast<Head*>(memory) - 1;
  const size_t before = head == nullptr ? 0 : head->size;
  if (size > SIZE_MAX - sizeof(Head) || !take(size, before)) return nullptr;
  head = static_cast<Head*>(std::realloc(head, sizeof(Head) + size));
  if (head == nullptr) {
    take(before, size);
    return nullptr;
  }
  head->size = size;
  return head + 1;
}

void decode_free(void* memory) {
  if (memory == nullptr) return;
  Head* head = static_cast<Head*>(memory) - 1;
  take(0, head->size);
  std::free(head);
}

}  // namespace frcnn
