#include "kernels/elementwise/activations.h"

#include <cmath>

#include "kernels/launch/parallel.h"
#include "kernels/launch/simd.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr int64_t kGrain = 32768;        // elements a thread is worth waking for
constexpr int64_t kSigmoidGrain = 2048;  // an exponential is some twenty simple operations

template <typename T>
FRCNN_SIMD void leaky_range(int64_t begin, int64_t end, T slope, const T* x, T* y) {
  for (int64_t i = begin; i < end; ++i) {
    const T value = x[i], scaled = slope * value;
    y[i] = value < T(0) ? scaled : value;
  }
}

template <typename T>
FRCNN_SIMD void leaky_backward_range(int64_t begin, int64_t end, T slope, const T* x, const T* dy,
                                     T* dx) {
  for (int64_t i = begin; i < end; ++i) {
    const T gradient = dy[i], scaled = slope * gradient;
    dx[i] = x[i] > T(0) ? gradient : scaled;
  }
}

template <typename T>
FRCNN_SIMD void clip_range(int64_t begin, int64_t end, T lo, T hi, const T* x, T* y) {
  for (int64_t i = begin; i < end; ++i) {
    const T raised = x[i] < lo ? lo : x[i];
    y[i] = raised > hi ? hi : raised;
  }
}

template <typename T>
FRCNN_SIMD void clip_backward_range(int64_t begin, int64_t end, T lo, T hi, const T* y, const T* dy,
                                    T* dx) {
  for (int64_t i = begin; i < end; ++i) {
    const T gradient = dy[i], above = y[i] > lo ? gradient : T(0);
    dx[i] = y[i] < hi ? above : T(0);
  }
}

template <typename T>
void sigmoid_range(int64_t begin, int64_t end, const T* x, T* y) {
  for (int64_t i = begin; i < end; ++i) {
    const T e = std::exp(-std::abs(x[i]));
    y[i] = (x[i] < T(0) ? e : T(1)) / (T(1) + e);
  }
}

template <typename T>
FRCNN_SIMD void sigmoid_backward_range(int64_t begin, int64_t end, const T* y, const T* dy, T* dx) {
  for (int64_t i = begin; i < end; ++i) dx[i] = dy[i] * (y[i] * (T(1) - y[i]));
}

}  // namespace

template <typename T>
void leaky_relu_forward(int64_t count, double slope, const T* x, T* y) {
  parallel_for(count, kGrain, [=](int64_t begin, int64_t end) {
    leaky_range(begin, end, static_cast<T>(slope), x, y);
  });
}

template <typename T>
void leaky_relu_backward(int64_t count, double slope, const T* x, const T* dy, T* dx) {
  parallel_for(count, kGrain, [=](int64_t begin, int64_t end) {
    leaky_backward_range(begin, end, static_cast<T>(slope), x, dy, dx);
  });
}

template <typename T>
void clip_forward(int64_t count, double lo, double hi, const T* x, T* y) {
  parallel_for(count, kGrain, [=](int64_t begin, int64_t end) {
    clip_range(begin, end, static_cast<T>(lo), static_cast<T>(hi), x, y);
  });
}

template <typename T>
void clip_backward(int64_t count, double lo, double hi, const T* y, const T* dy, T* dx) {
  parallel_for(count, kGrain, [=](int64_t begin, int64_t end) {
    clip_backward_range(begin, end, static_cast<T>(lo), static_cast<T>(hi), y, dy, dx);
  });
}

template <typename T>
void sigmoid_forward(int64_t count, const T* x, T* y) {
  parallel_for(count, kSigmoidGrain,
               [=](int64_t begin, int64_t end) { sigmoid_range(begin, end, x, y); });
}

template <typename T>
void sigmoid_backward(int64_t count, const T* y, const T* dy, T* dx) {
  parallel_for(count, kGrain,
               [=](int64_t begin, int64_t end) { sigmoid_backward_range(begin, end, y, dy, dx); });
}

template <typename T>
void clear_padding(const MapLayout& layout, T* map) {
  const int64_t used = layout.c % layout.block;
  if (used == 0) return;
  const int64_t cells = layout.h * layout.w;
  parallel_for(layout.n, 1 + kGrain / (cells * layout.block + 1), [=](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      T* last = map + layout.block_at(n, layout.blocks() - 1);
      for (int64_t i = 0; i < cells; ++i)
        for (int64_t k = used; k < layout.block; ++k) last[i * layout.block + k] = T(0);
    }
  });
}

#define FRCNN_INSTANTIATE(T)                                                       \
  template void leaky_relu_forward<T>(int64_t, double, const T*, T*);              \
  template void leaky_relu_backward<T>(int64_t, double, const T*, const T*, T*);   \
  template void clip_forward<T>(int64_t, double, double, const T*, T*);            \
  template void clip_backward<T>(int64_t, double, double, const T*, const T*, T*); \
  template void sigmoid_forward<T>(int64_t, const T*, T*);                         \
  template void sigmoid_backward<T>(int64_t, const T*, const T*, T*);              \
  template void clear_padding<T>(const MapLayout&, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
