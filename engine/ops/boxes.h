#pragma once

#include "engine/tensor.h"
#include "kernels/boxes/codec.h"

namespace frcnn {

/// RoIs (R, 5) of sampled proposals, differentiable in the RPN's deltas: row r is the proposal of
/// anchor sources[r] % n of image sources[r] / n, decoded and clipped, or constants[r] where the
/// source is -1 (kernels/boxes/proposal_decode.h). deltas (N n, 4), anchors (n, 4), limits (N, 4)
/// as kernels::ImageLimits, sources (R) i32 without repetition, constants (R, 5). A repeated source
/// throws Error in the backward pass; on a GPU it makes gradients NaN.
Tensor proposal_decode(const Tensor& deltas, const Tensor& anchors, const Tensor& limits,
                       const Tensor& sources, const Tensor& constants);

/// `deltas` (R, 4 G), unchanged, for a loss of (deltas - targets) whose targets follow their RoIs:
/// the gradient by the RoIs is that which the loss has through targets (R, 4) = encode(object, RoI)
/// by `codec` (kernels/boxes/roi_targets.h). Differentiable in deltas and rois (R, 5).
Tensor with_moving_targets(const Tensor& deltas, const Tensor& targets, const Tensor& rois,
                           const kernels::BoxCodecParams& codec);

}  // namespace frcnn
