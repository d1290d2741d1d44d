// Convolution, version "naive": the equation of conv2d.h, one thread per output.
#include "kernels/conv/conv_versions.cuh"

namespace frcnn::kernels::gpu::conv {
namespace {

constexpr int kThreads = 128;
/// Blocks per multiprocessor to leave registers for. Without a number ptxas spills for no gain.
constexpr int kBlocks = 8;

struct Filter {
  int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  int64_t group_in, group_out;  ///< channels of a group
  explicit Filter(const Conv2dParams& p)
      : kernel_h(p.kernel_h),
        kernel_w(p.kernel_w),
        stride_h(p.stride_h),
        stride_w(p.stride_w),
        pad_h(p.pad_h),
        pad_w(p.pad_w),
        dilation_h(p.dilation_h),
        dilation_w(p.dilation_w),
        group_in(p.group_in()),
        group_out(p.group_out()) {}
};

template <typename T, typename W>
__global__ void __launch_bounds__(kThreads, kBlocks)
    forward_kernel(MapLayout in, MapLayout out, Filter f, bool relu, const T* x, const W* w,
                   const W* b, T* y) {
  const int64_t count = out.size();
  for (int64_t i = grid_first(); i < count; i += grid_step()) {
    const MapLayout::Element e = out.element(i);
    if (e.c >= out.c) {  // padding of the last block
      y[i] = T(0.0f);
      continue;
    }
    W sum = b != nullptr ? b[e.c] : W(0);
    const int64_t first = e.c / f.group_out * f.group_in;
    for (int64_t c = 0; c < f.group_in; ++c)
      for (int u = 0; u < f.kernel_h; ++u)
        for (int v = 0; v < f.kernel_w; ++v) {
          const int64_t h = e.h * f.stride_h - f.pad_h + u * f.dilation_h;
          const int64_t l = e.w * f.stride_w - f.pad_w + v * f.dilation_w;
          if (h >= 0 && h < in.h && l >= 0 && l < in.w)
            sum += w[((e.c * f.group_in + c) * f.kernel_h + u) * f.kernel_w + v] *
                   static_cast<W>(x[in.at(e.n, first + c, h, l)]);
        }
    y[i] = static_cast<T>(relu && sum < W(0) ? W(0) : sum);
  }
}

template <typename T, typename W>
__global__ void __launch_bounds__(kThreads, kBlocks)
    backward_data_kernel(MapLayout in, MapLayout out, Filter f, const T* dy, const W* w, T* dx) {
  const int64_t count = in.size();
  for (int64_t index = grid_first(); index < count; index += grid_step()) {
    const MapLayout::Element e = in.element(index);
    W sum = 0;
    const int64_t first = e.c / f.group_in * f.group_out, end = first + f.group_out;
    for (int64_t o = first; e.c < in.c && o < end; ++o)
      for (int u = 0; u < f.kernel_h; ++u)
        for (int v = 0; v < f.kernel_w; ++v) {
          // i * stride - pad + u * dilation = h
          const int64_t top = e.h + f.pad_h - u * f.dilation_h;
          const int64_t left = e.w + f.pad_w - v * f.dilation_w;
          if (top < 0 || left < 0 || top % f.stride_h != 0 || left % f.stride_w != 0) continue;
          const int64_t i = top / f.stride_h, j = left / f.stride_w;
          if (i < out.h && j < out.w)
            sum += w[((o * f.group_in + e.c % f.group_in) * f.kernel_h + u) * f.kernel_w + v] *
                   static_cast<W>(dy[out.at(e.n, o, i, j)]);
        }
    dx[index] = static_cast<T>(sum);
  }
}

template <typename T, typename W>
__global__ void __launch_bounds__(kThreads, kBlocks)
    backward_weights_kernel(MapLayout in, MapLayout out, Filter f, const T* x, const T* dy, W* dw) {
  const int64_t count = out.c * f.group_in * f.kernel_h * f.kernel_w;
  for (int64_t index = grid_first(); index < count; index += grid_step()) {
    const int v = static_cast<int>(index % f.kernel_w);
    const int u = static_cast<int>(index / f.kernel_w % f.kernel_h);
    const int64_t filter = index / f.kernel_w / f.kernel_h, o = filter / f.group_in;
    const int64_t c = o / f.group_out * f.group_in + filter % f.group_in;
    W sum = 0;
    for (int64_t n = 0; n < in.n; ++n)
      for (int64_t i = 0; i < out.h; ++i)
        for (int64_t j = 0; j < out.w; ++j) {
          const int64_t h = i * f.stride_h - f.pad_h + u * f.dilation_h;
          const int64_t l = j * f.stride_w - f.pad_w + v * f.dilation_w;
          if (h >= 0 && h < in.h && l >= 0 && l < in.w)
            sum += static_cast<W>(dy[out.at(n, o, i, j)]) * static_cast<W>(x[in.at(n, c, h, l)]);
        }
    dw[index] = sum;
  }
}

}  // namespace

template <Backend backend, typename T>
void naive_forward(Stream stream, const Conv2dParams& p, const T* x, const ConvWeight<T>* w,
                   const ConvWeight<T>* b, T* y) {
  launch({"conv2d_forward", blocks_for(p.output().size(), kThreads), kThreads, 0, stream},
         forward_kernel<T, ConvWeight<T>>, p.input, p.output(), Filter(p), p.relu, x, w, b, y);
}
template <Backend backend, typename T>
void naive_backward_data(Stream stream, const Conv2dParams& p, const T* dy, const ConvWeight<T>* w,
                         T* dx) {
  launch({"conv2d_backward_data", blocks_for(p.input.size(), kThreads), kThreads, 0, stream},
         backward_data_kernel<T, ConvWeight<T>>, p.input, p.output(), Filter(p), dy, w, dx);
}
template <Backend backend, typename T>
void naive_backward_weights(Stream stream, const Conv2dParams& p, const T* x, const T* dy,
                            ConvWeight<T>* dw) {
  launch({"conv2d_backward_weights", blocks_for(p.weight_size(), kThreads), kThreads, 0, stream},
         backward_weights_kernel<T, ConvWeight<T>>, p.input, p.output(), Filter(p), x, dy, dw);
}

#define FRCNN_INSTANTIATE(T)                                                                \
  template void naive_forward<kBackend, T>(Stream, const Conv2dParams&, const T*,           \
                                           const ConvWeight<T>*, const ConvWeight<T>*, T*); \
  template void naive_backward_data<kBackend, T>(Stream, const Conv2dParams&, const T*,     \
                                                 const ConvWeight<T>*, T*);                 \
  template void naive_backward_weights<kBackend, T>(Stream, const Conv2dParams&, const T*,  \
                                                    const T*, ConvWeight<T>*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
FRCNN_INSTANTIATE(Bfloat16)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu::conv
