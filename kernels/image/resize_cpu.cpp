// Bilinear resize in two steps per output row: the two input rows it needs are resized along x
// (each input row once, kept while the next output row needs it), then blended along y and
// normalised.
#include "kernels/image/resize.h"

#include <algorithm>
#include <vector>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"
#include "kernels/launch/simd.h"

namespace frcnn::kernels::cpu {
namespace {

/// Where the samples of one axis lie: low[i] * (1 - part[i]) + high[i] * part[i].
template <typename T>
struct Samples {
  std::vector<int32_t> low, high;
  std::vector<T> part;
  Samples(int64_t in, int64_t out, bool mirrored)
      : low(static_cast<size_t>(out)), high(low), part(static_cast<size_t>(out)) {
    const T scale = static_cast<T>(in) / static_cast<T>(out);
    for (int64_t i = 0; i < out; ++i) {
      const T at = std::max(scale * (static_cast<T>(i) + T(0.5)) - T(0.5), T(0));
      const auto cell = std::min(static_cast<int64_t>(at), in - 1);
      const auto to = static_cast<size_t>(mirrored ? out - 1 - i : i);
      low[to] = static_cast<int32_t>(cell);
      high[to] = static_cast<int32_t>(std::min(cell + 1, in - 1));
      part[to] = std::min(at - static_cast<T>(cell), T(1));
    }
  }
};

/// One input row resized along x: row[channel * channel_stride + i * pixel_stride].
template <typename T>
FRCNN_SIMD void resize_row(const uint8_t* in, int64_t count, const int32_t* low,
                           const int32_t* high, const T* part, int64_t channel_stride,
                           int64_t pixel_stride, T* row) {
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t *a = in + 3 * low[i], *b = in + 3 * high[i];
    const T right = part[i], left = T(1) - right;
    for (int64_t c = 0; c < 3; ++c)
      row[c * channel_stride + i * pixel_stride] =
          left * static_cast<T>(a[c]) + right * static_cast<T>(b[c]);
  }
}

/// out[i] = (upper * (1 - part) + lower * part) * factor + shift
template <typename T>
FRCNN_SIMD void blend_plane(int64_t count, const T* upper, const T* lower, T part, T factor,
                            T shift, T* out) {
  const T rest = T(1) - part;
  for (int64_t i = 0; i < count; ++i) out[i] = (rest * upper[i] + part * lower[i]) * factor + shift;
}

FRCNN_SIMD void blend_bytes(int64_t count, const float* upper, const float* lower, float part,
                            uint8_t* out) {
  const float rest = 1.0f - part;
  for (int64_t i = 0; i < count; ++i)  // never negative, so that adding a half rounds
    // NOLINTNEXTLINE(bugprone-incorrect-roundings)
    out[i] = static_cast<uint8_t>(static_cast<int32_t>(rest * upper[i] + part * lower[i] + 0.5f));
}

/// Keeps the last two rows resized along x, so that neighbouring output rows share them.
template <typename T>
class RowCache {
 public:
  RowCache(const uint8_t* image, int64_t in_w, const Samples<T>& columns, bool interleaved)
      : image_(image),
        in_w_(in_w),
        columns_(columns),
        width_(columns.part.size()),
        interleaved_(interleaved) {
    for (auto& row : rows_) row.resize(3 * width_);
  }
  const T* row(int64_t index) {
    const size_t slot = static_cast<size_t>(index % 2);  // a row and its successor never collide
    if (held_[slot] != index) {
      held_[slot] = index;
      const auto count = static_cast<int64_t>(width_);
      resize_row(image_ + index * in_w_ * 3, count, columns_.low.data(), columns_.high.data(),
                 columns_.part.data(), interleaved_ ? 1 : count, interleaved_ ? 3 : 1,
                 rows_[slot].data());
    }
    return rows_[slot].data();
  }

 private:
  const uint8_t* image_;
  int64_t in_w_;
  const Samples<T>& columns_;
  size_t width_;
  bool interleaved_;
  std::vector<T> rows_[2];
  int64_t held_[2] = {-1, -1};
};

void validate(int64_t in_h, int64_t in_w, int64_t out_h, int64_t out_w) {
  check(in_h > 0 && in_w > 0 && out_h > 0 && out_w > 0,
        "[resize] expected positive sizes, got {}x{} to {}x{}", in_h, in_w, out_h, out_w);
}

}  // namespace

template <typename T>
void resize_normalize(const ResizeParams& p, const uint8_t* image, T* out) {
  validate(p.in_h, p.in_w, p.out_h, p.out_w);
  const int64_t padded_h = p.padded_h ? p.padded_h : p.out_h;
  const int64_t padded_w = p.padded_w ? p.padded_w : p.out_w;
  check(padded_h >= p.out_h && padded_w >= p.out_w,
        "[resize] expected a padded size of at least {}x{}, got {}x{}", p.out_h, p.out_w, padded_h,
        padded_w);
  T factor[3], shift[3];  // in the order of the image: R, G, B
  int64_t target[3];      // channel of the output
  for (size_t c = 0; c < 3; ++c) {
    const size_t to = p.order == ChannelOrder::bgr ? 2 - c : c;
    check(p.std[to] != 0, "[resize] expected a standard deviation other than 0 for channel {}", to);
    target[c] = static_cast<int64_t>(to);
    factor[c] = static_cast<T>(p.scale / p.std[to]);
    shift[c] = static_cast<T>(-p.mean[to] / p.std[to]);
  }
  const Samples<T> rows(p.in_h, p.out_h, false), columns(p.in_w, p.out_w, p.flip);
  parallel_for(padded_h, 16, [&](int64_t begin, int64_t end) {
    RowCache<T> cache(image, p.in_w, columns, false);
    std::vector<T> mixed(p.interleaved ? static_cast<size_t>(p.out_w) : 0);
    for (int64_t i = begin; i < end; ++i) {
      const bool inside = i < p.out_h;
      const size_t at = static_cast<size_t>(std::min(i, p.out_h - 1));
      const T* upper = inside ? cache.row(rows.low[at]) : nullptr;
      const T* lower = inside ? cache.row(rows.high[at]) : nullptr;
      const int64_t filled = inside ? p.out_w : 0;
      for (int64_t c = 0; c < 3; ++c) {
        const T* up = inside ? upper + c * p.out_w : nullptr;
        const T* low = inside ? lower + c * p.out_w : nullptr;
        if (p.interleaved) {
          blend_plane(filled, up, low, rows.part[at], factor[c], shift[c], mixed.data());
          T* to = out + i * padded_w * 3 + target[c];
          for (int64_t j = 0; j < filled; ++j) to[3 * j] = mixed[static_cast<size_t>(j)];
          for (int64_t j = filled; j < padded_w; ++j) to[3 * j] = T(0);
        } else {
          T* to = out + (target[c] * padded_h + i) * padded_w;
          blend_plane(filled, up, low, rows.part[at], factor[c], shift[c], to);
          std::fill(to + filled, to + padded_w, T(0));
        }
      }
    }
  });
}

void resize_u8(int64_t in_h, int64_t in_w, int64_t out_h, int64_t out_w, const uint8_t* image,
               uint8_t* out) {
  validate(in_h, in_w, out_h, out_w);
  const Samples<float> rows(in_h, out_h, false), columns(in_w, out_w, false);
  parallel_for(out_h, 16, [&](int64_t begin, int64_t end) {
    RowCache<float> cache(image, in_w, columns, true);
    for (int64_t i = begin; i < end; ++i) {
      const auto at = static_cast<size_t>(i);
      const float* upper = cache.row(rows.low[at]);
      const float* lower = cache.row(rows.high[at]);
      blend_bytes(3 * out_w, upper, lower, rows.part[at], out + i * out_w * 3);
    }
  });
}

template void resize_normalize<float>(const ResizeParams&, const uint8_t*, float*);
template void resize_normalize<double>(const ResizeParams&, const uint8_t*, double*);

}  // namespace frcnn::kernels::cpu
