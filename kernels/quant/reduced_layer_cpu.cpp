// Reference layers of 8 bits: the equation of reduced_layer.h as plain loops.
#include <algorithm>
#include <cmath>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"
#include "kernels/quant/reduced_check.h"
#include "kernels/quant/reduced_layer.h"

namespace frcnn::kernels::cpu {
namespace {

int32_t integer_at(LayerNumber number, const void* x, int64_t i) {
  return number == LayerNumber::u8 ? static_cast<const uint8_t*>(x)[i]
                                   : static_cast<const int8_t*>(x)[i];
}

/// The end of the equation: from the exact sum to the number that is stored.
void store(const LayerNumbers& numbers, const ChannelNumbers& channels, bool relu, int64_t o,
           int32_t sum, void* y, int64_t i) {
  const auto at = static_cast<size_t>(o);
  float value = channels.scales[at] * (static_cast<float>(sum) + channels.offsets[at]);
  if (relu) value = std::max(value, 0.0f);
  switch (numbers.out) {
    case LayerNumber::f32:
      static_cast<float*>(y)[i] = value;
      return;
    case LayerNumber::u8:
      static_cast<uint8_t*>(y)[i] =
          static_cast<uint8_t>(std::nearbyint(std::clamp(value, 0.0f, 255.0f)));
      return;
    default:
      static_cast<int8_t*>(y)[i] =
          static_cast<int8_t>(std::nearbyint(std::clamp(value, -128.0f, 127.0f)));
  }
}

}  // namespace

void check_reduced(const char* op, const LayerNumbers& numbers, const ChannelNumbers& channels,
                   int64_t inputs, int64_t outputs) {
  const bool integers = is_integer(numbers.in);
  check(integers || numbers.in == LayerNumber::bf16, "[{}] float32 input is no reduced precision",
        op);
  check(numbers.out == LayerNumber::f32 || is_integer(numbers.out) == integers,
        "[{}] input and output are of different kinds", op);
  const auto count = static_cast<size_t>(outputs);
  check(channels.offsets.size() == count && channels.scales.size() == (integers ? count : 0),
        "[{}] expected {} scales and {} offsets, got {} and {}", op, integers ? outputs : 0,
        outputs, channels.scales.size(), channels.offsets.size());
  check(!integers || inputs <= kMostInt8Inputs,
        "[{}] {} inputs of an output: sums of 8-bit products hold at most {}", op, inputs,
        kMostInt8Inputs);
}

void int8_conv2d_reference(const Conv2dParams& p, const LayerNumbers& numbers,
                           const ChannelNumbers& channels, const void* x, const int8_t* w,
                           void* y) {
  check_conv2d("int8_conv2d", p);
  const int64_t depth = p.group_in(), taps = int64_t{p.kernel_h} * p.kernel_w;
  check_reduced("int8_conv2d", numbers, channels, depth * taps, p.out_channels);
  check(is_integer(numbers.in), "[int8_conv2d] expected u8 or i8 input");
  const int64_t out_h = p.out_h(), out_w = p.out_w();
  parallel_for(p.input.n * out_h, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t j = 0; j < out_w; ++j)
        for (int64_t o = 0; o < p.out_channels; ++o) {
          const int64_t n = row / out_h, i = row % out_h, first = o / p.group_out() * depth;
          int32_t sum = 0;
          for (int64_t u = 0; u < p.kernel_h; ++u)
            for (int64_t v = 0; v < p.kernel_w; ++v) {
              const int64_t h = i * p.stride_h - p.pad_h + u * p.dilation_h;
              const int64_t k = j * p.stride_w - p.pad_w + v * p.dilation_w;
              if (h < 0 || h >= p.input.h || k < 0 || k >= p.input.w) continue;
              const int64_t cell = ((n * p.input.h + h) * p.input.w + k) * p.input.c + first;
              for (int64_t c = 0; c < depth; ++c)
                sum += integer_at(numbers.in, x, cell + c) *
                       w[(o * depth + c) * taps + u * p.kernel_w + v];
            }
          store(numbers, channels, p.relu, o, sum, y, (row * out_w + j) * p.out_channels + o);
        }
  });
}

void int8_linear_reference(const LinearParams& p, const LayerNumbers& numbers,
                           const ChannelNumbers& channels, const void* x, const int8_t* w,
                           void* y) {
  check_reduced("int8_linear", numbers, channels, p.in, p.out);
  check(is_integer(numbers.in), "[int8_linear] expected u8 or i8 input");
  parallel_for(p.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t o = 0; o < p.out; ++o) {
        int32_t sum = 0;
        for (int64_t i = 0; i < p.in; ++i)
          sum += integer_at(numbers.in, x, r * p.in + i) * w[o * p.in + i];
        store(numbers, channels, p.relu, o, sum, y, r * p.out + o);
      }
  });
}

}  // namespace frcnn::kernels::cpu
