#include "kernels/pooling/adaptive_max_pool.h"

#include "kernels/pooling/max_windows.cuh"

namespace frcnn::kernels::gpu {
namespace {

using windows::kThreads;
using windows::Span;

/// One axis: bin i of `bins` over `length` cells.
struct Axis {
  int64_t length, bins;

  __device__ Span cells(int64_t i) const {
    return {static_cast<int>(i * length / bins),
            static_cast<int>(((i + 1) * length + bins - 1) / bins)};
  }
  /// Bin i holds cell `at` when i length < (at + 1) bins and (i + 1) length > at bins.
  __device__ Span over(int64_t at) const {
    return {static_cast<int>(at * bins / length),
            static_cast<int>(((at + 1) * bins + length - 1) / length)};
  }
};

struct Windows {
  Axis y, x;

  __device__ Span rows(int i) const { return y.cells(i); }
  __device__ Span columns(int j) const { return x.cells(j); }
  __device__ Span rows_over(int h) const { return y.over(h); }
  __device__ Span columns_over(int w) const { return x.over(w); }
  __device__ int index(int, int, int h, int w) const { return h * static_cast<int>(x.length) + w; }
};

void validate(const MapLayout& x, int64_t out_h, int64_t out_w) {
  check(out_h > 0 && out_w > 0 && x.h > 0 && x.w > 0,
        "[adaptive_max_pool] expected positive sizes, got a {}x{} map and {}x{} bins", x.h, x.w,
        out_h, out_w);
  check(x.h * x.w <= INT32_MAX, "[adaptive_max_pool] expected a map below 2^31 cells, got {}x{}",
        x.h, x.w);
}

}  // namespace

template <Backend backend, typename T>
void adaptive_max_pool_forward(Stream stream, const MapLayout& x_layout, int64_t out_h,
                               int64_t out_w, const T* x, T* y, int32_t* argmax,
                               AdaptiveMaxPoolVersion version) {
  validate(x_layout, out_h, out_w);
  const MapLayout y_layout = x_layout.resized(out_h, out_w);
  windows::with_pack(x_layout, y_layout, version == AdaptiveMaxPoolVersion::naive, x, y, argmax,
                     [&](auto n, auto index) {
                       constexpr int kPack = decltype(n)::value;
                       launch({"adaptive_max_pool", blocks_for(y_layout.size() / kPack, kThreads),
                               kThreads, 0, stream},
                              windows::max_forward<kPack, decltype(index), T, int32_t, Windows>,
                              Windows{{x_layout.h, out_h}, {x_layout.w, out_w}}, x_layout, y_layout,
                              x, y, argmax);
                     });
}

template <Backend backend, typename T>
void adaptive_max_pool_backward(Stream stream, const MapLayout& x_layout, int64_t out_h,
                                int64_t out_w, const T* dy, const int32_t* argmax, T* dx,
                                AdaptiveMaxPoolVersion version) {
  validate(x_layout, out_h, out_w);
  const MapLayout y_layout = x_layout.resized(out_h, out_w);
  windows::with_pack(x_layout, y_layout, version == AdaptiveMaxPoolVersion::naive, dy, dx, argmax,
                     [&](auto n, auto index) {
                       constexpr int kPack = decltype(n)::value;
                       launch({"adaptive_max_pool_backward",
                               blocks_for(x_layout.size() / kPack, kThreads), kThreads, 0, stream},
                              windows::max_backward<kPack, decltype(index), T, int32_t, Windows>,
                              Windows{{x_layout.h, out_h}, {x_layout.w, out_w}}, x_layout, y_layout,
                              dy, argmax, dx);
                     });
}

#define FRCNN_INSTANTIATE(T)                                                                       \
  template void adaptive_max_pool_forward<kBackend, T>(                                            \
      Stream, const MapLayout&, int64_t, int64_t, const T*, T*, int32_t*, AdaptiveMaxPoolVersion); \
  template void adaptive_max_pool_backward<kBackend, T>(Stream, const MapLayout&, int64_t,         \
                                                        int64_t, const T*, const int32_t*, T*,     \
                                                        AdaptiveMaxPoolVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
