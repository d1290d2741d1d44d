#pragma once

#include <cstdint>

#include "kernels/launch/gpu.h"

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

/// The same on a GPU, with the result in device memory: nothing waits for the host. Each block sums
/// its pieces of the array in double, and the block that finishes last adds the blocks' sums in
/// order: the same bits in every run, whatever the number of multiprocessors. `workspace` is device
/// memory of kReductionWorkspace bytes that was zero at its first use (each call leaves it so);
/// calls that share it must be in one stream.
namespace gpu {

inline constexpr size_t kReductionWorkspace = 8 * 1024 + 16;

template <Backend backend, typename T>
void sum(Stream stream, int64_t count, const T* x, double* result, void* workspace);
template <Backend backend, typename T>
void sum_of_squares(Stream stream, int64_t count, const T* x, double* result, void* workspace);
template <Backend backend, typename T>
void dot(Stream stream, int64_t count, const T* a, const T* b, double* result, void* workspace);
/// *result = index of the first element that is NaN or infinite, or -1.
template <Backend backend, typename T>
void first_non_finite(Stream stream, int64_t count, const T* x, int64_t* result, void* workspace);

}  // namespace gpu
}  // namespace frcnn::kernels
