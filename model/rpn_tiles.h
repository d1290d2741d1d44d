#pragma once

#include <vector>

#include "model/gpu_pipeline.h"
#include "model/rpn.h"
#include "model/targets.h"

namespace frcnn {

// The RPN on the sampled cells alone (rpn.tiles): anchors are sampled before the RPN runs, because
// labels depend on sizes and objects only. What is not sampled has no loss, so losses and gradients
// are those of the RPN on the whole map.

/// The cells that hold a sampled anchor, and what the RPN should answer there. A tile has one row
/// per anchor of its cell, of which those that were not sampled have label -1.
struct RpnTiles {
  Tensor cells, places;       ///< as gather_tiles() takes them
  Tensor labels;              ///< (tiles * A) i32
  Tensor deltas;              ///< (tiles * A, 4)
  std::vector<int64_t> rows;  ///< of labels and deltas, by image
};

/// On the CPU: as many tiles as there are sampled cells, but one unused tile for an image without.
/// labels (images * H * W * A) and deltas as in RpnTargets.
RpnTiles rpn_tiles(const Tensor& labels, const Tensor& deltas, int64_t images,
                   int64_t anchors_per_cell);

/// On a GPU, where the host does not know how many cells there are: `batch` tiles per image (no
/// more than cells), of which some may be unused.
RpnTiles gpu_rpn_tiles(const GpuRpnTargets& targets, int64_t images, int64_t anchors_per_cell,
                       int64_t batch);

}  // namespace frcnn
