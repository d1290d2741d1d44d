#pragma once

#include <cstdint>

#include "kernels/launch/gpu.h"
#include "kernels/launch/layout.h"

namespace frcnn::kernels {

/// RoI max pooling (Girshick, "Fast R-CNN", ICCV 2015, section 2.1, with the bins of the original
/// code, which torchvision.ops.roi_pool keeps).
struct RoiPoolParams {
  int64_t pooled_h = 7, pooled_w = 7;
  double scale_y = 1.0 / 16, scale_x = 1.0 / 16;  ///< map cells per image pixel (1 / stride)
};

/// A RoI (b, x1, y1, x2, y2) in image pixels covers the cells
///   x1' = round(x1 * scale_x) .. x2' = round(x2 * scale_x), both included (halves away from zero),
/// so its width in cells is max(x2' - x1' + 1, 1); likewise in y. Bin i of n over a width of L
/// cells is [x1' + floor(i * L / n), x1' + ceil((i + 1) * L / n)), clipped to the map: bins may
/// overlap by a cell. A bin without a cell gives 0 and argmax -1. The quotient L / n is taken in T,
/// as the original does.
///
/// The pooled features are plain (R, C, pooled_h, pooled_w), ready for a dense layer, whatever the
/// block of the feature map. The caller has validated the batch indices: 0 <= b < N.
namespace cpu {

/// y[r, c, i, j] = max of x[b_r, c, h, w] over bin (i, j) of RoI r. NaN in a bin propagates. Of
/// equal values the first in row-major order wins. argmax (nullptr at inference) receives h * W +
/// w. Deterministic. For maps of a block that is no multiple of 16 a blocked copy is made.
template <typename T>
void roi_pool_forward(const MapLayout& x_layout, const RoiPoolParams& params, int64_t rois_count,
                      const T* x,        // x_layout
                      const T* rois,     // (R, 5) batch index, x1, y1, x2, y2 in image pixels
                      T* y,              // (R, C, pooled_h, pooled_w)
                      int32_t* argmax);  // (R, C, pooled_h, pooled_w), or nullptr

/// dx[b, c, h, w] = sum of dy[r, c, i, j] where argmax[r, c, i, j] = h * W + w and b_r = b, in
/// order of r, i, j. RoIs are constants: no gradient flows to them. Writes all of dx.
/// Deterministic, no atomics: a channel belongs to one thread.
template <typename T>
void roi_pool_backward(const MapLayout& x_layout, const RoiPoolParams& params, int64_t rois_count,
                       const T* rois,          // (R, 5): only the batch indices are read
                       const T* dy,            // (R, C, pooled_h, pooled_w)
                       const int32_t* argmax,  // (R, C, pooled_h, pooled_w)
                       T* dx);                 // x_layout

}  // namespace cpu

enum class RoiPoolVersion : uint8_t { naive, channels_last, table };
inline constexpr gpu::KernelVersion kRoiPoolVersions[] = {
    {"naive", "one thread, one number of y; bins are neighbours, as in NCHW"},
    {"channels_last", "neighbouring threads take neighbouring channels: 16-byte loads in NHWC"},
    {"table", "bounds of bins once per block, in shared memory; y turned there before stores"},
};
enum class RoiPoolBackwardVersion : uint8_t { naive, tile, pipelined };
inline constexpr gpu::KernelVersion kRoiPoolBackwardVersions[] = {
    {"naive", "one thread, one number of dx: compares every argmax of its image and channel"},
    {"tile", "a block owns 8x8 pixels of 32 channels and lists the RoIs that touch them"},
    {"pipelined", "the next RoI's gradients are copied while this one's are added"},
};

/// The same on a GPU, with the CPU's bits: y, argmax and dx. `rois_count` is the number of rows
/// that there is room for. With `rois_count_device` (a number in device memory) only so many of
/// them hold RoIs: the rest of y is written as 0, of argmax as -1, and of dy is not read. A RoI
/// that is not finite, lies beyond 1e7 cells, or whose batch index names no image, has empty bins
/// (the CPU reports the first two as errors; here nothing may wait for an answer).
///
/// Backward gathers without atomics. `tile` and `pipelined` read the RoIs' corners, too, and leave
/// out those that cannot touch a piece of dx: they must be the RoIs of the forward pass.
/// docs/kernels/roi_ops.md.
namespace gpu {

template <Backend backend, typename T>
void roi_pool_forward(Stream stream, const MapLayout& x_layout, const RoiPoolParams& params,
                      int64_t rois_count,
                      const T* x,       // x_layout
                      const T* rois,    // (R, 5) batch index, x1, y1, x2, y2 in image pixels
                      T* y,             // (R, C, pooled_h, pooled_w)
                      int32_t* argmax,  // (R, C, pooled_h, pooled_w), or nullptr
                      const int32_t* rois_count_device = nullptr,
                      RoiPoolVersion version = RoiPoolVersion::table);

template <Backend backend, typename T>
void roi_pool_backward(Stream stream, const MapLayout& x_layout, const RoiPoolParams& params,
                       int64_t rois_count,
                       const T* rois,          // (R, 5)
                       const T* dy,            // (R, C, pooled_h, pooled_w)
                       const int32_t* argmax,  // (R, C, pooled_h, pooled_w)
                       T* dx,                  // x_layout
                       const int32_t* rois_count_device = nullptr,
                       RoiPoolBackwardVersion version = RoiPoolBackwardVersion::pipelined);

}  // namespace gpu
}  // namespace frcnn::kernels
