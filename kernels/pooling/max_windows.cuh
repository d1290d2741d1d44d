#pragma once

#include "kernels/pooling/window_max.cuh"

/// Max pooling over windows of a map, for max_pool.cu and adaptive_max_pool.cu. A `Windows` says
/// where they lie:
///   Span rows(i), columns(j)            cells of window (i, j), cut at the map
///   Span rows_over(h), columns_over(w)  windows that hold a cell: for the gradient's gather
///   int index(i, j, h, w)               what is stored of the position of a maximum
/// `Index` is the type of index arithmetic and N the channels of a thread: int64_t and 1 in the
/// naive version; uint32_t, whose divisions are much faster, and 16 bytes' worth in the others.
namespace frcnn::kernels::gpu::windows {

struct Span {
  int begin, end;
};

template <int N, typename Index, typename T, typename Stored, typename Windows>
__global__ void max_forward(Windows windows, MapLayout x_layout, MapLayout y_layout, const T* x,
                            T* y, Stored* stored) {
  const auto block = static_cast<Index>(x_layout.block), packs = block / N;
  const auto width = static_cast<Index>(x_layout.w), out_w = static_cast<Index>(y_layout.w);
  const auto plane_size = static_cast<Index>(x_layout.h) * width * block;
  const auto out_h = static_cast<Index>(y_layout.h);
  const auto count = static_cast<Index>(y_layout.size()) / N;
  for (auto item = static_cast<Index>(grid_first()); item < count;
       item += static_cast<Index>(grid_step())) {
    const Index pixel = item / packs, row = pixel / out_w;
    const int i = static_cast<int>(row % out_h), j = static_cast<int>(pixel % out_w);
    const T* from = x + row / out_h * plane_size + item % packs * N;
    const Span rows = windows.rows(i), columns = windows.columns(j);
    WindowMax<T, N> best;
    best.start(load_pack<N>(from + (static_cast<Index>(rows.begin) * width +
                                    static_cast<Index>(columns.begin)) *
                                       block),
               windows.index(i, j, rows.begin, columns.begin));
    for (int h = rows.begin; h < rows.end; ++h)
      for (int w = columns.begin; w < columns.end; ++w)
        best.take(
            load_pack<N>(from + (static_cast<Index>(h) * width + static_cast<Index>(w)) * block),
            windows.index(i, j, h, w));
    store_pack(y + item * N, best.max);
    if (stored != nullptr) {
      Pack<Stored, N> at;
      for (int k = 0; k < N; ++k) at.v[k] = static_cast<Stored>(best.at[k]);
      store_pack(stored + item * N, at);
    }
  }
}

/// dx gathers from the windows over each cell, row by row.
template <int N, typename Index, typename T, typename Stored, typename Windows>
__global__ void max_backward(Windows windows, MapLayout x_layout, MapLayout y_layout, const T* dy,
                             const Stored* stored, T* dx) {
  const auto block = static_cast<Index>(x_layout.block), packs = block / N;
  const auto width = static_cast<Index>(x_layout.w), out_w = static_cast<Index>(y_layout.w);
  const auto plane_size = static_cast<Index>(y_layout.h) * out_w * block;
  const auto height = static_cast<Index>(x_layout.h);
  const auto count = static_cast<Index>(x_layout.size()) / N;
  for (auto item = static_cast<Index>(grid_first()); item < count;
       item += static_cast<Index>(grid_step())) {
    const Index pixel = item / packs, row = pixel / width;
    const int h = static_cast<int>(row % height), w = static_cast<int>(pixel % width);
    const Index plane = row / height * plane_size + item % packs * N;
    const Span rows = windows.rows_over(h), columns = windows.columns_over(w);
    Pack<T, N> sum = {};
    for (int i = rows.begin; i < rows.end; ++i)
      for (int j = columns.begin; j < columns.end; ++j) {
        const Index from = plane + (static_cast<Index>(i) * out_w + static_cast<Index>(j)) * block;
        const auto here = static_cast<Stored>(windows.index(i, j, h, w));
        const auto at = load_pack<N>(stored + from);
        const auto gradient = load_pack<N>(dy + from);
        for (int k = 0; k < N; ++k)
          if (at.v[k] == here) sum.v[k] = add_rn(sum.v[k], gradient.v[k]);
      }
    store_pack(dx + item * N, sum);
  }
}

/// Whether 32-bit indices reach every element, a step of the grid beyond the last included.
inline bool small(const MapLayout& x, const MapLayout& y) {
  constexpr int64_t kMost = int64_t{1} << 31;
  return x.size() < kMost && y.size() < kMost;
}

constexpr int kThreads = 256;

/// Calls run(std::integral_constant<int, N>, Index{}) for the widest pack and the narrowest index
/// that these arrays allow.
template <typename T, typename Stored, typename Run>
void with_pack(const MapLayout& x_layout, const MapLayout& y_layout, bool naive, const T* x,
               const T* y, const Stored* stored, const Run& run) {
  constexpr int kPack = Pack<T>::kSize;
  if (naive || !small(x_layout, y_layout))
    run(std::integral_constant<int, 1>{}, int64_t{});
  else if (x_layout.block % kPack == 0 && aligned_to(16, x, y) &&
           aligned_to(kPack * sizeof(Stored), stored))
    run(std::integral_constant<int, kPack>{}, uint32_t{});
  else
    run(std::integral_constant<int, 1>{}, uint32_t{});
}

}  // namespace frcnn::kernels::gpu::windows
