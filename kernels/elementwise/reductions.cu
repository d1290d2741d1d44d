#include "kernels/elementwise/reductions.h"

#include "kernels/launch/finite_flag.cuh"
#include "kernels/launch/grid_sum.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kPiece = 16384;  // elements of a piece: fixed, so that the order of additions is
static_assert(sizeof(GridWork) <= kReductionWorkspace);

template <typename T>
__global__ void __launch_bounds__(kThreads)
    dot_kernel(int64_t count, const T* a, const T* b, GridWork* work, double* result) {
  double sum = 0;
  for (int64_t first = blockIdx.x * kPiece; first < count; first += gridDim.x * kPiece) {
    const int64_t end = first + kPiece < count ? first + kPiece : count;
    for (int64_t i = first + threadIdx.x; i < end; i += kThreads)
      sum += b == nullptr ? static_cast<double>(a[i])
                          : static_cast<double>(a[i]) * static_cast<double>(b[i]);
  }
  grid_sum<kThreads>(sum, work, [=](double total) { *result = total; });
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    non_finite_kernel(int64_t count, const T* x, GridWork* work, int64_t* result) {
  // Block b finds its first one; a double holds indices to 2^53.
  constexpr double kNone = 9007199254740992.0;
  double first = kNone;
  for (int64_t i = grid_first(); i < count; i += grid_step())
    if (!is_finite(x[i]) && static_cast<double>(i) < first) first = static_cast<double>(i);
  FRCNN_SHARED(double, parts, [kThreads / 32]);
  const auto block_min = [&](double value) {
    value = warp_min(value);
    __syncthreads();
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    for (double part : parts) value = part < value ? part : value;
    return value;
  };
  first = block_min(first);
  if (threadIdx.x == 0) work->parts[blockIdx.x] = first;
  if (!is_last_block(&work->finished, gridDim.x)) return;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += kThreads)
    first = work->parts[i] < first ? work->parts[i] : first;
  first = block_min(first);
  if (threadIdx.x == 0) *result = first == kNone ? -1 : static_cast<int64_t>(first);
}

}  // namespace

template <Backend backend, typename T>
void sum(Stream stream, int64_t count, const T* x, double* result, void* workspace) {
  launch({"sum", sum_blocks(count, kPiece), kThreads, 0, stream}, dot_kernel<T>, count, x, nullptr,
         static_cast<GridWork*>(workspace), result);
}
template <Backend backend, typename T>
void dot(Stream stream, int64_t count, const T* a, const T* b, double* result, void* workspace) {
  launch({"dot", sum_blocks(count, kPiece), kThreads, 0, stream}, dot_kernel<T>, count, a, b,
         static_cast<GridWork*>(workspace), result);
}
template <Backend backend, typename T>
void sum_of_squares(Stream stream, int64_t count, const T* x, double* result, void* workspace) {
  launch({"sum_of_squares", sum_blocks(count, kPiece), kThreads, 0, stream}, dot_kernel<T>, count,
         x, x, static_cast<GridWork*>(workspace), result);
}
template <Backend backend, typename T>
void first_non_finite(Stream stream, int64_t count, const T* x, int64_t* result, void* workspace) {
  launch({"first_non_finite", sum_blocks(count, kPiece), kThreads, 0, stream}, non_finite_kernel<T>,
         count, x, static_cast<GridWork*>(workspace), result);
}

#define FRCNN_INSTANTIATE(T)                                                            \
  template void sum<kBackend, T>(Stream, int64_t, const T*, double*, void*);            \
  template void dot<kBackend, T>(Stream, int64_t, const T*, const T*, double*, void*);  \
  template void sum_of_squares<kBackend, T>(Stream, int64_t, const T*, double*, void*); \
  template void first_non_finite<kBackend, T>(Stream, int64_t, const T*, int64_t*, void*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
