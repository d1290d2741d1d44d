#pragma once

#include <memory>

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

/// (bins, 16) to (channels, bins), and back with zeros for the channels from `channels` on.
template <typename From, typename To>
FRCNN_INLINE void tile_to_rows(int64_t channels, int64_t bins, const From* tile, To* rows) {
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t b = 0; b < bins; ++b) rows[c * bins + b] = static_cast<To>(tile[b * kLanes + c]);
}
template <typename T>
FRCNN_INLINE void rows_to_tile(int64_t channels, int64_t bins, const T* rows, T* tile) {
  for (int64_t c = 0; c < kLanes; ++c)
    for (int64_t b = 0; b < bins; ++b)
      tile[b * kLanes + c] = c < channels ? rows[c * bins + b] : T(0);
}

}  // namespace frcnn::kernels::cpu
