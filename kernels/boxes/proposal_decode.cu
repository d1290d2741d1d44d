#include "kernels/boxes/proposal_decode.h"

#include <limits>

#include "kernels/boxes/codec.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;

/// Arrays of a call that both passes read.
template <typename T>
struct Rows {
  CodecScale<T> scale;
  int64_t images, count, rows;
  const T *anchors, *deltas;
  const ImageLimits<T>* limits;
  const int32_t* sources;

  /// The source of a row, or -1.
  __device__ int64_t source(int64_t r) const {
    return sources[r] < images * count ? sources[r] : -1;
  }
  __device__ Quad<T> anchor(int64_t source) const {
    return load_quad(anchors + 4 * (source % count));
  }
  __device__ Quad<T> box(int64_t source) const {
    return decode(scale, anchor(source), load_quad(deltas + 4 * source));
  }
};

template <typename T>
__global__ void decode_rows_kernel(const Rows<T> rows, const T* constants, T* rois) {
  for (int64_t r = grid_first(); r < rows.rows; r += grid_step()) {
    const int64_t source = rows.source(r);
    T* roi = rois + 5 * r;
    if (source < 0) {
      for (int k = 0; k < 5; ++k) roi[k] = constants[5 * r + k];
      continue;
    }
    const int64_t image = source / rows.count;
    const Quad<T> box = clip(rows.limits[image], rows.box(source));
    roi[0] = static_cast<T>(image);
    for (int k = 0; k < 4; ++k) roi[1 + k] = box.v[k];
  }
}

template <typename T>
__global__ void zero_deltas_kernel(int64_t count, T* ddeltas) {
  for (int64_t i = grid_first(); i < count; i += grid_step())
    store_quad(ddeltas + 4 * i, Quad<T>{{0, 0, 0, 0}});
}

/// One thread per row, which looks at all others, too: rows are few.
template <typename T>
__global__ void decode_rows_backward_kernel(const Rows<T> rows, const T* drois, T* ddeltas) {
  for (int64_t r = grid_first(); r < rows.rows; r += grid_step()) {
    const int64_t source = rows.source(r);
    if (source < 0) continue;
    bool twice = false;
    for (int64_t other = 0; other < rows.rows; ++other)
      twice = twice || (other != r && rows.sources[other] == rows.sources[r]);
    const ImageLimits<T> image = rows.limits[source / rows.count];
    const Quad<T> box = rows.box(source);
    Quad<T> gradient;
    for (int k = 0; k < 4; ++k) {
      const T most = k % 2 != 0 ? image.height : image.width;
      const bool clipped = box.v[k] < 0 || box.v[k] > most;
      gradient.v[k] = clipped ? T(0) : drois[5 * r + 1 + k];
    }
    Quad<T> out = decode_gradient(rows.scale, rows.anchor(source),
                                  load_quad(rows.deltas + 4 * source), gradient);
    if (twice)
      for (T& value : out.v) value = std::numeric_limits<T>::quiet_NaN();
    store_quad(ddeltas + 4 * source, out);
  }
}

}  // namespace

template <Backend backend, typename T>
void proposal_decode(Stream stream, int64_t images, int64_t count, int64_t rows, const T* anchors,
                     const T* deltas, const ImageLimits<T>* limits, const int32_t* sources,
                     const T* constants, T* rois) {
  const Rows<T> all{CodecScale<T>({}), images, count, rows, anchors, deltas, limits, sources};
  launch({"proposal_decode", blocks_for(rows, kThreads), kThreads, 0, stream},
         decode_rows_kernel<T>, all, constants, rois);
}

template <Backend backend, typename T>
void proposal_decode_backward(Stream stream, int64_t images, int64_t count, int64_t rows,
                              const T* anchors, const T* deltas, const ImageLimits<T>* limits,
                              const int32_t* sources, const T* drois, T* ddeltas) {
  const Rows<T> all{CodecScale<T>({}), images, count, rows, anchors, deltas, limits, sources};
  launch({"proposal_decode_zero", blocks_for(images * count, kThreads), kThreads, 0, stream},
         zero_deltas_kernel<T>, images * count, ddeltas);
  launch({"proposal_decode_backward", blocks_for(rows, kThreads), kThreads, 0, stream},
         decode_rows_backward_kernel<T>, all, drois, ddeltas);
}

#define FRCNN_INSTANTIATE(T)                                                                       \
  template void proposal_decode<kBackend, T>(Stream, int64_t, int64_t, int64_t, const T*,          \
                                             const T*, const ImageLimits<T>*, const int32_t*,      \
                                             const T*, T*);                                        \
  template void proposal_decode_backward<kBackend, T>(Stream, int64_t, int64_t, int64_t, const T*, \
                                                      const T*, const ImageLimits<T>*,             \
                                                      const int32_t*, const T*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
