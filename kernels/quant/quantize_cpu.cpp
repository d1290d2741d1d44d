// Quantisation of maps and weights, and max pooling of what it gives.
#include "kernels/quant/quantize.h"

#include <cmath>
#include <limits>

#include "kernels/launch/bfloat16.h"
#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"
#include "kernels/launch/simd.h"

namespace frcnn::kernels::cpu {
namespace {

struct ToInteger {
  float inverse, low, high;
  /// Adding and subtracting 1.5 * 2^23 rounds numbers below 2^22 to integers, ties to even.
  FRCNN_INLINE int32_t operator()(float x) const {
    float q = x * inverse;
    q = q > low ? q : low;  // NaN becomes low
    q = q < high ? q : high;
    constexpr float kRounder = 12582912.0f;
    return static_cast<int32_t>((q + kRounder) - kRounder);
  }
};

struct ToBfloat16 {
  FRCNN_INLINE uint16_t operator()(float x) const { return Bfloat16(x).bits; }
};

/// `count` cells: N neighbouring channels of each go from x, `in_step` apart, to y, `out_step`
/// apart.
template <int N, typename Out, typename Convert>
FRCNN_SIMD void convert_cells(int64_t count, int64_t in_step, int64_t out_step, Convert convert,
                              const float* x, Out* y) {
  for (int64_t i = 0; i < count; ++i, x += in_step, y += out_step)
    for (int k = 0; k < N; ++k) y[k] = static_cast<Out>(convert(x[k]));
}

/// One run of neighbours.
template <typename Out, typename Convert>
FRCNN_SIMD void convert_run(int64_t count, Convert convert, const float* x, Out* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = static_cast<Out>(convert(x[i]));
}

template <typename Out, typename Convert>
void convert_map(const MapLayout& m, const Convert& convert, const float* x, Out* y) {
  if (m.block == m.c)
    return parallel_for(m.size(), 1 << 15, [&](int64_t begin, int64_t end) {
      convert_run<Out>(end - begin, convert, x + begin, y + begin);
    });
  const int64_t grain = 1 + 16384 / (m.w * m.c + 1);
  parallel_for(m.n * m.h, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / m.h, h = row % m.h;
      Out* out = y + row * m.w * m.c;
      for (int64_t c = 0; c < m.c; c += m.block) {
        const float* in = x + m.at(n, c, h, 0);
        const int64_t channels = std::min(m.block, m.c - c);
        if (channels == 16)
          convert_cells<16>(m.w, m.block, m.c, convert, in, out + c);
        else
          for (int64_t k = 0; k < channels; ++k)
            convert_cells<1>(m.w, m.block, m.c, convert, in + k, out + c + k);
      }
    }
  });
}

/// N numbers of y: the maximum of `rows` x `columns` cells from x on.
template <typename T>
FRCNN_SIMD void pool_cell(int64_t channels, int64_t rows, int64_t columns, int64_t row_step,
                          const T* x, T* y) {
  for (int64_t c = 0; c < channels; ++c) y[c] = x[c];
  for (int64_t u = 0; u < rows; ++u)
    for (int64_t v = 0; v < columns; ++v) {
      const T* cell = x + u * row_step + v * channels;
      for (int64_t c = 0; c < channels; ++c) y[c] = cell[c] > y[c] ? cell[c] : y[c];
    }
}

template <typename T>
void pool_map(const MapLayout& in, const MapLayout& out, const MaxPoolParams& p, const T* x, T* y) {
  parallel_for(in.n * out.h, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / out.h, h0 = row % out.h * p.stride_h - p.pad_h;
      const int64_t top = std::max<int64_t>(0, h0), bottom = std::min(in.h, h0 + p.kernel_h);
      for (int64_t j = 0; j < out.w; ++j) {
        const int64_t w0 = j * p.stride_w - p.pad_w;
        const int64_t left = std::max<int64_t>(0, w0), right = std::min(in.w, w0 + p.kernel_w);
        pool_cell<T>(in.c, bottom - top, right - left, in.w * in.c,
                     x + ((n * in.h + top) * in.w + left) * in.c, y + (row * out.w + j) * in.c);
      }
    }
  });
}

}  // namespace

void quantize_map(const MapLayout& layout, const float* x, float scale, LayerNumber number,
                  void* y) {
  check(number != LayerNumber::f32, "[quantize] float32 is no number of reduced precision");
  if (number == LayerNumber::bf16)
    return convert_map(layout, ToBfloat16{}, x, static_cast<uint16_t*>(y));
  check(scale > 0 && std::isfinite(scale), "[quantize] expected a scale above 0, got {}", scale);
  if (number == LayerNumber::u8)
    convert_map(layout, ToInteger{1 / scale, 0, 255}, x, static_cast<uint8_t*>(y));
  else
    convert_map(layout, ToInteger{1 / scale, -127, 127}, x, static_cast<int8_t*>(y));
}

void quantize_weights(int64_t outputs, int64_t row, const float* w, int8_t* values, float* scales) {
  parallel_for(outputs, 1 + 16384 / (row + 1), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      const float* from = w + o * row;
      float most = 0;
      bool finite = true;
      for (int64_t i = 0; i < row; ++i) {
        most = std::max(most, std::abs(from[i]));
        finite = finite && std::isfinite(from[i]);
      }
      check(finite, "[quantize] weights of output {} are not finite", o);
      scales[o] = most > std::numeric_limits<float>::min() * 127 ? most / 127 : 1;
      convert_run<int8_t>(row, ToInteger{1 / scales[o], -127, 127}, from, values + o * row);
    }
  });
}

void dequantize_weights(int64_t outputs, int64_t row, const int8_t* values, const float* scales,
                        float* w) {
  parallel_for(outputs, 1 + 16384 / (row + 1), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o)
      for (int64_t i = o * row; i < (o + 1) * row; ++i)
        w[i] = scales[o] * static_cast<float>(values[i]);
  });
}

void max_pool_numbers(const MapLayout& x_layout, const MaxPoolParams& params, LayerNumber number,
                      const void* x, void* y) {
  const MapLayout out = max_pool_layout(x_layout, params);
  check(x_layout.block == x_layout.c, "[max_pool] expected a map in NHWC, got channel block {}",
        x_layout.block);
  switch (number) {
    case LayerNumber::u8:
      return pool_map(x_layout, out, params, static_cast<const uint8_t*>(x),
                      static_cast<uint8_t*>(y));
    case LayerNumber::i8:
      return pool_map(x_layout, out, params, static_cast<const int8_t*>(x),
                      static_cast<int8_t*>(y));
    case LayerNumber::bf16:  // numbers that are not negative have the order of their bits
      return pool_map(x_layout, out, params, static_cast<const uint16_t*>(x),
                      static_cast<uint16_t*>(y));
    case LayerNumber::f32:
      fail("[max_pool] float32 maps have max_pool_forward()");
  }
}

}  // namespace frcnn::kernels::cpu
