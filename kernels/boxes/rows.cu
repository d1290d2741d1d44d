#include "kernels/boxes/rows.h"

#include "kernels/launch/gpu.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;

template <typename T>
__global__ void objectness_kernel(int64_t count, int columns, const T* logits, T* scores) {
  for (int64_t i = grid_first(); i < count; i += grid_step())
    scores[i] = columns == 2 ? sub_rn(logits[2 * i + 1], logits[2 * i]) : logits[i];
}

/// Neighbouring threads copy neighbouring elements of a row.
template <typename T>
__global__ void gather_kernel(int64_t elements, int64_t columns, T missing, const int32_t* indices,
                              const T* source, T* out) {
  for (int64_t i = grid_first(); i < elements; i += grid_step()) {
    const int64_t from = indices[i / columns];
    out[i] = from < 0 ? missing : source[from * columns + i % columns];
  }
}

__global__ void remainders_kernel(int64_t rows, int64_t count, const int32_t* indices,
                                  int32_t* groups) {
  for (int64_t i = grid_first(); i < rows; i += grid_step())
    groups[i] = indices[i] < 0 ? -1 : static_cast<int32_t>(indices[i] % count);
}

/// A number of used rows as the device has it, within what there is room for.
__device__ int64_t used_rows(const int32_t* counts, int64_t image, int64_t rows) {
  const int64_t n = counts[image];
  return n < 0 ? 0 : n > rows ? rows : n;
}

template <typename T>
__global__ void append_kernel(int64_t images, int64_t columns, int64_t first_rows, const T* first,
                              const int32_t* first_counts, int64_t second_rows, const T* second,
                              const int32_t* second_counts, T* out, int32_t* out_counts) {
  const int64_t rows = first_rows + second_rows;
  for (int64_t i = grid_first(); i < images * rows * columns; i += grid_step()) {
    const int64_t image = i / (rows * columns), row = i / columns % rows, column = i % columns;
    const int64_t a = used_rows(first_counts, image, first_rows);
    const int64_t b = used_rows(second_counts, image, second_rows);
    T value = 0;
    if (row < a)
      value = first[(image * first_rows + row) * columns + column];
    else if (row < a + b)
      value = second[(image * second_rows + row - a) * columns + column];
    out[i] = value;
    if (row == 0 && column == 0) out_counts[image] = static_cast<int32_t>(a + b);
  }
}

template <typename T>
__global__ void rois_kernel(int64_t images, int64_t capacity, const T* boxes, const int32_t* counts,
                            const int32_t* indices, T* rois) {
  for (int64_t i = grid_first(); i < images * capacity; i += grid_step()) {
    const int64_t image = i / capacity;
    const bool used = counts != nullptr ? i % capacity < counts[image] : indices[i] >= 0;
    rois[5 * i] = used ? static_cast<T>(image) : T(-1);
    for (int k = 0; k < 4; ++k) rois[5 * i + 1 + k] = used ? boxes[4 * i + k] : T(0);
  }
}

}  // namespace

template <Backend backend, typename T>
void objectness(Stream stream, int64_t count, int columns, const T* logits, T* scores) {
  check(columns == 1 || columns == 2, "[objectness] expected 1 or 2 columns, got {}", columns);
  launch({"objectness", blocks_for(count, kThreads), kThreads, 0, stream}, objectness_kernel<T>,
         count, columns, logits, scores);
}

template <Backend backend, typename T>
void gather_rows(Stream stream, int64_t rows, int64_t columns, T missing, const int32_t* indices,
                 const T* source, T* out) {
  launch({"gather_rows", blocks_for(rows * columns, kThreads), kThreads, 0, stream},
         gather_kernel<T>, rows * columns, columns, missing, indices, source, out);
}

template <Backend backend>
void remainders(Stream stream, int64_t rows, int64_t count, const int32_t* indices,
                int32_t* groups) {
  launch({"remainders", blocks_for(rows, kThreads), kThreads, 0, stream}, remainders_kernel, rows,
         count, indices, groups);
}

template <Backend backend, typename T>
void append_rows(Stream stream, int64_t images, int64_t columns, int64_t first_rows, const T* first,
                 const int32_t* first_counts, int64_t second_rows, const T* second,
                 const int32_t* second_counts, T* out, int32_t* out_counts) {
  check(first_rows + second_rows > 0, "[append_rows] there is no room for any row");
  launch({"append_rows", blocks_for(images * (first_rows + second_rows) * columns, kThreads),
          kThreads, 0, stream},
         append_kernel<T>, images, columns, first_rows, first, first_counts, second_rows, second,
         second_counts, out, out_counts);
}

template <Backend backend, typename T>
void make_rois(Stream stream, int64_t images, int64_t capacity, const T* boxes,
               const int32_t* counts, const int32_t* indices, T* rois) {
  launch({"make_rois", blocks_for(images * capacity, kThreads), kThreads, 0, stream},
         rois_kernel<T>, images, capacity, boxes, counts, indices, rois);
}

#define FRCNN_INSTANTIATE(T)                                                                    \
  template void objectness<kBackend, T>(Stream, int64_t, int, const T*, T*);                    \
  template void append_rows<kBackend, T>(Stream, int64_t, int64_t, int64_t, const T*,           \
                                         const int32_t*, int64_t, const T*, const int32_t*, T*, \
                                         int32_t*);                                             \
  template void make_rois<kBackend, T>(Stream, int64_t, int64_t, const T*, const int32_t*,      \
                                       const int32_t*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE
template void append_rows<kBackend, int32_t>(Stream, int64_t, int64_t, int64_t, const int32_t*,
                                             const int32_t*, int64_t, const int32_t*,
                                             const int32_t*, int32_t*, int32_t*);

#define FRCNN_INSTANTIATE(T) \
  template void gather_rows<kBackend, T>(Stream, int64_t, int64_t, T, const int32_t*, const T*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
FRCNN_INSTANTIATE(int32_t)
FRCNN_INSTANTIATE(uint8_t)
#undef FRCNN_INSTANTIATE

template void remainders<kBackend>(Stream, int64_t, int64_t, const int32_t*, int32_t*);

}  // namespace frcnn::kernels::gpu
