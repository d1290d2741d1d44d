#pragma once

#include <cstdint>

#include "kernels/boxes/codec.h"

namespace frcnn::kernels {

/// How a box loss reaches the RoIs through its targets (non-approximate joint training; Ren et al.,
/// section 3.2). The target of RoI (x, y, w, h) is t = (encode(object, RoI) - mean) / std
/// (codec.h): a RoI that moves takes its target with it,
///   d tx / d x = -1 / (w std_x),   d tx / d w = -(tx std_x + mean_x) / (w std_x),
///   d tw / d w = -1 / (w std_w),
/// likewise y and h. A loss of (deltas - targets) has by its targets minus the gradient that it has
/// by its deltas.
namespace cpu {

/// drois[r] = (0, gradient by x1, y1, x2, y2) from the loss's gradient by the deltas; rows whose
/// gradient by the deltas is 0 (background, unused rows) get 0 and may have any RoI.
template <typename T>
void roi_targets_backward(const BoxCodecParams& params, int64_t rows, int64_t groups,
                          const T* rois,     // (rows, 5) image, x1, y1, x2, y2
                          const T* targets,  // (rows, 4)
                          const T* ddeltas,  // (rows, 4 groups): at most one group is not 0
                          T* drois);         // (rows, 5)

}  // namespace cpu

/// The same on a GPU. No atomics: the same bits in every run.
namespace gpu {

template <Backend backend, typename T>
void roi_targets_backward(Stream stream, const BoxCodecParams& params, int64_t rows, int64_t groups,
                          const T* rois, const T* targets, const T* ddeltas, T* drois);

}  // namespace gpu
}  // namespace frcnn::kernels
