// Reference convolution: the equation of conv2d.h as plain loops.
#include "kernels/conv/conv2d.h"

#include <algorithm>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"

namespace frcnn::kernels {

void check_conv2d(const char* op, const Conv2dParams& p) {
  const MapLayout& x = p.input;
  check(x.n >= 0 && x.c > 0 && x.h > 0 && x.w > 0 && p.out_channels > 0 && p.kernel_h > 0 &&
            p.kernel_w > 0 && p.stride_h > 0 && p.stride_w > 0 && p.pad_h >= 0 && p.pad_w >= 0 &&
            p.dilation_h > 0 && p.dilation_w > 0,
        "[{}] expected positive sizes, strides and dilations and no negative padding, got a map of "
        "{}x{}x{}x{}, {} output channels, kernel {}x{}, stride {}x{}, padding {}x{}, dilation "
        "{}x{}",
        op, x.n, x.c, x.h, x.w, p.out_channels, p.kernel_h, p.kernel_w, p.stride_h, p.stride_w,
        p.pad_h, p.pad_w, p.dilation_h, p.dilation_w);
  check(p.groups > 0 && x.c % p.groups == 0 && p.out_channels % p.groups == 0,
        "[{}] expected a number of groups that divides the {} input and {} output channels, got {}",
        op, x.c, p.out_channels, p.groups);
  check(x.h + 2 * p.pad_h >= p.extent_h() && x.w + 2 * p.pad_w >= p.extent_w(),
        "[{}] a {}x{} kernel does not fit a map of {} x {} x {} with padding {}x{} and dilation "
        "{}x{}",
        op, p.kernel_h, p.kernel_w, x.c, x.h, x.w, p.pad_h, p.pad_w, p.dilation_h, p.dilation_w);
}

namespace cpu {
namespace {

/// Calls body(tap, h, w) for every tap of the filter that reads a cell (h, w) of x for cell (i, j)
/// of y; taps are counted row by row.
template <typename Body>
void for_taps(const Conv2dParams& p, int64_t i, int64_t j, const Body& body) {
  for (int u = 0; u < p.kernel_h; ++u) {
    const int64_t h = i * p.stride_h - p.pad_h + int64_t{u} * p.dilation_h;
    if (h < 0 || h >= p.input.h) continue;
    for (int v = 0; v < p.kernel_w; ++v) {
      const int64_t w = j * p.stride_w - p.pad_w + int64_t{v} * p.dilation_w;
      if (w >= 0 && w < p.input.w) body(int64_t{u} * p.kernel_w + v, h, w);
    }
  }
}

}  // namespace

template <typename T>
void conv2d_forward_reference(const Conv2dParams& p, const T* x, const T* w, const T* b, T* y) {
  const MapLayout in = p.input, out = p.output();
  const int64_t depth = p.group_in(), taps = int64_t{p.kernel_h} * p.kernel_w;
  if (out.block > 1) std::fill(y, y + out.size(), T(0));
  parallel_for(in.n * p.out_channels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t n = item / p.out_channels, o = item % p.out_channels;
      const int64_t first = o / p.group_out() * depth;
      const T* filter = w + o * depth * taps;
      for (int64_t i = 0; i < out.h; ++i)
        for (int64_t j = 0; j < out.w; ++j) {
          double sum = b ? double(b[o]) : 0.0;
          for (int64_t c = 0; c < depth; ++c)
            for_taps(p, i, j, [&](int64_t tap, int64_t ih, int64_t iw) {
              sum += double(filter[c * taps + tap]) * double(x[in.at(n, first + c, ih, iw)]);
            });
          y[out.at(n, o, i, j)] = static_cast<T>(p.relu ? std::max(sum, 0.0) : sum);
        }
    }
  });
}

template <typename T>
void conv2d_backward_data_reference(const Conv2dParams& p, const T* dy, const T* w, T* dx) {
  const MapLayout in = p.input, out = p.output();
  const int64_t depth = p.group_in(), taps = int64_t{p.kernel_h} * p.kernel_w;
  std::fill(dx, dx + in.size(), T(0));
  parallel_for(in.n * in.c, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t n = item / in.c, c = item % in.c, group = c / depth;
      for (int64_t o = group * p.group_out(); o < (group + 1) * p.group_out(); ++o) {
        const T* filter = w + (o * depth + c % depth) * taps;
        for (int64_t i = 0; i < out.h; ++i)
          for (int64_t j = 0; j < out.w; ++j) {
            const T g = dy[out.at(n, o, i, j)];
            for_taps(p, i, j, [&](int64_t tap, int64_t ih, int64_t iw) {
              dx[in.at(n, c, ih, iw)] += g * filter[tap];
            });
          }
      }
    }
  });
}

template <typename T>
void conv2d_backward_weights_reference(const Conv2dParams& p, const T* x, const T* dy, T* dw,
                                       T* db) {
  const MapLayout in = p.input, out = p.output();
  const int64_t depth = p.group_in(), taps = int64_t{p.kernel_h} * p.kernel_w;
  parallel_for(p.out_channels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      double bias = 0;
      const int64_t first = o / p.group_out() * depth;
      T* filter = dw + o * depth * taps;
      std::fill(filter, filter + depth * taps, T(0));
      for (int64_t n = 0; n < in.n; ++n)
        for (int64_t i = 0; i < out.h; ++i)
          for (int64_t j = 0; j < out.w; ++j) {
            const T g = dy[out.at(n, o, i, j)];
            bias += double(g);
            for (int64_t c = 0; c < depth; ++c)
              for_taps(p, i, j, [&](int64_t tap, int64_t ih, int64_t iw) {
                filter[c * taps + tap] += g * x[in.at(n, first + c, ih, iw)];
              });
          }
      if (db) db[o] = static_cast<T>(bias);
    }
  });
}

#define FRCNN_INSTANTIATE(T)                                                                      \
  template void conv2d_forward_reference<T>(const Conv2dParams&, const T*, const T*, const T*,    \
                                            T*);                                                  \
  template void conv2d_backward_data_reference<T>(const Conv2dParams&, const T*, const T*, T*);   \
  template void conv2d_backward_weights_reference<T>(const Conv2dParams&, const T*, const T*, T*, \
                                                     T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace cpu
}  // namespace frcnn::kernels
