#pragma once

#include <cstdint>

#include "kernels/launch/layout.h"

namespace frcnn::kernels {

/// RoIAlign (He et al., "Mask R-CNN", ICCV 2017, section 3), with torchvision.ops.roi_align's
/// rules.
struct RoiAlignParams {
  int64_t pooled_h = 7, pooled_w = 7;
  double scale_y = 1.0 / 16, scale_x = 1.0 / 16;  ///< map cells per image pixel (1 / stride)
  int64_t sampling_ratio = 2;  ///< samples per bin and axis; <= 0: ceil(RoI size / pooled size)
  bool aligned = false;        ///< true: shift by half a cell, no minimum size
};

/// A RoI (b, x1, y1, x2, y2) in image pixels starts at x1 * scale_x - offset, offset = 0.5 when
/// `aligned`, else 0, and is (x2 - x1) * scale_x wide, at least 1 unless `aligned`. It is cut into
/// equal bins; each bin is the mean over sampling_ratio x sampling_ratio points, evenly spread
/// inside it, of the bilinearly interpolated map. A point outside [-1, H] x [-1, W] counts as 0.
///
/// Both the interpolation and the set of points are products of a part in y and a part in x, so
///   y[r, c] = A_r x[b_r, c] B_r^T  with small sparse matrices A_r (pooled_h, H) and B_r (pooled_w,
///   W):
/// they are made once per RoI and used for all channels.
///
/// The pooled features are plain (R, C, pooled_h, pooled_w), whatever the block of the feature map.
/// The caller has validated the batch indices: 0 <= b < N.
namespace cpu {

/// y[r] = A_r x[b_r] B_r^T. Deterministic. For maps of a block that is no multiple of 16 a blocked
/// copy is made.
template <typename T>
void roi_align_forward(const MapLayout& x_layout, const RoiAlignParams& params, int64_t rois_count,
                       const T* x,     // x_layout
                       const T* rois,  // (R, 5) batch index, x1, y1, x2, y2 in image pixels
                       T* y);          // (R, C, pooled_h, pooled_w)

/// dx[b] = sum over RoIs r of image b, in order, of A_r^T dy[r] B_r. RoIs are constants here.
/// Writes all of dx. Deterministic, no atomics: a channel block belongs to one thread.
template <typename T>
void roi_align_backward(const MapLayout& x_layout, const RoiAlignParams& params, int64_t rois_count,
                        const T* rois,  // (R, 5)
                        const T* dy,    // (R, C, pooled_h, pooled_w)
                        T* dx);         // x_layout

}  // namespace cpu
}  // namespace frcnn::kernels
