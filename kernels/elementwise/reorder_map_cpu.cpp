#include "kernels/elementwise/reorder_map.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "kernels/launch/parallel.h"
#include "kernels/launch/simd.h"

namespace frcnn::kernels::cpu {
namespace {

/// Eight rows of eight floats, turned: to[i][j] = from[j][i].
FRCNN_INLINE void transpose8(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
  using Vec = Simd<float, 8>::Vec;
  Vec a[8], b[8];
  for (int i = 0; i < 8; ++i) a[i] = FRCNN_LOAD(Vec, from + i * from_stride);
  for (int i = 0; i < 8; i += 2) {
    b[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    b[i + 1] = __builtin_shufflevector(a[i], a[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4)
    for (int j = 0; j < 2; ++j) {
      a[i + 2 * j] = __builtin_shufflevector(b[i + j], b[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      a[i + 2 * j + 1] =
          __builtin_shufflevector(b[i + j], b[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int i = 0; i < 4; ++i) {
    FRCNN_STORE(Vec, to + i * to_stride) =
        __builtin_shufflevector(a[i], a[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    FRCNN_STORE(Vec, to + (i + 4) * to_stride) =
        __builtin_shufflevector(a[i], a[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

/// Copies a rectangle of channels x pixels, with a stride per axis on each side.
template <typename T>
FRCNN_SIMD void copy_rectangle(int64_t channels, int64_t pixels, const T* source,
                               int64_t source_channel, int64_t source_pixel, T* target,
                               int64_t target_channel, int64_t target_pixel) {
  if (source_channel == 1 && target_channel == 1 && channels % 8 == 0) {
    using Vec = typename Simd<T, 8>::Vec;
    for (int64_t i = 0; i < pixels; ++i)
      for (int64_t c = 0; c < channels; c += 8)
        FRCNN_STORE(Vec, target + i * target_pixel + c) =
            FRCNN_LOAD(Vec, source + i * source_pixel + c);
    return;
  }
  int64_t done = 0;
  if constexpr (std::is_same_v<T, float>) {
    const bool to_plain = source_channel == 1 && target_pixel == 1;
    const bool from_plain = source_pixel == 1 && target_channel == 1;
    if (channels % 8 == 0 && (to_plain || from_plain))
      for (; done + 8 <= pixels; done += 8)
        for (int64_t c = 0; c < channels; c += 8) {
          const T* from = source + c * source_channel + done * source_pixel;
          T* to = target + c * target_channel + done * target_pixel;
          if (to_plain)
            transpose8(from, source_pixel, to, target_channel);
          else
            transpose8(from, source_channel, to, target_pixel);
        }
  }
  for (int64_t p = done; p < pixels; p += 16) {
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
