#pragma once

#include <cstdint>

#include "kernels/launch/gpu.h"
#include "kernels/launch/layout.h"

namespace frcnn::kernels {

/// Precise RoI pooling (Jiang et al., "Acquisition of Localization Confidence for Accurate Object
/// Detection" (IoU-Net), ECCV 2018, section 3.2).
struct PreciseRoiParams {
  int64_t pooled_h = 7, pooled_w = 7;
  double scale_y = 1.0 / 16, scale_x = 1.0 / 16;  ///< map cells per image pixel (1 / stride)
};

/// A RoI (b, x1, y1, x2, y2) in image pixels reaches from x1 * scale_x to x2 * scale_x, where cell
/// i of the map is the point i, and is cut into equal bins. Each bin is the mean of the bilinearly
/// interpolated map over its area, by the exact integral. Beyond its border cells the map falls to
/// 0 within one cell and is 0 from there on.
///
/// The weight of cell (h, w) in a bin is a product of an integral along y and one along x:
///   y[r, c] = A_r x[b_r, c] B_r^T,   A_r (pooled_h, H),  B_r (pooled_w, W).
/// y has a continuous derivative in x1, y1, x2 and y2, which RoI pooling by maxima has not.
/// Equations: docs/kernels/precise_roi.md. A RoI with x2 <= x1 or y2 <= y1 has no area: its y is 0,
/// and nothing gets a gradient from it or to it.
///
/// The pooled features are plain (R, C, pooled_h, pooled_w), whatever the block of the feature map.
/// The caller has validated the batch indices: 0 <= b < N. Everything is deterministic.
namespace cpu {

/// y[r] = A_r x[b_r] B_r^T. Throws Error for RoIs that are not finite or lie beyond 1e7 cells. For
/// maps of a block that is no multiple of 16 a blocked copy is made.
template <typename T>
void precise_roi_forward(const MapLayout& x_layout, const PreciseRoiParams& params,
                         int64_t rois_count,
                         const T* x,     // x_layout
                         const T* rois,  // (R, 5) batch index, x1, y1, x2, y2 in image pixels
                         T* y);          // (R, C, pooled_h, pooled_w)

/// dx[b] = sum over RoIs r of image b, in order, of A_r^T dy[r] B_r. Writes all of dx.
template <typename T>
void precise_roi_backward(const MapLayout& x_layout, const PreciseRoiParams& params,
                          int64_t rois_count,
                          const T* rois,  // (R, 5)
                          const T* dy,    // (R, C, pooled_h, pooled_w)
                          T* dx);         // x_layout

/// drois[r, k] = sum over c, i, j of dy[r, c, i, j] times the derivative of y[r, c, i, j] by
/// coordinate k of RoI r, in closed form; 0 for the batch index.
template <typename T>
void precise_roi_backward_rois(const MapLayout& x_layout, const PreciseRoiParams& params,
                               int64_t rois_count,
                               const T* x,     // x_layout
                               const T* rois,  // (R, 5)
                               const T* dy,    // (R, C, pooled_h, pooled_w)
                               T* drois);      // (R, 5)

}  // namespace cpu

enum class PreciseRoiVersion : uint8_t { naive, channels_last, table };
inline constexpr gpu::KernelVersion kPreciseRoiVersions[] = {
    {"naive", "one thread, one number of y; bins are neighbours, as in NCHW"},
    {"channels_last", "neighbouring threads take neighbouring channels: 16-byte loads in NHWC"},
    {"table", "cells and weights once per block, in shared memory; y turned there before stores"},
};
enum class PreciseRoiBackwardVersion : uint8_t { naive, tile, pipelined };
inline constexpr gpu::KernelVersion kPreciseRoiBackwardVersions[] = {
    {"naive", "one thread, one number of dx: looks through all RoIs of its image"},
    {"tile", "a block owns 8x8 pixels of 32 channels and lists the RoIs that touch them"},
    {"pipelined", "the next RoI's gradients are copied while this one's are added"},
};
enum class PreciseRoiSlopesVersion : uint8_t { naive, table };
inline constexpr gpu::KernelVersion kPreciseRoiSlopesVersions[] = {
    {"naive", "one thread, one coordinate of a RoI"},
    {"table", "one block, one RoI: weights and slopes once, in shared memory, one load for all"},
};

/// The same on a GPU. `rois_count` is the number of rows that there is room for. With
/// `rois_count_device` (a number in device memory) only so many of them hold RoIs: the rest of y
/// and drois is written as 0, the rest of dy is not read. A RoI that is not finite, lies beyond 1e7
/// cells, or whose batch index names no image, gives 0 and gets no gradient (the CPU reports the
/// first two as errors; here nothing may wait for an answer).
///
/// Bounds of bins and weights are the CPU's, bit by bit; sums run along x, then along y, with fused
/// multiply-adds. No atomics: the same bits in every run. docs/kernels/roi_ops.md.
namespace gpu {

template <Backend backend, typename T>
void precise_roi_forward(Stream stream, const MapLayout& x_layout, const PreciseRoiParams& params,
                         int64_t rois_count,
                         const T* x,     // x_layout
                         const T* rois,  // (R, 5) batch index, x1, y1, x2, y2 in image pixels
                         T* y,           // (R, C, pooled_h, pooled_w)
                         const int32_t* rois_count_device = nullptr,
                         PreciseRoiVersion version = PreciseRoiVersion::table);

template <Backend backend, typename T>
void precise_roi_backward(Stream stream, const MapLayout& x_layout, const PreciseRoiParams& params,
                          int64_t rois_count,
                          const T* rois,  // (R, 5)
                          const T* dy,    // (R, C, pooled_h, pooled_w)
                          T* dx,          // x_layout
                          const int32_t* rois_count_device = nullptr,
                          PreciseRoiBackwardVersion version = PreciseRoiBackwardVersion::pipelined);

template <Backend backend, typename T>
void precise_roi_backward_rois(Stream stream, const MapLayout& x_layout,
                               const PreciseRoiParams& params, int64_t rois_count,
                               const T* x,     // x_layout
                               const T* rois,  // (R, 5)
                               const T* dy,    // (R, C, pooled_h, pooled_w)
                               T* drois,       // (R, 5)
                               const int32_t* rois_count_device = nullptr,
                               PreciseRoiSlopesVersion version = PreciseRoiSlopesVersion::table);

}  // namespace gpu
}  // namespace frcnn::kernels
