#include "kernels/elementwise/reorder_map.h"

#include <algorithm>
#include <cstring>

#include "kernels/launch/parallel.h"
#include "kernels/launch/simd.h"

namespace frcnn::kernels::cpu {
namespace {

/// Copies a rectangle of channels x pixels, with a stride per axis on each side. Sixteen pixels at
/// a time, so that whole cache lines are read and written on both sides.
template <typename T>
FRCNN_SIMD void copy_rectangle(int64_t channels, int64_t pixels, const T* source,
                               int64_t source_channel, int64_t source_pixel, T* target,
                               int64_t target_channel, int64_t target_pixel) {
  for (int64_t p = 0; p < pixels; p += 16) {
    const int64_t end = std::min(pixels, p + 16);
    for (int64_t c = 0; c < channels; ++c) {
      const T* from = source + c * source_channel;
      T* to = target + c * target_channel;
      for (int64_t i = p; i < end; ++i) to[i * target_pixel] = from[i * source_pixel];
    }
  }
}

}  // namespace

template <typename T>
void reorder_map(const MapLayout& x_layout, int64_t y_block, const T* x, T* y) {
  MapLayout y_layout = x_layout;
  y_layout.block = y_block;
  const int64_t pixels = x_layout.h * x_layout.w;
  if (x_layout.block == y_block && x_layout.c % y_block == 0) {
    const int64_t planes = x_layout.n * x_layout.blocks(), size = pixels * y_block;
    parallel_for(planes * size, 32768, [&](int64_t begin, int64_t end) {
      std::memcpy(y + begin, x + begin, static_cast<size_t>(end - begin) * sizeof(T));
    });
    return;
  }
  // A task is one strip of pixels of one image: its channels are cut where either format's blocks
  // end.
  constexpr int64_t kStrip = 256;
  const int64_t strips = (pixels + kStrip - 1) / kStrip;
  parallel_for(
      x_layout.n * strips, 1 + 16384 / (kStrip * x_layout.c + 1), [&](int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task) {
          const int64_t image = task / strips, first = task % strips * kStrip;
          const int64_t count = std::min(kStrip, pixels - first);
          for (int64_t c = 0; c < x_layout.c;) {
            const int64_t in_x = c % x_layout.block, in_y = c % y_block;
            const int64_t left_x = x_layout.block == 1 ? x_layout.c : x_layout.block - in_x;
            const int64_t left_y = y_block == 1 ? x_layout.c : y_block - in_y;
            const int64_t channels = std::min({x_layout.c - c, left_x, left_y, int64_t{16}});
            const T* from =
                x + x_layout.block_at(image, c / x_layout.block) + first * x_layout.block;
            T* to = y + y_layout.block_at(image, c / y_block) + first * y_block;
            copy_rectangle(channels, count, from + in_x, x_layout.block == 1 ? pixels : 1,
                           x_layout.block, to + in_y, y_block == 1 ? pixels : 1, y_block);
            c += channels;
          }
          const int64_t padding = y_layout.blocks() * y_block - y_layout.c;
          if (padding == 0) continue;
          T* last = y + y_layout.block_at(image, y_layout.blocks() - 1) + first * y_block;
          for (int64_t i = 0; i < count; ++i)
            std::fill_n(last + (i + 1) * y_block - padding, padding, T(0));
        }
      });
}

template void reorder_map<float>(const MapLayout&, int64_t, const float*, float*);
template void reorder_map<double>(const MapLayout&, int64_t, const double*, double*);

}  // namespace frcnn::kernels::cpu
