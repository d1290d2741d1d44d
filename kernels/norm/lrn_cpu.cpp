// Local response normalisation on tiles of all channels x 16 pixels: across a tile's pixels
// everything is a vector operation, whatever the layout of the map.
#include "kernels/norm/lrn.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"
#include "kernels/launch/simd.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr int64_t kPixels = 16;

/// Element strides of the tile whose pixels start at `offset`; channel c is at block_offset(c).
struct TileAddress {
  int64_t offset, block, block_size, pixels;
  int64_t channel(int64_t c) const { return offset + c / block * block_size + c % block; }
};

/// Pixels of the map to tile[c][pixel]; absent pixels of the last tile become zero.
template <typename T>
FRCNN_SIMD void load_tile(const TileAddress& at, int64_t channels, const T* x, T* tile) {
  for (int64_t c = 0; c < channels; ++c) {
    const T* from = x + at.channel(c);
    for (int64_t i = 0; i < at.pixels; ++i) tile[c * kPixels + i] = from[i * at.block];
    for (int64_t i = at.pixels; i < kPixels; ++i) tile[c * kPixels + i] = T(0);
  }
}

template <typename T>
FRCNN_SIMD void store_tile(const TileAddress& at, int64_t channels, int64_t padded, const T* tile,
                           T* y) {
  for (int64_t c = 0; c < padded; ++c) {
    T* to = y + at.channel(c);
    for (int64_t i = 0; i < at.pixels; ++i)
      to[i * at.block] = c < channels ? tile[c * kPixels + i] : T(0);
  }
}

/// power[i] = s[i]^-beta. Square roots serve the usual exponents.
template <typename T>
FRCNN_INLINE void negative_power(const T* s, double beta, T* power) {
  if (beta == 0.75)
    for (int64_t i = 0; i < kPixels; ++i) {
      const T root = std::sqrt(s[i]);
      power[i] = T(1) / (root * std::sqrt(root));
    }
  else if (beta == 0.5)
    for (int64_t i = 0; i < kPixels; ++i) power[i] = T(1) / std::sqrt(s[i]);
  else
    for (int64_t i = 0; i < kPixels; ++i) power[i] = std::pow(s[i], static_cast<T>(-beta));
}

/// s[c] = k + alpha / size * sum over the window of x^2, and its power.
template <typename T>
FRCNN_INLINE void make_scales(const LrnParams& p, int64_t channels, const T* x, T* s, T* power) {
  const T factor = static_cast<T>(p.alpha / static_cast<double>(p.size));
  for (int64_t c = 0; c < channels; ++c) {
    T sum[kPixels] = {};
    const int64_t end = std::min(channels, c + (p.size - 1) / 2 + 1);
    for (int64_t j = std::max<int64_t>(0, c - p.size / 2); j < end; ++j)
      for (int64_t i = 0; i < kPixels; ++i) sum[i] += x[j * kPixels + i] * x[j * kPixels + i];
    for (int64_t i = 0; i < kPixels; ++i)
      s[c * kPixels + i] = static_cast<T>(p.k) + factor * sum[i];
    negative_power(s + c * kPixels, p.beta, power + c * kPixels);
  }
}

template <typename T>
FRCNN_SIMD void forward_tile(const LrnParams& p, int64_t channels, T* x, T* s, T* power) {
  make_scales(p, channels, x, s, power);
  for (int64_t i = 0; i < channels * kPixels; ++i) x[i] *= power[i];
}

/// The sum over windows that contain c runs over j in [c - (size - 1) / 2, c + size / 2].
template <typename T>
FRCNN_SIMD void backward_tile(const LrnParams& p, int64_t channels, const T* x, T* dy, T* s,
                              T* power) {
  make_scales(p, channels, x, s, power);
  for (int64_t i = 0; i < channels * kPixels; ++i) s[i] = dy[i] * x[i] * power[i] / s[i];
  const T factor = static_cast<T>(2 * p.alpha * p.beta / static_cast<double>(p.size));
  for (int64_t c = 0; c < channels; ++c) {
    T sum[kPixels] = {};
    const int64_t end = std::min(channels, c + p.size / 2 + 1);
    for (int64_t j = std::max<int64_t>(0, c - (p.size - 1) / 2); j < end; ++j)
      for (int64_t i = 0; i < kPixels; ++i) sum[i] += s[j * kPixels + i];
    for (int64_t i = c * kPixels; i < (c + 1) * kPixels; ++i)
      dy[i] = dy[i] * power[i] - factor * x[i] * sum[i - c * kPixels];
  }
}

/// Calls body(address, buffers of (C, 16) numbers) for every tile.
template <typename T, typename Body>
void for_tiles(const MapLayout& layout, const LrnParams& p, const Body& body) {
  check(p.size > 0, "[lrn] expected a positive window size, got {}", p.size);
  const int64_t pixels = layout.h * layout.w, tiles = (pixels + kPixels - 1) / kPixels;
  parallel_for(layout.n * tiles, 16, [&](int64_t begin, int64_t end) {
    std::vector<T> buffers[4];
    for (auto& buffer : buffers) buffer.resize(static_cast<size_t>(layout.c * kPixels));
    for (int64_t t = begin; t < end; ++t) {
      const int64_t first = t % tiles * kPixels;
      const TileAddress at = {layout.block_at(t / tiles, 0) + first * layout.block, layout.block,
                              pixels * layout.block, std::min(kPixels, pixels - first)};
      body(at, buffers);
    }
  });
}

}  // namespace

template <typename T>
void lrn_forward(const MapLayout& layout, const LrnParams& p, const T* x, T* y) {
  const int64_t padded = layout.blocks() * layout.block;
  for_tiles<T>(layout, p, [&](const TileAddress& at, std::vector<T>* buffers) {
    load_tile(at, layout.c, x, buffers[0].data());
    forward_tile(p, layout.c, buffers[0].data(), buffers[1].data(), buffers[2].data());
    store_tile(at, layout.c, padded, buffers[0].data(), y);
  });
}

template <typename T>
void lrn_backward(const MapLayout& layout, const LrnParams& p, const T* x, const T* dy, T* dx) {
  const int64_t padded = layout.blocks() * layout.block;
  for_tiles<T>(layout, p, [&](const TileAddress& at, std::vector<T>* buffers) {
    load_tile(at, layout.c, x, buffers[0].data());
    load_tile(at, layout.c, dy, buffers[1].data());
    backward_tile(p, layout.c, buffers[0].data(), buffers[1].data(), buffers[2].data(),
                  buffers[3].data());
    store_tile(at, layout.c, padded, buffers[1].data(), dx);
  });
}

#define FRCNN_INSTANTIATE(T)                                                      \
  template void lrn_forward<T>(const MapLayout&, const LrnParams&, const T*, T*); \
  template void lrn_backward<T>(const MapLayout&, const LrnParams&, const T*, const T*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
