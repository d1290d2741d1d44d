#pragma once

#include <cstdint>

#include "kernels/launch/gpu.h"
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

/// dx[b] = sum over RoIs r of image b, in order, of A_r^T dy[r] B_r. Writes all of dx.
/// Deterministic, no atomics: a channel block belongs to one thread.
template <typename T>
void roi_align_backward(const MapLayout& x_layout, const RoiAlignParams& params, int64_t rois_count,
                        const T* rois,  // (R, 5)
                        const T* dy,    // (R, C, pooled_h, pooled_w)
                        T* dx);         // x_layout

/// drois[r, k] = sum over c, i, j of dy[r, c, i, j] times the derivative of y[r, c, i, j] by
/// coordinate k of RoI r; 0 for the batch index. Deterministic.
///
/// Held constant: the number of samples where it follows from the RoI's size (sampling_ratio <= 0),
/// and the least size of 1 unless `aligned` (a RoI below it moves with x1 and y1 alone). Samples
/// that were moved to the border cells, or count as 0, have no derivative. The interpolation has
/// kinks where a sample meets a cell: there it is the derivative towards larger coordinates.
template <typename T>
void roi_align_backward_rois(const MapLayout& x_layout, const RoiAlignParams& params,
                             int64_t rois_count,
                             const T* x,     // x_layout
                             const T* rois,  // (R, 5)
                             const T* dy,    // (R, C, pooled_h, pooled_w)
                             T* drois);      // (R, 5)

}  // namespace cpu

enum class RoiAlignVersion : uint8_t { naive, channels_last, table };
inline constexpr gpu::KernelVersion kRoiAlignVersions[] = {
    {"naive", "one thread, one number of y; bins are neighbours, as in NCHW"},
    {"channels_last", "neighbouring threads take neighbouring channels: 16-byte loads in NHWC"},
    {"table", "cells and weights once per block, in shared memory; y turned there before stores"},
};
enum class RoiAlignBackwardVersion : uint8_t { naive, tile, pipelined };
inline constexpr gpu::KernelVersion kRoiAlignBackwardVersions[] = {
    {"naive", "one thread, one number of dx: looks through all RoIs of its image"},
    {"tile", "a block owns 8x8 pixels of 32 channels and lists the RoIs that touch them"},
    {"pipelined", "the next RoI's gradients are copied while this one's are added"},
};
enum class RoiAlignSlopesVersion : uint8_t { naive, table };
inline constexpr gpu::KernelVersion kRoiAlignSlopesVersions[] = {
    {"naive", "one thread, one coordinate of a RoI"},
    {"table", "one block, one RoI: weights and slopes once, in shared memory, one load for all"},
};

/// The same on a GPU. `rois_count` is the number of rows that there is room for. With
/// `rois_count_device` (a number in device memory) only so many of them hold RoIs: the rest of y
/// and drois is written as 0, the rest of dy is not read. A RoI that is not finite, lies beyond 1e7
/// cells, or whose batch index names no image, gives 0 and gets no gradient (the CPU reports the
/// first two as errors; here nothing may wait for an answer).
///
/// Cells and weights are the CPU's, bit by bit. Sums run in the CPU's order, with fused
/// multiply-adds: `table`, `tile` and `pipelined` give the same bits as a CPU that has them;
/// `naive` and `channels_last` do not merge the weights of samples that share a cell, and differ by
/// rounding. No atomics: the same bits in every run. docs/kernels/roi_ops.md.
namespace gpu {

template <Backend backend, typename T>
void roi_align_forward(Stream stream, const MapLayout& x_layout, const RoiAlignParams& params,
                       int64_t rois_count,
                       const T* x,     // x_layout
                       const T* rois,  // (R, 5) batch index, x1, y1, x2, y2 in image pixels
                       T* y,           // (R, C, pooled_h, pooled_w)
                       const int32_t* rois_count_device = nullptr,
                       RoiAlignVersion version = RoiAlignVersion::table);

template <Backend backend, typename T>
void roi_align_backward(Stream stream, const MapLayout& x_layout, const RoiAlignParams& params,
                        int64_t rois_count,
                        const T* rois,  // (R, 5)
                        const T* dy,    // (R, C, pooled_h, pooled_w)
                        T* dx,          // x_layout
                        const int32_t* rois_count_device = nullptr,
                        RoiAlignBackwardVersion version = RoiAlignBackwardVersion::pipelined);

template <Backend backend, typename T>
void roi_align_backward_rois(Stream stream, const MapLayout& x_layout, const RoiAlignParams& params,
                             int64_t rois_count,
                             const T* x,     // x_layout
                             const T* rois,  // (R, 5)
                             const T* dy,    // (R, C, pooled_h, pooled_w)
                             T* drois,       // (R, 5)
                             const int32_t* rois_count_device = nullptr,
                             RoiAlignSlopesVersion version = RoiAlignSlopesVersion::table);

}  // namespace gpu
}  // namespace frcnn::kernels
