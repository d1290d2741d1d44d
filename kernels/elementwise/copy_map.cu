#include "kernels/elementwise/copy_map.h"

#include "kernels/launch/pack.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;

bool small(const MapLayout& x, const MapLayout& y) {
  constexpr int64_t kMost = int64_t{1} << 31;
  return x.size() < kMost && y.size() < kMost;
}

/// One thread: N channels of one cell. `span` counts the run's channels and, behind y's last one,
/// the padding. Neighbouring threads are neighbours in y.
template <int N, typename Index, typename T>
__global__ void copy_cells(MapLayout from, MapLayout to, ChannelRun run, int64_t span, const T* x,
                           T* y) {
  const auto cells = static_cast<Index>(to.h * to.w), packs = static_cast<Index>(span) / N;
  const auto x_block = static_cast<Index>(from.block), y_block = static_cast<Index>(to.block);
  const auto x_blocks = static_cast<Index>(from.blocks()),
             y_blocks = static_cast<Index>(to.blocks());
  const auto run_from = static_cast<Index>(run.from), run_to = static_cast<Index>(run.to);
  const Index count = static_cast<Index>(to.n) * cells * packs;
  for (auto item = static_cast<Index>(grid_first()); item < count;
       item += static_cast<Index>(grid_step())) {
    const Index line = y_block == 1 ? item / cells : item / packs;
    const Index cell = y_block == 1 ? item % cells : line % cells;
    const Index c = (y_block == 1 ? line % packs : item % packs) * N;
    const Index n = line / (y_block == 1 ? packs : cells);
    const Index into = run_to + c, out = run_from + c;
    Pack<T, N> pack = {};
    if (c < static_cast<Index>(run.count))
      pack = load_pack<N>(x + ((n * x_blocks + out / x_block) * cells + cell) * x_block +
                          out % x_block);
    for (int k = 1; k < N; ++k)
      if (c + static_cast<Index>(k) >= static_cast<Index>(run.count)) pack.v[k] = T(0);
    store_pack(y + ((n * y_blocks + into / y_block) * cells + cell) * y_block + into % y_block,
               pack);
  }
}

/// NCHW: the run of an image is one piece of memory. One thread: N neighbours of it.
template <int N, typename T>
__global__ void copy_planes(uint32_t count, uint32_t run, uint32_t x_image, uint32_t y_image,
                            const T* x, T* y) {
  for (auto item = static_cast<uint32_t>(grid_first()); item < count;
       item += static_cast<uint32_t>(grid_step())) {
    const uint32_t n = item / run, at = item % run * N;
    store_pack(y + n * y_image + at, load_pack<N>(x + n * x_image + at));
  }
}

/// One thread: N channels of one cell of the target, from the cell (h - top, w - left) of the
/// source, or `value` where there is none.
template <int N, typename Index, typename T>
__global__ void shift_map(MapLayout from, MapLayout to, int64_t top, int64_t left, T value,
                          const T* x, T* y) {
  const auto block = static_cast<Index>(to.block), packs = block / N;
  const auto width = static_cast<Index>(to.w), height = static_cast<Index>(to.h);
  const auto blocks = static_cast<Index>(to.blocks()), channels = static_cast<Index>(to.c);
  const auto count = static_cast<Index>(to.size()) / N;
  for (auto item = static_cast<Index>(grid_first()); item < count;
       item += static_cast<Index>(grid_step())) {
    const Index cell = item / packs, row = cell / width, plane = row / height;
    const int64_t h = static_cast<int64_t>(row % height) - top;
    const int64_t w = static_cast<int64_t>(cell % width) - left;
    const Index inside = item % packs * N;
    Pack<T, N> pack;
    if (h >= 0 && h < from.h && w >= 0 && w < from.w) {
      const Index source = (plane * static_cast<Index>(from.h) + static_cast<Index>(h)) *
                               static_cast<Index>(from.w) +
                           static_cast<Index>(w);
      pack = load_pack<N>(x + source * block + inside);
    } else {
      const Index c = plane % blocks * block + inside;
      for (int k = 0; k < N; ++k) pack.v[k] = c + static_cast<Index>(k) < channels ? value : T(0);
    }
    store_pack(y + item * N, pack);
  }
}

template <typename T>
void launch_shift(const char* name, Stream stream, const MapLayout& from, const MapLayout& to,
                  int64_t top, int64_t left, double value, const T* x, T* y, bool naive) {
  constexpr int kPack = Pack<T>::kSize;
  const auto run = [&](int n, auto kernel) {
    launch({name, blocks_for(to.size() / n, kThreads), kThreads, 0, stream}, kernel, from, to, top,
           left, static_cast<T>(value), x, y);
  };
  if (naive || !small(from, to))
    run(1, shift_map<1, int64_t, T>);
  else if (to.block % kPack == 0 && aligned_to(16, x, y))
    run(kPack, shift_map<kPack, uint32_t, T>);
  else
    run(1, shift_map<1, uint32_t, T>);
}

}  // namespace

template <Backend backend, typename T>
void copy_channels(Stream stream, const MapLayout& x_layout, const MapLayout& y_layout,
                   const ChannelRun& run, const T* x, T* y, CopyMapVersion version) {
  constexpr int kPack = Pack<T>::kSize;
  const MapLayout &from = x_layout, &to = y_layout;
  const bool to_the_end = run.to + run.count == to.c;
  const int64_t span = to_the_end ? to.blocks() * to.block - run.to : run.count;
  const int64_t cells = to.h * to.w, size = run.count * cells;
  const bool fast = version == CopyMapVersion::vector && small(from, to);
  const auto cells_by = [&](int n, auto kernel) {
    launch({"copy_channels", blocks_for(to.n * cells * span / n, kThreads), kThreads, 0, stream},
           kernel, from, to, run, span, x, y);
  };
  if (fast && from.block == 1 && to.block == 1) {
    const T *first = x + run.from * cells, *target = y + run.to * cells;
    const bool packs = size % kPack == 0 && from.c * cells % kPack == 0 &&
                       to.c * cells % kPack == 0 && aligned_to(16, first, target);
    const int n = packs ? kPack : 1;
    launch({"copy_channels", blocks_for(to.n * size / n, kThreads), kThreads, 0, stream},
           packs ? copy_planes<kPack, T> : copy_planes<1, T>, to.n * size / n, size / n,
           from.c * cells, to.c * cells, first, y + run.to * cells);
  } else if (fast && from.block % kPack == 0 && to.block % kPack == 0 && run.from % kPack == 0 &&
             run.to % kPack == 0 && span % kPack == 0 && aligned_to(16, x, y)) {
    cells_by(kPack, copy_cells<kPack, uint32_t, T>);
  } else if (fast) {
    cells_by(1, copy_cells<1, uint32_t, T>);
  } else {
    cells_by(1, copy_cells<1, int64_t, T>);
  }
}

template <Backend backend, typename T>
void pad_map(Stream stream, const MapLayout& x_layout, const MapPadding& padding, double value,
             const T* x, T* y, CopyMapVersion version) {
  launch_shift("pad_map", stream, x_layout, padding.padded(x_layout), padding.top, padding.left,
               value, x, y, version == CopyMapVersion::naive);
}

template <Backend backend, typename T>
void crop_map(Stream stream, const MapLayout& x_layout, const MapPadding& padding, const T* dy,
              T* dx, CopyMapVersion version) {
  launch_shift("crop_map", stream, padding.padded(x_layout), x_layout, -padding.top, -padding.left,
               0, dy, dx, version == CopyMapVersion::naive);
}

#define FRCNN_INSTANTIATE(T)                                                                     \
  template void copy_channels<kBackend, T>(Stream, const MapLayout&, const MapLayout&,           \
                                           const ChannelRun&, const T*, T*, CopyMapVersion);     \
  template void pad_map<kBackend, T>(Stream, const MapLayout&, const MapPadding&, double,        \
                                     const T*, T*, CopyMapVersion);                              \
  template void crop_map<kBackend, T>(Stream, const MapLayout&, const MapPadding&, const T*, T*, \
                                      CopyMapVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
