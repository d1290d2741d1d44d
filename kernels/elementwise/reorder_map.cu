#include "kernels/elementwise/reorder_map.h"

#include "kernels/launch/gpu.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kTile = 32;

template <typename T>
__global__ void reorder_naive(MapLayout from, MapLayout to, const T* x, T* y) {
  const int64_t pixels = to.h * to.w, count = to.size();
  for (int64_t i = grid_first(); i < count; i += grid_step()) {
    const int64_t pixel = i / to.block % pixels, plane = i / to.block / pixels;
    const int64_t n = plane / to.blocks(), c = plane % to.blocks() * to.block + i % to.block;
    y[i] =
        c < to.c ? x[from.block_at(n, c / from.block) + pixel * from.block + c % from.block] : T(0);
  }
}

/// The cell (pixel, channel) of a tile that a thread handles in its turn `i` of four: neighbouring
/// threads are neighbouring pixels in NCHW, and channels in every other layout.
struct Cell {
  int channel, pixel;
  __device__ Cell(const MapLayout& map, int i) {
    const int lane = static_cast<int>(threadIdx.x) % kTile;
    const int other = static_cast<int>(threadIdx.x) / kTile + i * (kThreads / kTile);
    channel = map.block == 1 ? other : lane;
    pixel = map.block == 1 ? lane : other;
  }
};

template <typename T>
__global__ void __launch_bounds__(kThreads)
    reorder_tile(MapLayout from, MapLayout to, const T* x, T* y) {
  FRCNN_SHARED(T, tile, [kTile][kTile + 1]);  // a column more: no two lanes meet in a bank
  const int64_t pixels = to.h * to.w, stored = to.blocks() * to.block;
  const auto across = static_cast<unsigned>(ceil_div(pixels, kTile));
  const auto deep = static_cast<unsigned>(ceil_div(stored, kTile));
  const int64_t first_pixel = int64_t{blockIdx.x % across} * kTile;
  const int64_t first_channel = int64_t{blockIdx.x / across % deep} * kTile;
  const int64_t n = blockIdx.x / across / deep;
  constexpr int kTurns = kTile * kTile / kThreads;
  for (int i = 0; i < kTurns; ++i) {
    const Cell cell(from, i);
    const int64_t c = first_channel + cell.channel, pixel = first_pixel + cell.pixel;
    T value = 0;
    if (c < from.c && pixel < pixels)
      value = x[from.block_at(n, c / from.block) + pixel * from.block + c % from.block];
    tile[cell.channel][cell.pixel] = value;
  }
  __syncthreads();
  for (int i = 0; i < kTurns; ++i) {
    const Cell cell(to, i);
    const int64_t c = first_channel + cell.channel, pixel = first_pixel + cell.pixel;
    if (c < stored && pixel < pixels)
      y[to.block_at(n, c / to.block) + pixel * to.block + c % to.block] =
          tile[cell.channel][cell.pixel];
  }
}

}  // namespace

template <Backend backend, typename T>
void reorder_map(Stream stream, const MapLayout& x_layout, int64_t y_block, const T* x, T* y,
                 ReorderMapVersion version) {
  MapLayout y_layout = x_layout;
  y_layout.block = y_block;
  if (x_layout.block == y_block && x_layout.c % y_block == 0) {
    const auto bytes = static_cast<size_t>(y_layout.size()) * sizeof(T);
    if (bytes > 0) copy_on_device<backend>(stream, y, x, bytes);
    return;
  }
  if (version == ReorderMapVersion::naive) {
    launch({"reorder_map_naive", blocks_for(y_layout.size(), kThreads), kThreads, 0, stream},
           reorder_naive<T>, x_layout, y_layout, x, y);
    return;
  }
  const int64_t tiles = ceil_div(y_layout.h * y_layout.w, kTile) *
                        ceil_div(y_layout.blocks() * y_block, kTile) * y_layout.n;
  launch({"reorder_map_tile", static_cast<unsigned>(tiles), kThreads, 0, stream}, reorder_tile<T>,
         x_layout, y_layout, x, y);
}

#define FRCNN_INSTANTIATE(T)                                                              \
  template void reorder_map<kBackend, T>(Stream, const MapLayout&, int64_t, const T*, T*, \
                                         ReorderMapVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
