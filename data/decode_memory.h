#pragma once

#include <cstddef>

namespace frcnn {

/// Bounds what the picture decoder may hold at a time on this thread: a small file can be made to
/// unpack into gigabytes. Beyond the bound the decoder is told that there is no memory, and gives
/// up with an error of its own. Without such an object nothing is bounded.
class DecodeMemory {
 public:
  explicit DecodeMemory(size_t most);
  ~DecodeMemory();
  DecodeMemory(const DecodeMemory&) = delete;
  DecodeMemory& operator=(const DecodeMemory&) = delete;
  /// Whether an allocation was refused.
  bool exceeded() const;
};

/// The allocator of the decoder.
void* decode_malloc(size_t size);
void* decode_realloc(void* memory, size_t size);
void decode_free(void* memory);

}  // namespace frcnn
