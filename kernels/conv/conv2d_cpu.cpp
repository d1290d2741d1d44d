// Reference convolution: the equation of conv2d.h as plain loops.
#include "kernels/conv/conv2d.h"

#include <algorithm>

#include "kernels/launch/parallel.h"

namespace frcnn::kernels::cpu {
namespace {

/// Calls body(u, i) for every kernel row u whose input row i = out * stride - pad + u exists.
template <typename Body>
void for_taps(int64_t out, int kernel, int stride, int pad, int64_t size, const Body& body) {
  for (int u = 0; u < kernel; ++u) {
    const int64_t in = out * stride - pad + u;
    if (in >= 0 && in < size) body(u, in);
  }
}

}  // namespace

template <typename T>
void conv2d_forward_reference(const Conv2dParams& p, const T* x, const T* w, const T* b, T* y) {
  const MapLayout in = p.input, out = p.output();
  if (out.block > 1) std::fill(y, y + out.size(), T(0));
  parallel_for(in.n * p.out_channels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t n = item / p.out_channels, o = item % p.out_channels;
      for (int64_t i = 0; i < out.h; ++i)
        for (int64_t j = 0; j < out.w; ++j) {
          double sum = b ? double(b[o]) : 0.0;
          for (int64_t c = 0; c < in.c; ++c)
            for_taps(i, p.kernel_h, p.stride_h, p.pad_h, in.h, [&](int u, int64_t ih) {
              for_taps(j, p.kernel_w, p.stride_w, p.pad_w, in.w, [&](int v, int64_t iw) {
                sum += double(w[((o * in.c + c) * p.kernel_h + u) * p.kernel_w + v]) *
                       double(x[in.at(n, c, ih, iw)]);
              });
            });
          y[out.at(n, o, i, j)] = static_cast<T>(p.relu ? std::max(sum, 0.0) : sum);
        }
    }
  });
}

template <typename T>
void conv2d_backward_data_reference(const Conv2dParams& p, const T* dy, const T* w, T* dx) {
  const MapLayout in = p.input, out = p.output();
  std::fill(dx, dx + in.size(), T(0));
  parallel_for(in.n * in.c, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t n = item / in.c, c = item % in.c;
      for (int64_t o = 0; o < p.out_channels; ++o)
        for (int64_t i = 0; i < out.h; ++i)
          for (int64_t j = 0; j < out.w; ++j) {
            const T g = dy[out.at(n, o, i, j)];
            for_taps(i, p.kernel_h, p.stride_h, p.pad_h, in.h, [&](int u, int64_t ih) {
              for_taps(j, p.kernel_w, p.stride_w, p.pad_w, in.w, [&](int v, int64_t iw) {
                dx[in.at(n, c, ih, iw)] +=
                    g * w[((o * in.c + c) * p.kernel_h + u) * p.kernel_w + v];
              });
            });
          }
    }
  });
}

template <typename T>
void conv2d_backward_weights_reference(const Conv2dParams& p, const T* x, const T* dy, T* dw,
                                       T* db) {
  const MapLayout in = p.input, out = p.output();
  parallel_for(p.out_channels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      double bias = 0;
      T* filter = dw + o * in.c * p.kernel_h * p.kernel_w;
      std::fill(filter, filter + in.c * p.kernel_h * p.kernel_w, T(0));
      for (int64_t n = 0; n < in.n; ++n)
        for (int64_t i = 0; i < out.h; ++i)
          for (int64_t j = 0; j < out.w; ++j) {
            const T g = dy[out.at(n, o, i, j)];
            bias += double(g);
            for (int64_t c = 0; c < in.c; ++c)
              for_taps(i, p.kernel_h, p.stride_h, p.pad_h, in.h, [&](int u, int64_t ih) {
                for_taps(j, p.kernel_w, p.stride_w, p.pad_w, in.w, [&](int v, int64_t iw) {
                  filter[(c * p.kernel_h + u) * p.kernel_w + v] += g * x[in.at(n, c, ih, iw)];
                });
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

}  // namespace frcnn::kernels::cpu
