#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace frcnn {

/// Copies of one layer's weights in the formats that its kernels prefer. A copy is made at the
/// first request and made again when the weights have changed (Tensor::version()). Thread-safe.
class PackedWeights {
 public:
  /// The copy of `weights` in `format`, `bytes` long, written by pack(source, destination).
  Tensor get(const Tensor& weights, const std::string& format, size_t bytes,
             const std::function<void(void* destination)>& pack);
  /// The cache for a pass with `weights`, nullptr for none. On the CPU a pass that is recorded and
  /// trains them has none: the coming update makes every copy void, and packing takes a hundredth
  /// of the pass. What `cache` has kept since an inference is freed then. On a GPU a recorded step
  /// reads the copies at fixed places, so they stay.
  static PackedWeights* unless_trained(PackedWeights* cache, const Tensor& weights, bool recording);
  void clear();

 private:
  struct Entry {
    std::string format;
    uint64_t weights_id = 0, version = 0;
    Tensor copy;
  };
  std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace frcnn
