// Average pooling: rows of the result are spread over the threads, neighbouring channels are the
// innermost loop.
#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"
#include "kernels/launch/simd.h"
#include "kernels/pooling/avg_pool.h"
#include "kernels/pooling/pooled_layout.h"

namespace frcnn::kernels {

MapLayout avg_pool_layout(const MapLayout& x, const AvgPoolParams& p) {
  const MapLayout y = pooled_layout("avg_pool", x, p);
  check(p.pad_h < p.kernel_h && p.pad_w < p.kernel_w,
        "[avg_pool] expected padding smaller than the kernel {}x{}, got {}x{}", p.kernel_h,
        p.kernel_w, p.pad_h, p.pad_w);
  return y;
}

namespace cpu {
namespace {

/// One axis of window i: the cells [begin, end) of the map, and how many cells the divisor counts.
struct Window {
  int64_t begin, end, counted;
  Window(int64_t i, int64_t in, int64_t kernel, int64_t stride, int64_t pad, bool include_pad) {
    const int64_t first = i * stride - pad;
    begin = std::max<int64_t>(first, 0);
    end = std::min(first + kernel, in);
    counted = include_pad ? std::min(first + kernel, in + pad) - first : end - begin;
  }
};

/// One row of y for N channels from `x` on, the first cell of the window's first row.
template <typename T, int N>
FRCNN_SIMD void pool_row(const MapLayout& x_layout, const AvgPoolParams& p, int64_t out_w,
                         const Window& rows, const T* x, T* y) {
  const int64_t block = x_layout.block, row_stride = x_layout.w * block;
  for (int64_t j = 0; j < out_w; ++j) {
    const Window columns(j, x_layout.w, p.kernel_w, p.stride_w, p.pad_w, p.count_include_pad);
    T sum[N] = {};
    for (int64_t h = rows.begin; h < rows.end; ++h)
      for (int64_t w = columns.begin; w < columns.end; ++w) {
        const T* from = x + h * row_stride + w * block;
        for (int k = 0; k < N; ++k) sum[k] += from[k];
      }
    const T cells = static_cast<T>(rows.counted * columns.counted);
    for (int k = 0; k < N; ++k) y[j * block + k] = sum[k] / cells;
  }
}

/// One row of dx for N channels.
template <typename T, int N>
FRCNN_SIMD void gather_row(const MapLayout& x_layout, const MapLayout& y_layout,
                           const AvgPoolParams& p, int64_t row, const T* dy, T* dx) {
  const int64_t block = x_layout.block;
  const auto first = [](int64_t at, int64_t kernel, int64_t stride, int64_t pad) {
    const int64_t before = at + pad - kernel;  // windows that start here or earlier end before `at`
    return before < 0 ? 0 : before / stride + 1;
  };
  const int64_t top = first(row, p.kernel_h, p.stride_h, p.pad_h);
  const int64_t bottom = std::min(y_layout.h - 1, (row + p.pad_h) / p.stride_h);
  for (int64_t w = 0; w < x_layout.w; ++w) {
    const int64_t left = first(w, p.kernel_w, p.stride_w, p.pad_w);
    const int64_t right = std::min(y_layout.w - 1, (w + p.pad_w) / p.stride_w);
    T sum[N] = {};
    for (int64_t i = top; i <= bottom; ++i) {
      const Window rows(i, x_layout.h, p.kernel_h, p.stride_h, p.pad_h, p.count_include_pad);
      for (int64_t j = left; j <= right; ++j) {
        const Window columns(j, x_layout.w, p.kernel_w, p.stride_w, p.pad_w, p.count_include_pad);
        const T cells = static_cast<T>(rows.counted * columns.counted);
        const T* from = dy + (i * y_layout.w + j) * block;
        for (int k = 0; k < N; ++k) sum[k] += from[k] / cells;
      }
    }
    for (int k = 0; k < N; ++k) dx[w * block + k] = sum[k];
  }
}

/// Calls step(lanes, c) for runs of 16, 8 and 1 channels that cover a block.
template <typename Step>
void for_lanes(int64_t block, const Step& step) {
  int64_t c = 0;
  for (; c + 16 <= block; c += 16) step(std::integral_constant<int, 16>{}, c);
  for (; c + 8 <= block; c += 8) step(std::integral_constant<int, 8>{}, c);
  for (; c < block; ++c) step(std::integral_constant<int, 1>{}, c);
}

int64_t row_grain(const MapLayout& layout) {
  return 1 + 16384 / (layout.w * layout.block + 1);
}

/// Sums of `cells` cells of N channels that are neighbours, `stride` elements from cell to cell.
template <typename T, int N>
FRCNN_SIMD void sum_cells(int64_t cells, int64_t stride, const T* x, T* y) {
  double sum[N] = {};
  for (int64_t i = 0; i < cells; ++i)
    for (int k = 0; k < N; ++k) sum[k] += static_cast<double>(x[i * stride + k]);
  for (int k = 0; k < N; ++k) y[k] = static_cast<T>(sum[k] / static_cast<double>(cells));
}

/// A plane of one channel: eight running sums, so that additions need not wait for each other.
template <typename T>
FRCNN_SIMD void sum_plane(int64_t cells, const T* x, T* y) {
  double sum[8] = {};
  int64_t i = 0;
  for (; i + 8 <= cells; i += 8)
    for (int k = 0; k < 8; ++k) sum[k] += static_cast<double>(x[i + k]);
  double total = 0;
  for (; i < cells; ++i) total += static_cast<double>(x[i]);
  for (const double part : sum) total += part;
  *y = static_cast<T>(total / static_cast<double>(cells));
}

}  // namespace

template <typename T>
void avg_pool_forward(const MapLayout& x_layout, const AvgPoolParams& p, const T* x, T* y) {
  const MapLayout y_layout = avg_pool_layout(x_layout, p);
  const int64_t block = x_layout.block, planes = x_layout.n * x_layout.blocks();
  parallel_for(planes * y_layout.h, row_grain(x_layout), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const Window rows(r % y_layout.h, x_layout.h, p.kernel_h, p.stride_h, p.pad_h,
                        p.count_include_pad);
      const T* from = x + r / y_layout.h * x_layout.h * x_layout.w * block;
      T* to = y + r * y_layout.w * block;
      for_lanes(block, [&](auto lanes, int64_t c) {
        pool_row<T, decltype(lanes)::value>(x_layout, p, y_layout.w, rows, from + c, to + c);
      });
    }
  });
}

template <typename T>
void avg_pool_backward(const MapLayout& x_layout, const AvgPoolParams& p, const T* dy, T* dx) {
  const MapLayout y_layout = avg_pool_layout(x_layout, p);
  const int64_t block = x_layout.block, planes = x_layout.n * x_layout.blocks();
  parallel_for(planes * x_layout.h, row_grain(x_layout), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* from = dy + r / x_layout.h * y_layout.h * y_layout.w * block;
      T* to = dx + r * x_layout.w * block;
      for_lanes(block, [&](auto lanes, int64_t c) {
        gather_row<T, decltype(lanes)::value>(x_layout, y_layout, p, r % x_layout.h, from + c,
                                              to + c);
      });
    }
  });
}

template <typename T>
void global_avg_pool_forward(const MapLayout& x_layout, const T* x, T* y) {
  const int64_t cells = x_layout.h * x_layout.w, block = x_layout.block;
  check(cells > 0, "[global_avg_pool] a map of {} x {} has no cells", x_layout.h, x_layout.w);
  // One task: up to 16 channels of a block, so that a single NHWC image has work for all threads.
  const int64_t runs = (block + 15) / 16;
  parallel_for(x_layout.n * x_layout.blocks() * runs, 1 + 32768 / (cells * block / runs + 1),
               [&](int64_t begin, int64_t end) {
                 for (int64_t item = begin; item < end; ++item) {
                   const int64_t first = item % runs * 16;
                   const T* from = x + item / runs * cells * block + first;
                   T* to = y + item / runs * block + first;
                   if (block == 1) {
                     sum_plane(cells, from, to);
                     continue;
                   }
                   for_lanes(std::min<int64_t>(16, block - first), [&](auto lanes, int64_t c) {
                     sum_cells<T, decltype(lanes)::value>(cells, block, from + c, to + c);
                   });
                 }
               });
}

template <typename T>
void global_avg_pool_backward(const MapLayout& x_layout, const T* dy, T* dx) {
  const int64_t cells = x_layout.h * x_layout.w, block = x_layout.block;
  parallel_for(x_layout.n * x_layout.blocks() * x_layout.h, row_grain(x_layout),
               [&](int64_t begin, int64_t end) {
                 for (int64_t r = begin; r < end; ++r) {
                   const T* from = dy + r / x_layout.h * block;
                   T* to = dx + r * x_layout.w * block;
                   for (int64_t w = 0; w < x_layout.w; ++w)
                     for (int64_t k = 0; k < block; ++k)
                       to[w * block + k] = from[k] / static_cast<T>(cells);
                 }
               });
}

#define FRCNN_INSTANTIATE(T)                                                                \
  template void avg_pool_forward<T>(const MapLayout&, const AvgPoolParams&, const T*, T*);  \
  template void avg_pool_backward<T>(const MapLayout&, const AvgPoolParams&, const T*, T*); \
  template void global_avg_pool_forward<T>(const MapLayout&, const T*, T*);                 \
  template void global_avg_pool_backward<T>(const MapLayout&, const T*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace cpu
}  // namespace frcnn::kernels
