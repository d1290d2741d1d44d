#pragma once

#include <cstdint>
#include <string>

#include "model/faster_rcnn.h"

namespace frcnn {

/// Memory of tensors that training needs at its peak, in bytes, from the sizes of the layers.
struct MemoryEstimate {
  size_t weights = 0;    ///< parameters and buffers
  size_t gradients = 0;  ///< of what is trained
  size_t optimizer = 0;  ///< momenta, moments
  size_t packed = 0;     ///< copies of weights in the format of the kernels
  /// Kept for the backward pass, with the gradients on their way and the kernels' scratch memory.
  size_t activations = 0;
  std::string largest;  ///< the layer whose activations are largest
  size_t total() const { return weights + gradients + optimizer + packed + activations; }
};

/// For batches of `batch` pictures of that input size (the largest of a set). `state_arrays` is the
/// optimiser's state per weight: 1 for momentum, 2 for Adam. Layers of `model` that are not trained
/// keep nothing for the backward pass. Lists of boxes on the CPU are not counted.
MemoryEstimate estimate_training_memory(const FasterRcnn& model, int state_arrays, int64_t batch,
                                        int64_t height, int64_t width);

}  // namespace frcnn
