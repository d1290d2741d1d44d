#include "kernels/elementwise/map_tiles.h"

#include "kernels/launch/pack.cuh"
#include "kernels/launch/scan.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kScanThreads = 1024;

/// One thread: N channels of one cell of a tile. Neighbouring threads are neighbours in y.
template <int N, typename Index, typename T>
__global__ void gather_kernel(MapLayout map, int window, Index count, const int32_t* cells,
                              const T* x, T* y) {
  const auto block = static_cast<Index>(map.block), packs = block / N;
  const auto blocks = static_cast<Index>(map.blocks()), side = static_cast<Index>(window);
  for (auto item = static_cast<Index>(grid_first()); item < count;
       item += static_cast<Index>(grid_step())) {
    const Index at = item / packs, row = at / side, plane = row / side;
    const int32_t cell = cells[plane / blocks];
    Pack<T, N> pack = {};
    if (cell >= 0) {
      const auto middle = static_cast<int64_t>(cell), line = middle / map.w;
      const int64_t h = line % map.h + static_cast<int64_t>(row % side) - window / 2;
      const int64_t w = middle % map.w + static_cast<int64_t>(at % side) - window / 2;
      if (h >= 0 && h < map.h && w >= 0 && w < map.w) {
        const Index source = ((static_cast<Index>(line / map.h) * blocks + plane % blocks) *
                                  static_cast<Index>(map.h) +
                              static_cast<Index>(h)) *
                                 static_cast<Index>(map.w) +
                             static_cast<Index>(w);
        pack = load_pack<N>(x + source * block + item % packs * N);
      }
    }
    store_pack(y + item * N, pack);
  }
}

/// One thread: N channels of one cell of the map, which it collects from the tiles around it: no
/// two threads write one number, and the order of the sum is fixed.
template <int N, typename Index, typename T>
__global__ void scatter_kernel(MapLayout map, int window, Index count, const int32_t* places,
                               const T* dy, T* dx) {
  const auto block = static_cast<Index>(map.block), packs = block / N;
  const auto blocks = static_cast<Index>(map.blocks()), side = static_cast<Index>(window);
  const auto width = static_cast<Index>(map.w), height = static_cast<Index>(map.h);
  for (auto item = static_cast<Index>(grid_first()); item < count;
       item += static_cast<Index>(grid_step())) {
    const Index at = item / packs, row = at / width, plane = row / height;
    const auto n = static_cast<int64_t>(plane / blocks);
    Pack<T, N> sum = {};
    for (int i = 0; i < window; ++i) {
      const int64_t h = static_cast<int64_t>(row % height) + window / 2 - i;
      if (h < 0 || h >= map.h) continue;
      for (int j = 0; j < window; ++j) {
        const int64_t w = static_cast<int64_t>(at % width) + window / 2 - j;
        if (w < 0 || w >= map.w) continue;
        const int32_t tile = places[(n * map.h + h) * map.w + w];
        if (tile < 0) continue;
        const Index from =
            ((static_cast<Index>(tile) * blocks + plane % blocks) * side + static_cast<Index>(i)) *
                side +
            static_cast<Index>(j);
        const Pack<T, N> part = load_pack<N>(dy + from * block + item % packs * N);
        for (int k = 0; k < N; ++k) sum.v[k] = add_rn(sum.v[k], part.v[k]);
      }
    }
    store_pack(dx + item * N, sum);
  }
}

/// One block per image: the cells in order, kScanThreads at a time.
__global__ void __launch_bounds__(kScanThreads, 1)
    sampled_cells_kernel(int64_t cells_per_image, int64_t anchors, int64_t capacity,
                         const int32_t* all_labels, int32_t* all_cells, int32_t* all_places) {
  const int64_t image = blockIdx.x;
  const int32_t* labels = all_labels + image * cells_per_image * anchors;
  int32_t* cells = all_cells + image * capacity;
  int32_t* places = all_places + image * cells_per_image;
  int64_t found = 0;
  for (int64_t start = 0; start < cells_per_image; start += kScanThreads) {
    const int64_t cell = start + threadIdx.x;
    int sampled = 0;
    for (int64_t a = 0; cell < cells_per_image && a < anchors; ++a)
      if (labels[cell * anchors + a] >= 0) sampled = 1;
    int total = 0;
    const int64_t tile = found + block_scan<kScanThreads>(sampled, &total);
    const bool kept = sampled != 0 && tile < capacity;
    if (kept) cells[tile] = static_cast<int32_t>(image * cells_per_image + cell);
    if (cell < cells_per_image)
      places[cell] = kept ? static_cast<int32_t>(image * capacity + tile) : -1;
    found += total;
  }
  for (int64_t i = found + threadIdx.x; i < capacity; i += kScanThreads) cells[i] = -1;
}

/// Calls run(pack size, Index{}) for what the version and the maps allow. `written` and `other` are
/// the two maps' sizes.
template <typename T, typename Run>
void by_pack(const MapLayout& map, int64_t written, int64_t other, bool naive, const void* x,
             const void* y, const Run& run) {
  constexpr int kPack = Pack<T>::kSize;
  constexpr int64_t kMost = int64_t{1} << 31;
  if (naive || written >= kMost || other >= kMost)
    run(std::integral_constant<int, 1>{}, int64_t{});
  else if (map.block % kPack == 0 && aligned_to(16, x, y))
    run(std::integral_constant<int, kPack>{}, uint32_t{});
  else
    run(std::integral_constant<int, 1>{}, uint32_t{});
}

}  // namespace

template <Backend backend, typename T>
void gather_tiles(Stream stream, const MapLayout& x_layout, int window, int64_t tiles,
                  const int32_t* cells, const T* x, T* y, MapTilesVersion version) {
  check(window > 0 && window % 2 == 1, "[gather_tiles] expected an odd window, got {}", window);
  const int64_t size = tiles_layout(x_layout, window, tiles).size();
  by_pack<T>(x_layout, size, x_layout.size(), version == MapTilesVersion::naive, x, y,
             [&](auto pack, auto index) {
               constexpr int N = decltype(pack)::value;
               using Index = decltype(index);
               launch({"gather_tiles", blocks_for(size / N, kThreads), kThreads, 0, stream},
                      gather_kernel<N, Index, T>, x_layout, window, static_cast<Index>(size / N),
                      cells, x, y);
             });
}

template <Backend backend, typename T>
void scatter_tiles(Stream stream, const MapLayout& x_layout, int window, const int32_t* places,
                   const T* dy, T* dx, MapTilesVersion version) {
  check(window > 0 && window % 2 == 1, "[scatter_tiles] expected an odd window, got {}", window);
  const int64_t size = x_layout.size();
  // No more tiles than cells.
  const int64_t most = tiles_layout(x_layout, window, x_layout.n * x_layout.h * x_layout.w).size();
  by_pack<T>(x_layout, size, most, version == MapTilesVersion::naive, dy, dx,
             [&](auto pack, auto index) {
               constexpr int N = decltype(pack)::value;
               using Index = decltype(index);
               launch({"scatter_tiles", blocks_for(size / N, kThreads), kThreads, 0, stream},
                      scatter_kernel<N, Index, T>, x_layout, window, static_cast<Index>(size / N),
                      places, dy, dx);
             });
}

template <Backend backend>
void sampled_cells(Stream stream, int64_t images, int64_t cells_per_image, int64_t anchors,
                   int64_t capacity, const int32_t* labels, int32_t* cells, int32_t* places) {
  launch({"sampled_cells", static_cast<unsigned>(images), kScanThreads, 0, stream},
         sampled_cells_kernel, cells_per_image, anchors, capacity, labels, cells, places);
}

#define FRCNN_INSTANTIATE(T)                                                                      \
  template void gather_tiles<kBackend, T>(Stream, const MapLayout&, int, int64_t, const int32_t*, \
                                          const T*, T*, MapTilesVersion);                         \
  template void scatter_tiles<kBackend, T>(Stream, const MapLayout&, int, const int32_t*,         \
                                           const T*, T*, MapTilesVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE
template void sampled_cells<kBackend>(Stream, int64_t, int64_t, int64_t, int64_t, const int32_t*,
                                      int32_t*, int32_t*);

}  // namespace frcnn::kernels::gpu
