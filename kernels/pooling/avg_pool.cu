#include "kernels/pooling/avg_pool.h"

#include "kernels/elementwise/channel_sums.cuh"
#include "kernels/launch/pack.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;

/// One axis of the windows.
struct Axis {
  int in, out, kernel, stride, pad;
  bool include_pad;

  struct Window {
    int begin, end, counted;
  };
  __device__ Window cells(int i) const {
    const int first = i * stride - pad, end = first + kernel;
    const int begin = first < 0 ? 0 : first, inside = end < in ? end : in;
    return {begin, inside,
            include_pad ? (end < in + pad ? end : in + pad) - first : inside - begin};
  }
  /// Windows [begin, end) that hold cell `at`.
  __device__ Window over(int at) const {
    const int before = at + pad - kernel;  // windows that start here or earlier end before `at`
    const int end = (at + pad) / stride + 1;
    return {before < 0 ? 0 : before / stride + 1, end < out ? end : out, 0};
  }
};

struct Windows {
  Axis y, x;
  Windows(const MapLayout& from, const MapLayout& to, const AvgPoolParams& p)
      : y(axis(from.h, to.h, p.kernel_h, p.stride_h, p.pad_h, p.count_include_pad)),
        x(axis(from.w, to.w, p.kernel_w, p.stride_w, p.pad_w, p.count_include_pad)) {}
  static Axis axis(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad,
                   bool include_pad) {
    return {static_cast<int>(in),     static_cast<int>(out), static_cast<int>(kernel),
            static_cast<int>(stride), static_cast<int>(pad), include_pad};
  }
};

/// A thread's place in a map: N channels of one cell.
template <int N, typename Index>
struct Place {
  Index plane, inside;
  int h, w;
  __device__ Place(const MapLayout& map, Index item) {
    const auto packs = static_cast<Index>(map.block) / N, width = static_cast<Index>(map.w);
    const auto height = static_cast<Index>(map.h);
    const Index cell = item / packs, row = cell / width;
    plane = row / height;
    inside = item % packs * N;
    h = static_cast<int>(row % height);
    w = static_cast<int>(cell % width);
  }
  __device__ Index at(const MapLayout& map, int row, int column) const {
    return ((plane * static_cast<Index>(map.h) + static_cast<Index>(row)) *
                static_cast<Index>(map.w) +
            static_cast<Index>(column)) *
               static_cast<Index>(map.block) +
           inside;
  }
};

template <int N, typename Index, typename T>
__global__ void avg_forward(Windows windows, MapLayout from, MapLayout to, const T* x, T* y) {
  const auto count = static_cast<Index>(to.size()) / N;
  for (auto item = static_cast<Index>(grid_first()); item < count;
       item += static_cast<Index>(grid_step())) {
    const Place<N, Index> place(to, item);
    const auto rows = windows.y.cells(place.h), columns = windows.x.cells(place.w);
    Pack<T, N> sum = {};
    for (int h = rows.begin; h < rows.end; ++h)
      for (int w = columns.begin; w < columns.end; ++w) {
        const auto value = load_pack<N>(x + place.at(from, h, w));
        for (int k = 0; k < N; ++k) sum.v[k] = add_rn(sum.v[k], value.v[k]);
      }
    const auto cells = static_cast<T>(static_cast<int64_t>(rows.counted) * columns.counted);
    for (int k = 0; k < N; ++k) sum.v[k] = div_rn(sum.v[k], cells);
    store_pack(y + item * N, sum);
  }
}

/// dx gathers from the windows over each cell, row by row.
template <int N, typename Index, typename T>
__global__ void avg_backward(Windows windows, MapLayout from, MapLayout to, const T* dy, T* dx) {
  const auto count = static_cast<Index>(from.size()) / N;
  for (auto item = static_cast<Index>(grid_first()); item < count;
       item += static_cast<Index>(grid_step())) {
    const Place<N, Index> place(from, item);
    const auto rows = windows.y.over(place.h), columns = windows.x.over(place.w);
    Pack<T, N> sum = {};
    for (int i = rows.begin; i < rows.end; ++i)
      for (int j = columns.begin; j < columns.end; ++j) {
        const auto cells = static_cast<T>(static_cast<int64_t>(windows.y.cells(i).counted) *
                                          windows.x.cells(j).counted);
        const auto gradient = load_pack<N>(dy + place.at(to, i, j));
        for (int k = 0; k < N; ++k) sum.v[k] = add_rn(sum.v[k], div_rn(gradient.v[k], cells));
      }
    store_pack(dx + item * N, sum);
  }
}

template <int N, typename Index, typename T>
__global__ void global_backward(MapLayout layout, const T* dy, T* dx) {
  const auto cells = static_cast<T>(layout.h * layout.w);
  const auto count = static_cast<Index>(layout.size()) / N;
  for (auto item = static_cast<Index>(grid_first()); item < count;
       item += static_cast<Index>(grid_step())) {
    const Place<N, Index> place(layout, item);
    auto value = load_pack<N>(dy + place.plane * static_cast<Index>(layout.block) + place.inside);
    for (int k = 0; k < N; ++k) value.v[k] = div_rn(value.v[k], cells);
    store_pack(dx + item * N, value);
  }
}

template <typename T>
struct PutMean {
  T* y;
  int64_t stored;
  double cells;
  __device__ void operator()(int64_t n, int64_t c, int64_t, double sum) const {
    y[n * stored + c] = static_cast<T>(sum / cells);
  }
};

/// Calls run(std::integral_constant<int, N>, Index{}) for the widest pack and the narrowest index.
template <typename T, typename Run>
void with_pack(const MapLayout& x, const MapLayout& y, AvgPoolVersion version, const T* a,
               const T* b, const Run& run) {
  constexpr int kPack = Pack<T>::kSize;
  constexpr int64_t kMost = int64_t{1} << 31;
  if (version == AvgPoolVersion::naive || x.size() >= kMost || y.size() >= kMost)
    run(std::integral_constant<int, 1>{}, int64_t{});
  else if (x.block % kPack == 0 && aligned_to(16, a, b))
    run(std::integral_constant<int, kPack>{}, uint32_t{});
  else
    run(std::integral_constant<int, 1>{}, uint32_t{});
}

}  // namespace

template <Backend backend, typename T>
void avg_pool_forward(Stream stream, const MapLayout& x_layout, const AvgPoolParams& params,
                      const T* x, T* y, AvgPoolVersion version) {
  const MapLayout y_layout = avg_pool_layout(x_layout, params);
  with_pack<T>(x_layout, y_layout, version, x, y, [&](auto n, auto index) {
    constexpr int kPack = decltype(n)::value;
    launch({"avg_pool", blocks_for(y_layout.size() / kPack, kThreads), kThreads, 0, stream},
           avg_forward<kPack, decltype(index), T>, Windows(x_layout, y_layout, params), x_layout,
           y_layout, x, y);
  });
}

template <Backend backend, typename T>
void avg_pool_backward(Stream stream, const MapLayout& x_layout, const AvgPoolParams& params,
                       const T* dy, T* dx, AvgPoolVersion version) {
  const MapLayout y_layout = avg_pool_layout(x_layout, params);
  with_pack<T>(x_layout, y_layout, version, dy, dx, [&](auto n, auto index) {
    constexpr int kPack = decltype(n)::value;
    launch(
        {"avg_pool_backward", blocks_for(x_layout.size() / kPack, kThreads), kThreads, 0, stream},
        avg_backward<kPack, decltype(index), T>, Windows(x_layout, y_layout, params), x_layout,
        y_layout, dy, dx);
  });
}

template <Backend backend, typename T>
void global_avg_pool_forward(Stream stream, const MapLayout& x_layout, const T* x, T* y,
                             GlobalAvgPoolVersion version) {
  const int64_t cells = x_layout.h * x_layout.w;
  check(cells > 0, "[global_avg_pool] a map of {} x {} has no cells", x_layout.h, x_layout.w);
  const SumShape shape(x_layout, cells);
  channel_sums("global_avg_pool", stream, shape, version == GlobalAvgPoolVersion::naive, x,
               static_cast<const T*>(nullptr),
               PutMean<T>{y, shape.stored(), static_cast<double>(cells)});
}

template <Backend backend, typename T>
void global_avg_pool_backward(Stream stream, const MapLayout& x_layout, const T* dy, T* dx,
                              AvgPoolVersion version) {
  with_pack<T>(x_layout, x_layout, version, dy, dx, [&](auto n, auto index) {
    constexpr int kPack = decltype(n)::value;
    launch({"global_avg_pool_backward", blocks_for(x_layout.size() / kPack, kThreads), kThreads, 0,
            stream},
           global_backward<kPack, decltype(index), T>, x_layout, dy, dx);
  });
}

#define FRCNN_INSTANTIATE(T)                                                                   \
  template void avg_pool_forward<kBackend, T>(Stream, const MapLayout&, const AvgPoolParams&,  \
                                              const T*, T*, AvgPoolVersion);                   \
  template void avg_pool_backward<kBackend, T>(Stream, const MapLayout&, const AvgPoolParams&, \
                                               const T*, T*, AvgPoolVersion);                  \
  template void global_avg_pool_forward<kBackend, T>(Stream, const MapLayout&, const T*, T*,   \
                                                     GlobalAvgPoolVersion);                    \
  template void global_avg_pool_backward<kBackend, T>(Stream, const MapLayout&, const T*, T*,  \
                                                      AvgPoolVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
