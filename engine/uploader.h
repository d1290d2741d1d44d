#pragma once

#include <cstddef>
#include <memory>

#include "engine/tensor.h"

namespace frcnn {

/// Copies inputs to a GPU without making the host wait. They go through page-locked memory, which
/// the device reads when its stream comes to the copy (from other memory the driver copies itself,
/// and the host stands still until the device has caught up). There are three blocks of it, used in
/// turn: the host runs at most two steps ahead.
class Uploader {
 public:
  explicit Uploader(Device device);
  ~Uploader();
  Uploader(const Uploader&) = delete;
  Uploader& operator=(const Uploader&) = delete;

  /// Room for the copies of one step, at most `bytes` in all (each rounded up to 64).
  void begin(size_t bytes);
  /// The stored elements of `source`, on the CPU, into `target`: same shape, type and layout.
  void copy(const Tensor& source, Tensor& target);
  void copy(const void* source, size_t bytes, Tensor& target);
  /// All copies of the step have been asked for.
  void end();

  /// What copy() takes of begin()'s room.
  static constexpr size_t rounded(size_t bytes) { return (bytes + 63) / 64 * 64; }

 private:
  struct Blocks;
  Device device_;
  std::unique_ptr<Blocks> blocks_;
};

}  // namespace frcnn
