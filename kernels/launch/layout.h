#pragma once

#include <cstdint>

namespace frcnn::kernels {

/// Physical layout of a logical (N, C, H, W) map, for every format the project uses.
///
/// Channels are stored in blocks of `block` neighbours, and the last block is padded with zeros:
///   block = 1      NCHW ("contiguous")
///   block = C      NHWC ("channels last")
///   block = 8, 16  nChw8c, nChw16c, the blocked formats that oneDNN's convolutions prefer
/// Memory order, slowest first: n, channel block, h, w, channel within the block.
/// Kernels keep the padding of what they write at zero.
struct MapLayout {
  int64_t n = 0, c = 0, h = 0, w = 0;
  int64_t block = 1;

  /// Number of channel blocks of one image.
  constexpr int64_t blocks() const { return (c + block - 1) / block; }
  /// Elements in memory, padding included.
  constexpr int64_t size() const { return n * blocks() * block * h * w; }
  /// Index of element (in, ic, ih, iw).
  constexpr int64_t at(int64_t in, int64_t ic, int64_t ih, int64_t iw) const {
    return (((in * blocks() + ic / block) * h + ih) * w + iw) * block + ic % block;
  }
  /// Index of the first element of channel block `ib` of image `in`: an (h, w, block) array.
  constexpr int64_t block_at(int64_t in, int64_t ib) const {
    return (in * blocks() + ib) * h * w * block;
  }
  /// The other way round: the element at place i of memory. In the padding of the last block its
  /// channel is `c` or more.
  struct Element {
    int64_t n, c, h, w;
  };
  constexpr Element element(int64_t i) const {
    const int64_t pixel = i / block, row = pixel / w, plane = row / h;
    return {plane / blocks(), plane % blocks() * block + i % block, row % h, pixel % w};
  }
  constexpr bool operator==(const MapLayout&) const = default;
  /// Same batch, channels and block with another height and width.
  constexpr MapLayout resized(int64_t new_h, int64_t new_w) const {
    return {n, c, new_h, new_w, block};
  }
};

}  // namespace frcnn::kernels
