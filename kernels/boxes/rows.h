#pragma once

#include <cstdint>

#include "kernels/launch/gpu.h"

/// Joining and copying rows of arrays that stay in device memory: the steps between the
/// proposal layer, the samplers and the detection head. They exist for GPUs only: host code does
/// the same with std::vector. Everything is a copy, so results are exact and do not depend on an
/// order.
namespace frcnn::kernels::gpu {

/// scores[i] = the logit of "object" alone: logits[2 i + 1] - logits[2 i] with two columns
/// (softmax), logits[i] with one (sigmoid).
template <Backend backend, typename T>
void objectness(Stream stream, int64_t count, int columns,
                const T* logits,  // (count, columns)
                T* scores);       // (count)

/// out[r] = source[indices[r]], every element `missing` where indices[r] is negative. T may also be
/// int32_t and uint8_t.
template <Backend backend, typename T>
void gather_rows(Stream stream, int64_t rows, int64_t columns, T missing,
                 const int32_t* indices,  // (rows)
                 const T* source,         // (any, columns)
                 T* out);                 // (rows, columns)

/// groups[r] = indices[r] % count, or -1 where indices[r] is negative: the class of entry (RoI,
/// class) of a flattened array.
template <Backend backend>
void remainders(Stream stream, int64_t rows, int64_t count, const int32_t* indices,
                int32_t* groups);

/// Per image the used rows of `first`, then those of `second`; rows of `out` beyond are 0. T may
/// also be int32_t.
template <Backend backend, typename T>
void append_rows(Stream stream, int64_t images, int64_t columns, int64_t first_rows,
                 const T* first,               // (images, first_rows, columns)
                 const int32_t* first_counts,  // (images) used rows
                 int64_t second_rows,
                 const T* second,               // (images, second_rows, columns)
                 const int32_t* second_counts,  // (images)
                 T* out,                        // (images, first_rows + second_rows, columns)
                 int32_t* out_counts);          // (images)

/// rois[n, i] = (n, box) for the used rows of an image, (-1, 0, 0, 0, 0) for the others: what the
/// RoI layers leave out. Used are the first counts[n] rows or, where counts is nullptr, those whose
/// index is not negative.
template <Backend backend, typename T>
void make_rois(Stream stream, int64_t images, int64_t capacity,
               const T* boxes,          // (images, capacity, 4)
               const int32_t* counts,   // (images), or nullptr
               const int32_t* indices,  // (images, capacity); not read with counts
               T* rois);                // (images, capacity, 5)

}  // namespace frcnn::kernels::gpu
