#include "kernels/pooling/adaptive_max_pool.h"

#include <algorithm>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"
#include "kernels/pooling/window_max.h"

namespace frcnn::kernels::cpu {
namespace {

void validate(const MapLayout& x, int64_t out_h, int64_t out_w) {
  check(out_h > 0 && out_w > 0 && x.h > 0 && x.w > 0,
        "[adaptive_max_pool] expected positive sizes, got a {}x{} map and {}x{} bins", x.h, x.w,
        out_h, out_w);
  check(x.h * x.w <= INT32_MAX, "[adaptive_max_pool] expected a map below 2^31 cells, got {}x{}",
        x.h, x.w);
}

/// One row of bins for N channels.
template <typename T, int N, bool kArgmax>
FRCNN_SIMD void pool_row(const MapLayout& x_layout, int64_t out_h, int64_t out_w, int64_t row,
                         const T* x, T* y, int32_t* argmax) {
  const int64_t block = x_layout.block, height = x_layout.h, width = x_layout.w;
  const int64_t top = row * height / out_h, bottom = ((row + 1) * height + out_h - 1) / out_h;
  for (int64_t j = 0; j < out_w; ++j) {
    const int64_t left = j * width / out_w, right = ((j + 1) * width + out_w - 1) / out_w;
    WindowMax<T, N> best;
    window_max<T, N, kArgmax>(x + (top * width + left) * block, width * block, block, bottom - top,
                              right - left, top * width + left, width, best);
    best.store_max(y + j * block);
    if constexpr (kArgmax) best.store_at(argmax + j * block);
  }
}

template <typename T, bool kArgmax>
void pool_all(const MapLayout& x_layout, int64_t out_h, int64_t out_w, const T* x, T* y,
              int32_t* argmax) {
  const int64_t block = x_layout.block, planes = x_layout.n * x_layout.blocks();
  const int64_t cells_per_row = x_layout.h * x_layout.w * block / out_h + 1;
  parallel_for(planes * out_h, 1 + 16384 / cells_per_row, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* in = x + r / out_h * x_layout.h * x_layout.w * block;
      T* out = y + r * out_w * block;
      int32_t* at = kArgmax ? argmax + r * out_w * block : nullptr;
      const int64_t row = r % out_h;
      int64_t c = 0;
      const auto step = [&](auto lanes) {
        constexpr int kLanes = lanes.value;
        for (; c + kLanes <= block; c += kLanes)
          pool_row<T, kLanes, kArgmax>(x_layout, out_h, out_w, row, in + c, out + c,
                                       kArgmax ? at + c : nullptr);
      };
      step(std::integral_constant<int, 16>{});
      step(std::integral_constant<int, 8>{});
      step(std::integral_constant<int, 1>{});
    }
  });
}

}  // namespace

template <typename T>
void adaptive_max_pool_forward(const MapLayout& x_layout, int64_t out_h, int64_t out_w, const T* x,
                               T* y, int32_t* argmax) {
  validate(x_layout, out_h, out_w);
  if (argmax)
    pool_all<T, true>(x_layout, out_h, out_w, x, y, argmax);
  else
    pool_all<T, false>(x_layout, out_h, out_w, x, y, nullptr);
}

template <typename T>
void adaptive_max_pool_backward(const MapLayout& x_layout, int64_t out_h, int64_t out_w,
                                const T* dy, const int32_t* argmax, T* dx) {
  validate(x_layout, out_h, out_w);
  const int64_t block = x_layout.block, planes = x_layout.n * x_layout.blocks();
  const int64_t in_size = x_layout.h * x_layout.w * block, out_size = out_h * out_w * block;
  // A plane belongs to one thread, which walks its bins in order.
  parallel_for(planes, 1 + 16384 / (in_size + 1), [&](int64_t begin, int64_t end) {
    for (int64_t plane = begin; plane < end; ++plane) {
      T* out = dx + plane * in_size;
      std::fill_n(out, in_size, T(0));
      const T* gradient = dy + plane * out_size;
      const int32_t* at = argmax + plane * out_size;
      for (int64_t i = 0; i < out_size; i += block)
        for (int64_t c = 0; c < block; ++c) out[at[i + c] * block + c] += gradient[i + c];
    }
  });
}

#define FRCNN_INSTANTIATE(T)                                                                   \
  template void adaptive_max_pool_forward<T>(const MapLayout&, int64_t, int64_t, const T*, T*, \
                                             int32_t*);                                        \
  template void adaptive_max_pool_backward<T>(const MapLayout&, int64_t, int64_t, const T*,    \
                                              const int32_t*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
