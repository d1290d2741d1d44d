#pragma once

#include "engine/tensor.h"
#include "kernels/pooling/avg_pool.h"
#include "kernels/pooling/max_pool.h"
#include "kernels/pooling/precise_roi.h"
#include "kernels/pooling/roi_align.h"
#include "kernels/pooling/roi_pool.h"

namespace frcnn {

/// Max pooling of x (N, C, H, W); the result keeps x's channel block. Also of maps of reduced
/// precision (engine/reduced_layer.h).
Tensor max_pool2d(const Tensor& x, const kernels::MaxPoolParams& params);
/// Average pooling of x (N, C, H, W); the result keeps x's channel block.
Tensor avg_pool2d(const Tensor& x, const kernels::AvgPoolParams& params);
/// Means of the channels of x (N, C, H, W): (N, C, 1, 1), in x's channel block.
Tensor global_avg_pool2d(const Tensor& x);
/// Adaptive max pooling to (N, C, out_h, out_w).
Tensor adaptive_max_pool2d(const Tensor& x, int64_t out_h, int64_t out_w);
/// RoI max pooling of x (N, C, H, W) over rois (R, 5): batch index, x1, y1, x2, y2 in image pixels.
/// Returns plain (R, C, pooled_h, pooled_w). No gradient flows to the rois: bounds of bins are
/// rounded.
Tensor roi_pool(const Tensor& x, const Tensor& rois, const kernels::RoiPoolParams& params);
/// RoIAlign, same shapes. Gradients flow to the map and, where rois require one, to x1, y1, x2, y2.
Tensor roi_align(const Tensor& x, const Tensor& rois, const kernels::RoiAlignParams& params);
/// Precise RoI pooling, same shapes and gradients.
Tensor precise_roi(const Tensor& x, const Tensor& rois, const kernels::PreciseRoiParams& params);

}  // namespace frcnn
