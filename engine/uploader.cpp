#include "engine/uploader.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>

#include "engine/dispatch.h"

namespace frcnn {

struct Uploader::Blocks {
  struct Block {
    std::byte* memory = nullptr;
    size_t size = 0;
    std::function<void()> record, wait, release;
  };
  std::array<Block, 3> blocks;
  size_t current = 0, used = 0;

  ~Blocks() {
    for (Block& block : blocks) {
      if (block.wait) block.wait();
      if (block.release) block.release();
    }
  }
};

Uploader::Uploader(Device device) : device_(device), blocks_(std::make_unique<Blocks>()) {
  with_gpu(device_, [&](auto on) {
    using Event = kernels::gpu::Event<decltype(on)::backend>;
    for (Blocks::Block& block : blocks_->blocks) {
      const auto event = std::make_shared<Event>();
      block.record = [event, stream = on.stream] { event->record(stream); };
      block.wait = [event] { event->wait(); };
    }
  });
}
Uploader::~Uploader() = default;

void Uploader::begin(size_t bytes) {
  blocks_->current = (blocks_->current + 1) % blocks_->blocks.size();
  blocks_->used = 0;
  Blocks::Block& block = blocks_->blocks[blocks_->current];
  block.wait();
  if (block.size >= bytes) return;
  if (block.release) block.release();
  block.size = std::max(bytes, 2 * block.size);
  with_gpu(device_, [&](auto on) {
    constexpr auto kBackend = decltype(on)::backend;
    void* memory = kernels::gpu::allocate_pinned<kBackend>(block.size);
    block.memory = static_cast<std::byte*>(memory);
    block.release = [memory] { kernels::gpu::release_pinned<kBackend>(memory); };
  });
}

void Uploader::copy(const void* source, size_t bytes, Tensor& target) {
  Blocks::Block& block = blocks_->blocks[blocks_->current];
  check(target.device() == device_ && target.stored_bytes() == bytes,
        "[upload] expected a target of {} bytes on {}, got {} on {}", bytes, device_.name(),
        target.stored_bytes(), target.device().name());
  if (bytes == 0) return;
  FRCNN_INVARIANT(blocks_->used + bytes <= block.size);
  std::byte* const staged = block.memory + blocks_->used;
  std::memcpy(staged, source, bytes);
  blocks_->used += rounded(bytes);
  with_gpu(device_, [&](auto on) {
    kernels::gpu::copy_to_device<decltype(on)::backend>(on.stream, target.raw(), staged, bytes);
  });
}

void Uploader::copy(const Tensor& source, Tensor& target) {
  check(!source.device().is_gpu() && source.shape() == target.shape() &&
            source.dtype() == target.dtype() && source.channel_block() == target.channel_block(),
        "[upload] expected {} {} on the CPU, got {} {} on {}", name_of(target.dtype()),
        target.shape().string(), name_of(source.dtype()), source.shape().string(),
        source.device().name());
  copy(source.raw(), source.stored_bytes(), target);
}

void Uploader::end() {
  blocks_->blocks[blocks_->current].record();
}

}  // namespace frcnn
