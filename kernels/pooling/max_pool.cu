#include "kernels/pooling/max_pool.h"

#include "kernels/pooling/max_windows.cuh"

namespace frcnn::kernels::gpu {
namespace {

using windows::kThreads;
using windows::Span;

/// One axis of the windows of a max pooling layer.
struct Axis {
  int in, out, kernel, stride, pad;

  __device__ Span cells(int i) const {
    const int first = i * stride - pad, end = first + kernel;
    return {first < 0 ? 0 : first, end < in ? end : in};
  }
  __device__ Span over(int at) const {
    const int before = at + pad - kernel;  // windows that start here or earlier end before `at`
    const int end = (at + pad) / stride + 1;
    return {before < 0 ? 0 : before / stride + 1, end < out ? end : out};
  }
};

struct Windows {
  Axis y, x;

  __device__ Span rows(int i) const { return y.cells(i); }
  __device__ Span columns(int j) const { return x.cells(j); }
  __device__ Span rows_over(int h) const { return y.over(h); }
  __device__ Span columns_over(int w) const { return x.over(w); }
  __device__ int index(int i, int j, int h, int w) const {
    return (h - i * y.stride + y.pad) * x.kernel + w - j * x.stride + x.pad;
  }
};

Windows windows_of(const MapLayout& x, const MapLayout& y, const MaxPoolParams& p) {
  const auto axis = [](int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad) {
    return Axis{static_cast<int>(in), static_cast<int>(out), static_cast<int>(kernel),
                static_cast<int>(stride), static_cast<int>(pad)};
  };
  return {axis(x.h, y.h, p.kernel_h, p.stride_h, p.pad_h),
          axis(x.w, y.w, p.kernel_w, p.stride_w, p.pad_w)};
}

// -------------------------------------------------- 2 x 2 windows side by side, as VGG has them

/// One thread: one window of N channels. The four cells are loaded at once, before any of them is
/// compared. In NCHW (kPairs) the two cells of a row are one load.
template <typename T, int N, bool kPairs>
__global__ void halves_forward(uint32_t count, uint32_t packs, uint32_t width, uint32_t out_w,
                               uint32_t out_h, uint32_t height, const T* x, T* y, uint8_t* window) {
  const uint32_t block = packs * N;
  for (auto item = static_cast<uint32_t>(grid_first()); item < count;
       item += static_cast<uint32_t>(grid_step())) {
    const uint32_t pixel = item / packs, row = pixel / out_w;
    const T* from = x +
                    ((row / out_h * height + row % out_h * 2) * width + pixel % out_w * 2) * block +
                    item % packs * N;
    Pack<T, N> cells[4];
    if constexpr (kPairs) {
      const auto upper = load_pack<2>(from), lower = load_pack<2>(from + width);
      cells[0].v[0] = upper.v[0], cells[1].v[0] = upper.v[1];
      cells[2].v[0] = lower.v[0], cells[3].v[0] = lower.v[1];
    } else {
      for (uint32_t k = 0; k < 4; ++k)
        cells[k] = load_pack<N>(from + (k / 2 * width + k % 2) * block);
    }
    WindowMax<T, N> best;
    best.start(cells[0], 0);
    for (int k = 1; k < 4; ++k) best.take(cells[k], k);
    store_pack(y + item * N, best.max);
    if (window != nullptr) {
      Pack<uint8_t, N> at;
      for (int k = 0; k < N; ++k) at.v[k] = static_cast<uint8_t>(best.at[k]);
      store_pack(window + item * N, at);
    }
  }
}

/// One thread: the cells of one window, and at the right and lower border the odd column and row
/// that no window holds. Each cell belongs to one thread: dy and window are read once.
template <typename T, int N>
__global__ void halves_backward(uint32_t count, uint32_t packs, uint32_t width, uint32_t out_w,
                                uint32_t out_h, uint32_t height, const T* dy, const uint8_t* window,
                                T* dx) {
  const uint32_t block = packs * N;
  for (auto item = static_cast<uint32_t>(grid_first()); item < count;
       item += static_cast<uint32_t>(grid_step())) {
    const uint32_t pixel = item / packs, row = pixel / out_w;
    const uint32_t i = row % out_h, j = pixel % out_w;
    T* plane = dx + row / out_h * height * width * block + item % packs * N;
    const auto gradient = load_pack<N>(dy + item * N);
    const auto at = load_pack<N>(window + item * N);
    const uint32_t bottom = i + 1 == out_h ? height : 2 * i + 2;
    const uint32_t right = j + 1 == out_w ? width : 2 * j + 2;
    for (uint32_t h = 2 * i; h < bottom; ++h)
      for (uint32_t w = 2 * j; w < right; ++w) {
        const uint32_t dh = h - 2 * i, dw = w - 2 * j, cell = 2 * dh + dw;
        Pack<T, N> value;
        for (int k = 0; k < N; ++k)
          value.v[k] = dh < 2 && dw < 2 && at.v[k] == cell ? T(0) + gradient.v[k] : T(0);
        store_pack(plane + (h * width + w) * block, value);
      }
  }
}

bool halves(const MaxPoolParams& p) {
  return p.kernel_h == 2 && p.kernel_w == 2 && p.stride_h == 2 && p.stride_w == 2 && p.pad_h == 0 &&
         p.pad_w == 0;
}

template <int N, typename T>
void launch_halves_forward(Stream stream, const MapLayout& x_layout, const MapLayout& y_layout,
                           const T* x, T* y, uint8_t* window) {
  const auto run = [&](auto kernel) {
    const int64_t count = y_layout.size() / N;
    launch({"max_pool_halves", blocks_for(count, kThreads), kThreads, 0, stream}, kernel, count,
           x_layout.block / N, x_layout.w, y_layout.w, y_layout.h, x_layout.h, x, y, window);
  };
  if constexpr (N == 1) {
    if (x_layout.block == 1 && x_layout.w % 2 == 0 && aligned_to(2 * sizeof(T), x))
      return run(halves_forward<T, 1, true>);
  }
  run(halves_forward<T, N, false>);
}

}  // namespace

template <Backend backend, typename T>
void max_pool_forward(Stream stream, const MapLayout& x_layout, const MaxPoolParams& params,
                      const T* x, T* y, uint8_t* window, MaxPoolVersion version) {
  const MapLayout y_layout = max_pool_layout(x_layout, params);
  const bool whole = 2 * y_layout.h <= x_layout.h && 2 * y_layout.w <= x_layout.w;
  windows::with_pack(
      x_layout, y_layout, version == MaxPoolVersion::naive, x, y, window, [&](auto n, auto index) {
        constexpr int kPack = decltype(n)::value;
        using Index = decltype(index);
        if constexpr (std::is_same_v<Index, uint32_t>) {
          if (version == MaxPoolVersion::halves && halves(params) && whole)
            return launch_halves_forward<kPack>(stream, x_layout, y_layout, x, y, window);
        }
        launch({"max_pool", blocks_for(y_layout.size() / kPack, kThreads), kThreads, 0, stream},
               windows::max_forward<kPack, Index, T, uint8_t, Windows>,
               windows_of(x_layout, y_layout, params), x_layout, y_layout, x, y, window);
      });
}

template <Backend backend, typename T>
void max_pool_backward(Stream stream, const MapLayout& x_layout, const MaxPoolParams& params,
                       const T* dy, const uint8_t* window, T* dx, MaxPoolVersion version) {
  const MapLayout y_layout = max_pool_layout(x_layout, params);
  windows::with_pack(
      x_layout, y_layout, version == MaxPoolVersion::naive, dy, dx, window,
      [&](auto n, auto index) {
        constexpr int kPack = decltype(n)::value;
        using Index = decltype(index);
        if constexpr (std::is_same_v<Index, uint32_t>) {
          if (version == MaxPoolVersion::halves && halves(params)) {
            const int64_t count = y_layout.size() / kPack;
            launch({"max_pool_halves_backward", blocks_for(count, kThreads), kThreads, 0, stream},
                   halves_backward<T, kPack>, count, x_layout.block / kPack, x_layout.w, y_layout.w,
                   y_layout.h, x_layout.h, dy, window, dx);
            return;
          }
        }
        launch({"max_pool_backward", blocks_for(x_layout.size() / kPack, kThreads), kThreads, 0,
                stream},
               windows::max_backward<kPack, Index, T, uint8_t, Windows>,
               windows_of(x_layout, y_layout, params), x_layout, y_layout, dy, window, dx);
      });
}

#define FRCNN_INSTANTIATE(T)                                                                   \
  template void max_pool_forward<kBackend, T>(Stream, const MapLayout&, const MaxPoolParams&,  \
                                              const T*, T*, uint8_t*, MaxPoolVersion);         \
  template void max_pool_backward<kBackend, T>(Stream, const MapLayout&, const MaxPoolParams&, \
                                               const T*, const uint8_t*, T*, MaxPoolVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
