#include "kernels/elementwise/activations.h"

#include "kernels/elementwise/map_elements.cuh"

namespace frcnn::kernels::gpu {
namespace {

template <typename T>
struct LeakyRelu {
  T slope;
  __device__ T operator()(T x, T) const { return x < T(0) ? mul_rn(slope, x) : x; }
};
template <typename T>
struct LeakyReluBackward {
  T slope;
  __device__ T operator()(T x, T dy) const { return x > T(0) ? dy : mul_rn(slope, dy); }
};
template <typename T>
struct Clip {
  T lo, hi;
  __device__ T operator()(T x, T) const {
    const T raised = x < lo ? lo : x;
    return raised > hi ? hi : raised;
  }
};
template <typename T>
struct ClipBackward {
  T lo, hi;
  __device__ T operator()(T y, T dy) const { return y > lo && y < hi ? dy : T(0); }
};
template <typename T>
struct Sigmoid {
  __device__ T operator()(T x, T) const {
    const T e = std::exp(x < T(0) ? x : -x);
    return (x < T(0) ? e : T(1)) / (T(1) + e);
  }
};
template <typename T>
struct SigmoidBackward {
  __device__ T operator()(T y, T dy) const { return mul_rn(dy, mul_rn(y, sub_rn(T(1), y))); }
};

/// One thread, one padding channel of one cell.
template <typename T>
__global__ void clear_padding_kernel(MapLayout layout, int64_t used, T* map) {
  const int64_t padding = layout.block - used, cells = layout.h * layout.w;
  const int64_t count = layout.n * cells * padding;
  for (int64_t i = grid_first(); i < count; i += grid_step()) {
    const int64_t cell = i / padding % cells, n = i / padding / cells;
    map[layout.block_at(n, layout.blocks() - 1) + cell * layout.block + used + i % padding] = T(0);
  }
}

}  // namespace

template <Backend backend, typename T>
void leaky_relu_forward(Stream stream, int64_t count, double slope, const T* x, T* y,
                        ElementwiseVersion version) {
  map("leaky_relu", stream, version, count, LeakyRelu<T>{static_cast<T>(slope)}, x, x, y);
}
template <Backend backend, typename T>
void leaky_relu_backward(Stream stream, int64_t count, double slope, const T* x, const T* dy, T* dx,
                         ElementwiseVersion version) {
  map("leaky_relu_backward", stream, version, count, LeakyReluBackward<T>{static_cast<T>(slope)}, x,
      dy, dx);
}
template <Backend backend, typename T>
void clip_forward(Stream stream, int64_t count, double lo, double hi, const T* x, T* y,
                  ElementwiseVersion version) {
  map("clip", stream, version, count, Clip<T>{static_cast<T>(lo), static_cast<T>(hi)}, x, x, y);
}
template <Backend backend, typename T>
void clip_backward(Stream stream, int64_t count, double lo, double hi, const T* y, const T* dy,
                   T* dx, ElementwiseVersion version) {
  map("clip_backward", stream, version, count,
      ClipBackward<T>{static_cast<T>(lo), static_cast<T>(hi)}, y, dy, dx);
}
template <Backend backend, typename T>
void sigmoid_forward(Stream stream, int64_t count, const T* x, T* y, ElementwiseVersion version) {
  map("sigmoid", stream, version, count, Sigmoid<T>{}, x, x, y);
}
template <Backend backend, typename T>
void sigmoid_backward(Stream stream, int64_t count, const T* y, const T* dy, T* dx,
                      ElementwiseVersion version) {
  map("sigmoid_backward", stream, version, count, SigmoidBackward<T>{}, y, dy, dx);
}
template <Backend backend, typename T>
void clear_padding(Stream stream, const MapLayout& layout, T* map) {
  const int64_t used = layout.c % layout.block;
  if (used == 0) return;
  const int64_t count = layout.n * layout.h * layout.w * (layout.block - used);
  launch({"clear_padding", blocks_for(count, kThreads), kThreads, 0, stream},
         clear_padding_kernel<T>, layout, used, map);
}

#define FRCNN_INSTANTIATE(T)                                                                      \
  template void leaky_relu_forward<kBackend, T>(Stream, int64_t, double, const T*, T*,            \
                                                ElementwiseVersion);                              \
  template void leaky_relu_backward<kBackend, T>(Stream, int64_t, double, const T*, const T*, T*, \
                                                 ElementwiseVersion);                             \
  template void clip_forward<kBackend, T>(Stream, int64_t, double, double, const T*, T*,          \
                                          ElementwiseVersion);                                    \
  template void clip_backward<kBackend, T>(Stream, int64_t, double, double, const T*, const T*,   \
                                           T*, ElementwiseVersion);                               \
  template void sigmoid_forward<kBackend, T>(Stream, int64_t, const T*, T*, ElementwiseVersion);  \
  template void sigmoid_backward<kBackend, T>(Stream, int64_t, const T*, const T*, T*,            \
                                              ElementwiseVersion);                                \
  template void clear_padding<kBackend, T>(Stream, const MapLayout&, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
