#pragma once

#include <cstdint>

#include "kernels/boxes/batch.h"
#include "kernels/launch/gpu.h"

namespace frcnn::kernels {

/// The way from the RPN's deltas to the RoIs that were sampled from its proposals, for gradients
/// through the proposals' coordinates (non-approximate joint training; Ren et al., section 3.2).
///
/// A row whose source is s >= 0 is the proposal of anchor s % count of image s / count, decoded and
/// clipped as the proposal layer does (kernels/boxes/codec.h):
///   w = wa exp(min(tw, limit)),  x = xa + tx wa,  x1 = x - w / 2,  x2 = x + w / 2,  within [0,
///   width],
/// likewise y. A row whose source is -1 is a constant: an object that was added to the proposals,
/// or an unused row.
///
/// No two rows may have the same source: every anchor's deltas then belong to one row, and the
/// gradients need no additions. Suppression and sampling give such rows.
namespace cpu {

/// Writes all of rois. Throws Error when a source is out of range.
template <typename T>
void proposal_decode(int64_t images, int64_t count, int64_t rows,
                     const T* anchors,              // (count, 4), the same for all images
                     const T* deltas,               // (images, count, 4)
                     const ImageLimits<T>* limits,  // (images)
                     const int32_t* sources,        // (rows)
                     const T* constants,            // (rows, 5), read where the source is -1
                     T* rois);                      // (rows, 5) image, x1, y1, x2, y2

/// ddeltas[s] = the gradient by the deltas of anchor s, 0 for those that no row names. A coordinate
/// that was clipped and a logarithm that was cut (codec.h, kMaxLogScale) pass no gradient. Throws
/// Error when a source is out of range or stands twice.
template <typename T>
void proposal_decode_backward(int64_t images, int64_t count, int64_t rows,
                              const T* anchors,              // (count, 4)
                              const T* deltas,               // (images, count, 4)
                              const ImageLimits<T>* limits,  // (images)
                              const int32_t* sources,        // (rows)
                              const T* drois,                // (rows, 5); the first is not read
                              T* ddeltas);                   // (images, count, 4)

}  // namespace cpu

/// The same on a GPU, where boxes may differ from the CPU's in the last bits (exp). Sources out of
/// range count as -1. Where a source stands twice the gradients of that anchor are NaN, which stops
/// a training: nothing here may wait to report an error. Arrays of anchors and deltas begin at
/// multiples of 16 bytes. No atomics: the same bits in every run.
namespace gpu {

template <Backend backend, typename T>
void proposal_decode(Stream stream, int64_t images, int64_t count, int64_t rows, const T* anchors,
                     const T* deltas, const ImageLimits<T>* limits, const int32_t* sources,
                     const T* constants, T* rois);
template <Backend backend, typename T>
void proposal_decode_backward(Stream stream, int64_t images, int64_t count, int64_t rows,
                              const T* anchors, const T* deltas, const ImageLimits<T>* limits,
                              const int32_t* sources, const T* drois, T* ddeltas);

}  // namespace gpu
}  // namespace frcnn::kernels
