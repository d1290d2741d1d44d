#include <algorithm>

#include "kernels/elementwise/map_tiles.h"
#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr int64_t kGrain = 32768;  // elements a thread is worth waking for

void check_window(const char* op, int window) {
  check(window > 0 && window % 2 == 1, "[{}] expected an odd window, got {}", op, window);
}

}  // namespace

template <typename T>
void gather_tiles(const MapLayout& x_layout, int window, int64_t tiles, const int32_t* cells,
                  const T* x, T* y) {
  check_window("gather_tiles", window);
  const MapLayout& map = x_layout;
  const int64_t block = map.block, blocks = map.blocks(), half = window / 2;
  // A task is a channel block of a tile, its cells one behind the other.
  parallel_for(tiles * blocks, 1 + kGrain / (window * window * block + 1),
               [&](int64_t begin, int64_t end) {
                 for (int64_t r = begin; r < end; ++r) {
                   const int64_t cell = cells[r / blocks];
                   T* to = y + r * window * window * block;
                   if (cell < 0) {
                     std::fill(to, to + window * window * block, T(0));
                     continue;
                   }
                   const int64_t row = cell / map.w, n = row / map.h;
                   const int64_t top = row % map.h - half, left = cell % map.w - half;
                   const T* plane = x + map.block_at(n, r % blocks);
                   for (int64_t i = 0; i < window; ++i)
                     for (int64_t j = 0; j < window; ++j, to += block) {
                       const int64_t h = top + i, w = left + j;
                       if (h < 0 || h >= map.h || w < 0 || w >= map.w)
                         std::fill(to, to + block, T(0));
                       else
                         std::copy_n(plane + (h * map.w + w) * block, block, to);
                     }
                 }
               });
}

template <typename T>
void scatter_tiles(const MapLayout& x_layout, int window, const int32_t* places, const T* dy,
                   T* dx) {
  check_window("scatter_tiles", window);
  const MapLayout& map = x_layout;
  const int64_t block = map.block, blocks = map.blocks(), half = window / 2;
  // A task is a row of a channel block; each cell collects from the tiles around it.
  parallel_for(
      map.n * blocks * map.h, 1 + kGrain / (map.w * block + 1), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          const int64_t h = r % map.h, plane = r / map.h, n = plane / blocks;
          T* to = dx + r * map.w * block;
          std::fill(to, to + map.w * block, T(0));
          for (int64_t w = 0; w < map.w; ++w, to += block)
            for (int64_t i = 0; i < window; ++i) {
              const int64_t middle_h = h + half - i;
              if (middle_h < 0 || middle_h >= map.h) continue;
              for (int64_t j = 0; j < window; ++j) {
                const int64_t middle_w = w + half - j;
                if (middle_w < 0 || middle_w >= map.w) continue;
                const int64_t tile = places[(n * map.h + middle_h) * map.w + middle_w];
                if (tile < 0) continue;
                const T* from =
                    dy + (((tile * blocks + plane % blocks) * window + i) * window + j) * block;
                for (int64_t k = 0; k < block; ++k) to[k] += from[k];
              }
            }
        }
      });
}

#define FRCNN_INSTANTIATE(T)                                                                   \
  template void gather_tiles<T>(const MapLayout&, int, int64_t, const int32_t*, const T*, T*); \
  template void scatter_tiles<T>(const MapLayout&, int, const int32_t*, const T*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
