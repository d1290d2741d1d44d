#pragma once

#include <cstdint>

namespace frcnn::kernels {

/// Reductions of flat arrays to one number. Sums are taken in double over fixed pieces that are
/// added in order: the same bits for any number of threads.
namespace cpu {

/// Sum of all elements.
template <typename T>
double sum(int64_t count, const T* x);

/// Sum of the squares: the L2 norm is its square root. NaN and infinities carry through.
template <typename T>
double sum_of_squares(int64_t count, const T* x);

/// sum of a[i] * b[i]
template <typename T>
double dot(int64_t count, const T* a, const T* b);

/// Index of the first element that is NaN or infinite, or -1.
template <typename T>
int64_t first_non_finite(int64_t count, const T* x);

}  // namespace cpu
}  // namespace frcnn::kernels
