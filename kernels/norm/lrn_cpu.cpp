// Local response normalisation on rows of channels, one for each of 16 pixels: along a row
// everything is a vector operation, and a blocked map is copied in pieces of whole blocks.
#include "kernels/norm/lrn.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"
#include "kernels/launch/simd.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr int64_t kPixels = 16;

/// Up to 16 neighbouring pixels of a map.
struct Tile {
  int64_t offset;      ///< of the first pixel's first channel
  int64_t block;       ///< channels that lie together
  int64_t block_size;  ///< from a block of channels to the next
  int64_t pixels;
};

/// Rows of channels in a buffer. A margin of zeros on both sides lets windows reach over the ends.
struct Rows {
  int64_t channels, margin, stride;
  Rows(const MapLayout& layout, const LrnParams& p)
      : channels(layout.c), margin(p.size), stride(layout.blocks() * layout.block + 2 * p.size) {}
  int64_t padded() const { return stride - 2 * margin; }
  int64_t at(int64_t pixel) const { return pixel * stride + margin; }
};

/// A block of 16, which the CPU's maps have, is one or two vectors: loops of unknown length cost
/// more.
template <typename T>
FRCNN_INLINE void copy_channels(int64_t count, const T* from, T* to) {
  if (count == 16)
    for (int k = 0; k < 16; ++k) to[k] = from[k];
  else
    for (int64_t k = 0; k < count; ++k) to[k] = from[k];
}

/// Pixels of the map to rows, whose margins stay as they are.
template <typename T>
FRCNN_SIMD void load_rows(const Tile& tile, const Rows& rows, const T* x, T* to) {
  for (int64_t c = 0; c < rows.channels; c += tile.block) {
    const T* from = x + tile.offset + c / tile.block * tile.block_size;
    const int64_t count = std::min(tile.block, rows.channels - c);
    for (int64_t i = 0; i < tile.pixels; ++i)
      copy_channels(count, from + i * tile.block, to + rows.at(i) + c);
  }
}

/// Rows to the map, with the zeros behind the last channel.
template <typename T>
FRCNN_SIMD void store_rows(const Tile& tile, const Rows& rows, const T* from, T* y) {
  for (int64_t c = 0; c < rows.padded(); c += tile.block) {
    T* to = y + tile.offset + c / tile.block * tile.block_size;
    for (int64_t i = 0; i < tile.pixels; ++i)
      copy_channels(tile.block, from + rows.at(i) + c, to + i * tile.block);
  }
}

/// sum[c] = sum of values[c - before .. c - before + size - 1], each through `term`.
template <typename T, typename Term>
FRCNN_INLINE void window_sums(int64_t channels, int64_t before, int64_t size, const T* values,
                              T* sum, const Term& term) {
  for (int64_t c = 0; c < channels; ++c) sum[c] = T(0);
  for (int64_t j = -before; j < size - before; ++j)
    for (int64_t c = 0; c < channels; ++c) sum[c] += term(values[c + j]);
}

/// s[c] = k + alpha / size * sum over the window of x^2, and power[c] = s[c]^-beta. Square roots
/// serve the usual exponents.
template <typename T>
FRCNN_INLINE void make_scales(const LrnParams& p, int64_t channels, const T* x, T* s, T* power) {
  window_sums(channels, p.size / 2, p.size, x, s, [](T v) { return v * v; });
  const T factor = static_cast<T>(p.alpha / static_cast<double>(p.size)), k = static_cast<T>(p.k);
  for (int64_t c = 0; c < channels; ++c) s[c] = k + factor * s[c];
  if (p.beta == 0.75)
    for (int64_t c = 0; c < channels; ++c) {
      const T root = std::sqrt(s[c]);
      power[c] = T(1) / (root * std::sqrt(root));
    }
  else if (p.beta == 0.5)
    for (int64_t c = 0; c < channels; ++c) power[c] = T(1) / std::sqrt(s[c]);
  else
    for (int64_t c = 0; c < channels; ++c) power[c] = std::pow(s[c], static_cast<T>(-p.beta));
}

template <typename T>
FRCNN_SIMD void forward_rows(const LrnParams& p, const Rows& rows, int64_t pixels, T* x, T* s,
                             T* power) {
  for (int64_t i = 0; i < pixels; ++i) {
    T* row = x + rows.at(i);
    make_scales(p, rows.channels, row, s, power);
    for (int64_t c = 0; c < rows.channels; ++c) row[c] *= power[c];
  }
}

/// The sum over windows that contain c runs over j in [c - (size - 1) / 2, c + size / 2].
/// `terms` and `sums` are rows with margins.
template <typename T>
FRCNN_SIMD void backward_rows(const LrnParams& p, const Rows& rows, int64_t pixels, const T* x,
                              T* dy, T* s, T* power, T* terms, T* sums) {
  const T factor = static_cast<T>(2 * p.alpha * p.beta / static_cast<double>(p.size));
  for (int64_t i = 0; i < pixels; ++i) {
    const T* row = x + rows.at(i);
    T* slope = dy + rows.at(i);
    make_scales(p, rows.channels, row, s, power);
    for (int64_t c = 0; c < rows.channels; ++c) terms[c] = slope[c] * row[c] * power[c] / s[c];
    window_sums(rows.channels, (p.size - 1) / 2, p.size, terms, sums, [](T v) { return v; });
    for (int64_t c = 0; c < rows.channels; ++c)
      slope[c] = slope[c] * power[c] - factor * row[c] * sums[c];
  }
}

/// Calls body(tile, rows, buffers of 16 rows of zeros) for every tile.
template <int kBuffers, typename T, typename Body>
void for_tiles(const MapLayout& layout, const LrnParams& p, const Body& body) {
  check(p.size > 0, "[lrn] expected a positive window size, got {}", p.size);
  const int64_t pixels = layout.h * layout.w, tiles = (pixels + kPixels - 1) / kPixels;
  const Rows rows(layout, p);
  parallel_for(layout.n * tiles, 16, [&](int64_t begin, int64_t end) {
    std::array<std::vector<T>, kBuffers> buffers;
    for (auto& buffer : buffers) buffer.resize(static_cast<size_t>(rows.stride * kPixels));
    for (int64_t t = begin; t < end; ++t) {
      const int64_t first = t % tiles * kPixels;
      body(Tile{layout.block_at(t / tiles, 0) + first * layout.block, layout.block,
                pixels * layout.block, std::min(kPixels, pixels - first)},
           rows, buffers);
    }
  });
}

}  // namespace

template <typename T>
void lrn_forward(const MapLayout& layout, const LrnParams& p, const T* x, T* y) {
  for_tiles<3, T>(layout, p, [&](const Tile& tile, const Rows& rows, auto& buffers) {
    T* values = buffers[0].data();
    load_rows(tile, rows, x, values);
    forward_rows(p, rows, tile.pixels, values, buffers[1].data(), buffers[2].data());
    store_rows(tile, rows, values, y);
  });
}

template <typename T>
void lrn_backward(const MapLayout& layout, const LrnParams& p, const T* x, const T* dy, T* dx) {
  for_tiles<6, T>(layout, p, [&](const Tile& tile, const Rows& rows, auto& buffers) {
    T* slopes = buffers[1].data();
    load_rows(tile, rows, x, buffers[0].data());
    load_rows(tile, rows, dy, slopes);
    backward_rows(p, rows, tile.pixels, buffers[0].data(), slopes, buffers[2].data(),
                  buffers[3].data(), buffers[4].data() + rows.margin, buffers[5].data());
    store_rows(tile, rows, slopes, dx);
  });
}

#define FRCNN_INSTANTIATE(T)                                                      \
  template void lrn_forward<T>(const MapLayout&, const LrnParams&, const T*, T*); \
  template void lrn_backward<T>(const MapLayout&, const LrnParams&, const T*, const T*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
