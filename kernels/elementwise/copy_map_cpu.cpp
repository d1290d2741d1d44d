#include "kernels/elementwise/copy_map.h"

#include <algorithm>
#include <cstring>

#include "kernels/launch/parallel.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr int64_t kGrain = 32768;  // elements a thread is worth waking for

template <typename T>
void copy_run(int64_t count, const T* from, T* to) {
  std::memcpy(to, from, static_cast<size_t>(count) * sizeof(T));
}

/// The channels from c on that lie together in memory in a cell of a map; all of them where cells
/// have one channel, so that whole planes are one run.
int64_t channels_together(const MapLayout& map, int64_t c) {
  return map.block == 1 ? map.c - c : map.block - c % map.block;
}

/// Address of channel c of cell `cell` of image n.
int64_t address(const MapLayout& map, int64_t n, int64_t c, int64_t cell) {
  return map.block_at(n, c / map.block) + cell * map.block + c % map.block;
}

}  // namespace

template <typename T>
void copy_channels(const MapLayout& x_layout, const MapLayout& y_layout, const ChannelRun& run,
                   const T* x, T* y) {
  const int64_t row = x_layout.w, cells = x_layout.h * x_layout.w;
  const bool to_the_end = run.to + run.count == y_layout.c;
  // A task is a row of one image with all its channels.
  parallel_for(
      x_layout.n * x_layout.h, 1 + kGrain / (row * run.count + 1), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          const int64_t n = r / x_layout.h, first = r % x_layout.h * row;
          for (int64_t c = 0; c < run.count;) {
            const int64_t together =
                std::min({run.count - c, channels_together(x_layout, run.from + c),
                          channels_together(y_layout, run.to + c)});
            const T* from = x + address(x_layout, n, run.from + c, first);
            T* to = y + address(y_layout, n, run.to + c, first);
            if (x_layout.block == 1 && y_layout.block == 1) {
              for (int64_t k = 0; k < together; ++k)
                copy_run(row, from + k * cells, to + k * cells);
            } else if (x_layout.block > 1 && y_layout.block > 1) {
              for (int64_t i = 0; i < row; ++i)
                copy_run(together, from + i * x_layout.block, to + i * y_layout.block);
            } else {
              const int64_t x_step = x_layout.block == 1 ? cells : 1;
              const int64_t y_step = y_layout.block == 1 ? cells : 1;
              for (int64_t i = 0; i < row; ++i)
                for (int64_t k = 0; k < together; ++k)
                  to[i * y_layout.block + k * y_step] = from[i * x_layout.block + k * x_step];
            }
            c += together;
          }
          const int64_t used = y_layout.c % y_layout.block;
          if (!to_the_end || used == 0) continue;
          T* last = y + address(y_layout, n, y_layout.c - used, first);
          for (int64_t i = 0; i < row; ++i)
            std::fill(last + i * y_layout.block + used, last + (i + 1) * y_layout.block, T(0));
        }
      });
}

template <typename T>
void pad_map(const MapLayout& x_layout, const MapPadding& padding, double value, const T* x, T* y) {
  const MapLayout y_layout = padding.padded(x_layout);
  const int64_t block = x_layout.block;
  const auto fill = static_cast<T>(value);
  parallel_for(y_layout.n * y_layout.blocks() * y_layout.h, 1 + kGrain / (y_layout.w * block + 1),
               [&](int64_t begin, int64_t end) {
                 for (int64_t r = begin; r < end; ++r) {
                   const int64_t plane = r / y_layout.h, h = r % y_layout.h - padding.top;
                   const int64_t used =
                       std::min(block, y_layout.c - plane % y_layout.blocks() * block);
                   T* to = y + r * y_layout.w * block;
                   const auto surround = [&](int64_t first, int64_t last) {
                     if (used == block)
                       return std::fill(to + first * block, to + last * block, fill);
                     for (int64_t i = first; i < last; ++i) {
                       std::fill(to + i * block, to + i * block + used, fill);
                       std::fill(to + i * block + used, to + (i + 1) * block, T(0));
                     }
                   };
                   if (h < 0 || h >= x_layout.h) {
                     surround(0, y_layout.w);
                     continue;
                   }
                   surround(0, padding.left);
                   copy_run(x_layout.w * block, x + (plane * x_layout.h + h) * x_layout.w * block,
                            to + padding.left * block);
                   surround(padding.left + x_layout.w, y_layout.w);
                 }
               });
}

template <typename T>
void crop_map(const MapLayout& x_layout, const MapPadding& padding, const T* dy, T* dx) {
  const MapLayout y_layout = padding.padded(x_layout);
  const int64_t row = x_layout.w * x_layout.block;
  parallel_for(x_layout.n * x_layout.blocks() * x_layout.h, 1 + kGrain / (row + 1),
               [&](int64_t begin, int64_t end) {
                 for (int64_t r = begin; r < end; ++r) {
                   const int64_t from = r / x_layout.h * y_layout.h + r % x_layout.h + padding.top;
                   copy_run(row, dy + (from * y_layout.w + padding.left) * x_layout.block,
                            dx + r * row);
                 }
               });
}

#define FRCNN_INSTANTIATE(T)                                                                      \
  template void copy_channels<T>(const MapLayout&, const MapLayout&, const ChannelRun&, const T*, \
                                 T*);                                                             \
  template void pad_map<T>(const MapLayout&, const MapPadding&, double, const T*, T*);            \
  template void crop_map<T>(const MapLayout&, const MapPadding&, const T*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
