// Max pooling: one output row per task, vectors of 16 (or 8, or 1) neighbouring channels inside.
#include <vector>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"
#include "kernels/pooling/max_pool.h"
#include "kernels/pooling/pooled_layout.h"
#include "kernels/pooling/window_max.h"

namespace frcnn::kernels {

MapLayout max_pool_layout(const MapLayout& x, const MaxPoolParams& p) {
  const MapLayout y = pooled_layout("max_pool", x, p);
  check(2 * p.pad_h <= p.kernel_h && 2 * p.pad_w <= p.kernel_w,
        "[max_pool] expected padding of at most half the kernel {}x{}, got {}x{}", p.kernel_h,
        p.kernel_w, p.pad_h, p.pad_w);
  check(p.kernel_h * p.kernel_w <= 256,
        "[max_pool] expected a kernel of at most 256 cells, got {}x{}", p.kernel_h, p.kernel_w);
  return y;
}

namespace cpu {
namespace {

/// One row of y for N channels. K > 0: the kernel is K x K, known to the compiler.
template <typename T, int N, int K, bool kWindow>
FRCNN_SIMD void pool_row(const MapLayout& x_layout, const MaxPoolParams& p, int64_t out_w,
                         int64_t out_row, const T* x, T* y, uint8_t* window) {
  const int64_t block = x_layout.block, row_stride = x_layout.w * block;
  const int64_t kernel_h = K ? K : p.kernel_h, kernel_w = K ? K : p.kernel_w;
  const int64_t h0 = out_row * p.stride_h - p.pad_h;
  const int64_t top = std::max<int64_t>(0, -h0), bottom = std::min(kernel_h, x_layout.h - h0);
  const bool whole_rows = top == 0 && bottom == kernel_h;
  for (int64_t j = 0; j < out_w; ++j) {
    const int64_t w0 = j * p.stride_w - p.pad_w;
    const T* corner = x + h0 * row_stride + w0 * block;
    WindowMax<T, N> best;
    if (whole_rows && w0 >= 0 && w0 + kernel_w <= x_layout.w) {
      window_max<T, N, kWindow>(corner, row_stride, block, kernel_h, kernel_w, 0, kernel_w, best);
    } else {
      const int64_t left = std::max<int64_t>(0, -w0), right = std::min(kernel_w, x_layout.w - w0);
      window_max<T, N, kWindow>(corner + top * row_stride + left * block, row_stride, block,
                                bottom - top, right - left, top * kernel_w + left, kernel_w, best);
    }
    best.store_max(y + j * block);
    if constexpr (kWindow) best.store_at(window + j * block);
  }
}

/// One row of y of a plain NCHW map, kernel and stride 2, no padding, no window: the compiler
/// vectorises across the row.
template <typename T>
FRCNN_SIMD void pool_row_2x2(const T* top, const T* bottom, int64_t out_w, T* y) {
  for (int64_t j = 0; j < out_w; ++j) {
    T max = top[2 * j];
    for (T value : {top[2 * j + 1], bottom[2 * j], bottom[2 * j + 1]}) {
      max = value > max ? value : max;
      max = value != value ? value : max;
    }
    y[j] = max;
  }
}

template <typename T, int K, bool kWindow>
void pool_all(const MapLayout& x_layout, const MaxPoolParams& p, const MapLayout& y_layout,
              const T* x, T* y, uint8_t* window) {
  const int64_t block = x_layout.block, planes = x_layout.n * x_layout.blocks();
  const bool plain_2x2 = !kWindow && K == 2 && block == 1 && p.stride_h == 2 && p.stride_w == 2 &&
                         p.pad_h == 0 && p.pad_w == 0 && !p.ceil_mode;
  const int64_t grain = 1 + 16384 / (x_layout.w * block + 1);
  parallel_for(planes * y_layout.h, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t plane = r / y_layout.h, row = r % y_layout.h;
      const T* in = x + plane * x_layout.h * x_layout.w * block;
      T* out = y + r * y_layout.w * block;
      uint8_t* at = kWindow ? window + r * y_layout.w * block : nullptr;
      if (plain_2x2) {
        const T* top = in + 2 * row * x_layout.w;
        pool_row_2x2<T>(top, top + x_layout.w, y_layout.w, out);
        continue;
      }
      int64_t c = 0;
      for (; c + 16 <= block; c += 16)
        pool_row<T, 16, K, kWindow>(x_layout, p, y_layout.w, row, in + c, out + c,
                                    kWindow ? at + c : nullptr);
      for (; c + 8 <= block; c += 8)
        pool_row<T, 8, K, kWindow>(x_layout, p, y_layout.w, row, in + c, out + c,
                                   kWindow ? at + c : nullptr);
      for (; c < block; ++c)
        pool_row<T, 1, K, kWindow>(x_layout, p, y_layout.w, row, in + c, out + c,
                                   kWindow ? at + c : nullptr);
    }
  });
}

/// The windows [first[i], last[i]] that contain position i of one axis.
struct Covers {
  std::vector<int32_t> first, last;
  Covers(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad)
      : first(static_cast<size_t>(in)), last(static_cast<size_t>(in)) {
    for (int64_t i = 0; i < in; ++i) {
      const int64_t before = i + pad - kernel;  // windows that start here or earlier end before i
      first[static_cast<size_t>(i)] = static_cast<int32_t>(before < 0 ? 0 : before / stride + 1);
      last[static_cast<size_t>(i)] = static_cast<int32_t>(std::min(out - 1, (i + pad) / stride));
    }
  }
};

/// to += from where `window` names cell `cell`; N channels.
template <typename T, int N>
FRCNN_INLINE void add_where(const T* from, const uint8_t* window, int64_t cell,
                            typename Parts<T, N>::V::Vec* to) {
  using P = Parts<T, N>;
  using Vec = typename P::V::Vec;
  const auto here = typename P::V::IntVec{} + static_cast<typename P::V::Int>(cell);
  for (int k = 0; k < P::kCount; ++k) {
    const typename P::V::U8Vec bytes = FRCNN_LOAD(typename P::V::U8Vec, window + k * P::kLanes);
    typename P::V::IntVec where;
    convert_lanes(bytes, where);
    const Vec gradient = FRCNN_LOAD(Vec, from + k * P::kLanes);
    to[k] += where == here ? gradient : Vec{};
  }
}

/// One row of dx for N channels: gathers from the windows that cover each position.
template <typename T, int N>
FRCNN_SIMD void gather_row(const MapLayout& x_layout, const MaxPoolParams& p, int64_t out_w,
                           int64_t row, int64_t first_h, int64_t last_h, const Covers& columns,
                           const T* dy, const uint8_t* window, T* dx) {
  using P = Parts<T, N>;
  using Vec = typename P::V::Vec;
  const int64_t block = x_layout.block;
  for (int64_t w = 0; w < x_layout.w; ++w) {
    Vec sum[P::kCount] = {};
    for (int64_t i = first_h; i <= last_h; ++i) {
      const int64_t in_row = (row + p.pad_h - i * p.stride_h) * p.kernel_w;
      for (int64_t j = columns.first[w]; j <= columns.last[w]; ++j) {
        const int64_t at = (i * out_w + j) * block;
        add_where<T, N>(dy + at, window + at, in_row + w + p.pad_w - j * p.stride_w, sum);
      }
    }
    for (int k = 0; k < P::kCount; ++k) FRCNN_STORE(Vec, dx + w * block + k * P::kLanes) = sum[k];
  }
}

/// The same for 2x2 windows that do not overlap: row of dy `i`, or no row at all when i < 0.
template <typename T, int N>
FRCNN_SIMD void gather_row_2x2(const MapLayout& x_layout, int64_t out_w, int64_t row, int64_t i,
                               const T* dy, const uint8_t* window, T* dx) {
  using P = Parts<T, N>;
  using Vec = typename P::V::Vec;
  const int64_t block = x_layout.block;
  for (int64_t w = 0; w < x_layout.w; ++w) {
    Vec sum[P::kCount] = {};
    const int64_t at = (i * out_w + w / 2) * block;
    if (i >= 0 && w / 2 < out_w) add_where<T, N>(dy + at, window + at, row % 2 * 2 + w % 2, sum);
    for (int k = 0; k < P::kCount; ++k) FRCNN_STORE(Vec, dx + w * block + k * P::kLanes) = sum[k];
  }
}

}  // namespace

template <typename T>
void max_pool_forward(const MapLayout& x_layout, const MaxPoolParams& params, const T* x, T* y,
                      uint8_t* window) {
  const MapLayout y_layout = max_pool_layout(x_layout, params);
  const auto run = [&](auto kernel) {
    if (window)
      pool_all<T, kernel.value, true>(x_layout, params, y_layout, x, y, window);
    else
      pool_all<T, kernel.value, false>(x_layout, params, y_layout, x, y, nullptr);
  };
  if (params.kernel_h == 2 && params.kernel_w == 2)
    run(std::integral_constant<int, 2>{});
  else if (params.kernel_h == 3 && params.kernel_w == 3)
    run(std::integral_constant<int, 3>{});
  else
    run(std::integral_constant<int, 0>{});
}

template <typename T>
void max_pool_backward(const MapLayout& x_layout, const MaxPoolParams& p, const T* dy,
                       const uint8_t* window, T* dx) {
  const MapLayout y_layout = max_pool_layout(x_layout, p);
  const Covers rows(x_layout.h, y_layout.h, p.kernel_h, p.stride_h, p.pad_h);
  const Covers columns(x_layout.w, y_layout.w, p.kernel_w, p.stride_w, p.pad_w);
  const int64_t block = x_layout.block, planes = x_layout.n * x_layout.blocks();
  const bool halves = p.kernel_h == 2 && p.kernel_w == 2 && p.stride_h == 2 && p.stride_w == 2 &&
                      p.pad_h == 0 && p.pad_w == 0;
  const int64_t grain = 1 + 16384 / (x_layout.w * block + 1);
  parallel_for(planes * x_layout.h, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t plane = r / x_layout.h, row = r % x_layout.h;
      const int64_t from = plane * y_layout.h * y_layout.w * block;
      const int64_t to = r * x_layout.w * block;
      const int64_t first = rows.first[static_cast<size_t>(row)];
      const int64_t last = rows.last[static_cast<size_t>(row)];
      int64_t c = 0;
      const auto step = [&](auto lanes) {
        constexpr int kLanes = lanes.value;
        for (; c + kLanes <= block; c += kLanes)
          if (halves)
            gather_row_2x2<T, kLanes>(x_layout, y_layout.w, row, last < first ? -1 : first,
                                      dy + from + c, window + from + c, dx + to + c);
          else
            gather_row<T, kLanes>(x_layout, p, y_layout.w, row, first, last, columns, dy + from + c,
                                  window + from + c, dx + to + c);
      };
      step(std::integral_constant<int, 16>{});
      step(std::integral_constant<int, 8>{});
      step(std::integral_constant<int, 1>{});
    }
  });
}

#define FRCNN_INSTANTIATE(T)                                                              \
  template void max_pool_forward<T>(const MapLayout&, const MaxPoolParams&, const T*, T*, \
                                    uint8_t*);                                            \
  template void max_pool_backward<T>(const MapLayout&, const MaxPoolParams&, const T*,    \
                                     const uint8_t*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace cpu
}  // namespace frcnn::kernels
