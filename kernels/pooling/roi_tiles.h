#pragma once

#include <algorithm>
#include <memory>
#include <type_traits>

#include "kernels/elementwise/reorder_map.h"
#include "kernels/launch/layout.h"
#include "kernels/launch/simd.h"

namespace frcnn::kernels::cpu {

/// What RoI pooling and RoIAlign share: a feature map seen as groups of 16 neighbouring channels,
/// and tiles of (bins, 16) that are turned into rows of the plain (R, C, pooled_h, pooled_w)
/// output.
inline constexpr int64_t kLanes = 16;

/// Address arithmetic for a map whose block is a multiple of 16: group g holds the channels from
/// 16 g on; its pixel (h, w) is the 16 numbers from at(n, g) + h * row_stride + w * pixel_stride.
struct LaneGroups {
  MapLayout layout;
  explicit LaneGroups(const MapLayout& map) : layout(map) {}
  int64_t groups() const { return layout.blocks() * layout.block / kLanes; }
  int64_t pixel_stride() const { return layout.block; }
  int64_t row_stride() const { return layout.w * layout.block; }
  int64_t at(int64_t image, int64_t group) const {
    const int64_t c = group * kLanes;
    return layout.block_at(image, c / layout.block) + c % layout.block;
  }
};

/// The layout in which RoI kernels work: the given one, or blocked by 16 when that does not suit.
inline MapLayout roi_layout(MapLayout layout) {
  if (layout.block % kLanes != 0) layout.block = kLanes;
  return layout;
}

/// The map in roi_layout(): itself, or a copy that `storage` keeps.
template <typename T>
const T* roi_map(const MapLayout& layout, const T* x, std::unique_ptr<T[]>& storage) {
  const MapLayout wanted = roi_layout(layout);
  if (wanted.block == layout.block) return x;
  storage.reset(new T[static_cast<size_t>(wanted.size())]);
  reorder_map(layout, wanted.block, x, storage.get());
  return storage.get();
}

/// to[j, i] = from[i, j], 8 x 8 numbers of four bytes: moves alone, in registers.
FRCNN_INLINE void transpose8(const void* from, int64_t from_stride, void* to, int64_t to_stride) {
  using Vec = Simd<float, 8>::Vec;
  Vec a[8], b[8];
  for (int i = 0; i < 8; ++i)
    a[i] = FRCNN_LOAD(Vec, static_cast<const float*>(from) + i * from_stride);
  for (int i = 0; i < 8; i += 2) {  // pairs of rows
    b[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    b[i + 1] = __builtin_shufflevector(a[i], a[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4)  // fours
    for (int k = 0; k < 2; ++k) {
      a[i + 2 * k] = __builtin_shufflevector(b[i + k], b[i + k + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      a[i + 2 * k + 1] =
          __builtin_shufflevector(b[i + k], b[i + k + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int i = 0; i < 4; ++i) {  // halves
    FRCNN_STORE(Vec, static_cast<float*>(to) + i * to_stride) =
        __builtin_shufflevector(a[i], a[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    FRCNN_STORE(Vec, static_cast<float*>(to) + (i + 4) * to_stride) =
        __builtin_shufflevector(a[i], a[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

/// (bins, 16) to (channels, bins), and back with zeros for the channels from `channels` on. Whole
/// groups of numbers of four bytes go 8 x 8 at a time; the last such block may overlap the one
/// before it.
template <typename From, typename To>
FRCNN_INLINE void tile_to_rows(int64_t channels, int64_t bins, const From* tile, To* rows) {
  if constexpr (std::is_same_v<From, To> && sizeof(From) == 4)
    if (channels == kLanes && bins >= 8) {
      for (int64_t next = 0; next < bins; next += 8) {
        const int64_t b = std::min(next, bins - 8);
        for (int64_t c = 0; c < kLanes; c += 8)
          transpose8(tile + b * kLanes + c, kLanes, rows + c * bins + b, bins);
      }
      return;
    }
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t b = 0; b < bins; ++b) rows[c * bins + b] = static_cast<To>(tile[b * kLanes + c]);
}
template <typename T>
FRCNN_INLINE void rows_to_tile(int64_t channels, int64_t bins, const T* rows, T* tile) {
  if constexpr (sizeof(T) == 4)
    if (channels == kLanes && bins >= 8) {
      for (int64_t next = 0; next < bins; next += 8) {
        const int64_t b = std::min(next, bins - 8);
        for (int64_t c = 0; c < kLanes; c += 8)
          transpose8(rows + c * bins + b, bins, tile + b * kLanes + c, kLanes);
      }
      return;
    }
  for (int64_t c = 0; c < kLanes; ++c)
    for (int64_t b = 0; b < bins; ++b)
      tile[b * kLanes + c] = c < channels ? rows[c * bins + b] : T(0);
}

}  // namespace frcnn::kernels::cpu
