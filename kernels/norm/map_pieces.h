#pragma once

#include <algorithm>
#include <vector>

#include "kernels/launch/layout.h"

namespace frcnn::kernels::cpu {

/// A map cut into pieces of a few thousand elements for per-channel work. A piece is `steps`
/// vectors of `lanes` numbers, `stride` elements apart. Where the block holds several channels,
/// lane i belongs to channel + i; in a plain NCHW map all lanes are neighbouring pixels of one
/// channel.
struct MapPiece {
  int64_t offset, steps, stride;
  int64_t channel;
  int lanes;  // 16, 8 or 1
};

/// The pieces in memory order of images, channels and pixels: the same for any number of threads.
inline std::vector<MapPiece> map_pieces(const MapLayout& layout) {
  constexpr int64_t kSteps = 256;  // with 16 lanes, 16 kB of float: two passes hit the first cache
  std::vector<MapPiece> pieces;
  const int64_t pixels = layout.h * layout.w, block = layout.block;
  const auto cut = [&](int64_t offset, int64_t steps, int64_t stride, int64_t channel, int lanes) {
    for (int64_t s = 0; s < steps; s += kSteps)
      pieces.push_back({offset + s * stride, std::min(kSteps, steps - s), stride, channel, lanes});
  };
  for (int64_t n = 0; n < layout.n; ++n)
    for (int64_t b = 0; b < layout.blocks(); ++b) {
      const int64_t start = layout.block_at(n, b);
      if (block == 1) {
        cut(start, pixels / 16, 16, b, 16);
        cut(start + pixels / 16 * 16, pixels % 16, 1, b, 1);
        continue;
      }
      int64_t lane = 0;
      for (; lane + 16 <= block; lane += 16) cut(start + lane, pixels, block, b * block + lane, 16);
      for (; lane + 8 <= block; lane += 8) cut(start + lane, pixels, block, b * block + lane, 8);
      for (; lane < block; ++lane) cut(start + lane, pixels, block, b * block + lane, 1);
    }
  return pieces;
}

}  // namespace frcnn::kernels::cpu
