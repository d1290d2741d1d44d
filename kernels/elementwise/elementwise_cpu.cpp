#include "kernels/elementwise/elementwise.h"

#include <cstring>

#include "kernels/launch/parallel.h"
#include "kernels/launch/simd.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr int64_t kGrain = 32768;  // elements a thread is worth waking for

template <typename T>
FRCNN_SIMD void relu_range(int64_t begin, int64_t end, const T* x, T* y) {
  for (int64_t i = begin; i < end; ++i) y[i] = x[i] < T(0) ? T(0) : x[i];
}

template <typename T>
FRCNN_SIMD void relu_backward_range(int64_t begin, int64_t end, const T* y, const T* dy, T* dx) {
  for (int64_t i = begin; i < end; ++i) {
    const T gradient = dy[i];
    dx[i] = y[i] > T(0) ? gradient : T(0);
  }
}

template <typename T>
FRCNN_SIMD void add_range(int64_t begin, int64_t end, const T* a, const T* b, T* y) {
  for (int64_t i = begin; i < end; ++i) y[i] = a[i] + b[i];
}

template <typename T>
FRCNN_SIMD void multiply_range(int64_t begin, int64_t end, const T* a, const T* b, T* y) {
  for (int64_t i = begin; i < end; ++i) y[i] = a[i] * b[i];
}

template <typename T>
FRCNN_SIMD void scale_range(int64_t begin, int64_t end, T alpha, const T* x, T* y) {
  for (int64_t i = begin; i < end; ++i) y[i] = alpha * x[i];
}

template <typename T>
FRCNN_SIMD void axpy_range(int64_t begin, int64_t end, T alpha, const T* x, T* y) {
  for (int64_t i = begin; i < end; ++i) y[i] += alpha * x[i];
}

template <typename From, typename To>
FRCNN_SIMD void convert_range(int64_t begin, int64_t end, const From* source, To* target) {
  for (int64_t i = begin; i < end; ++i) target[i] = static_cast<To>(source[i]);
}

}  // namespace

template <typename T>
void relu_forward(int64_t count, const T* x, T* y) {
  parallel_for(count, kGrain, [=](int64_t begin, int64_t end) { relu_range(begin, end, x, y); });
}

template <typename T>
void relu_backward(int64_t count, const T* y, const T* dy, T* dx) {
  parallel_for(count, kGrain,
               [=](int64_t begin, int64_t end) { relu_backward_range(begin, end, y, dy, dx); });
}

template <typename T>
void add(int64_t count, const T* a, const T* b, T* y) {
  parallel_for(count, kGrain, [=](int64_t begin, int64_t end) { add_range(begin, end, a, b, y); });
}

template <typename T>
void multiply(int64_t count, const T* a, const T* b, T* y) {
  parallel_for(count, kGrain,
               [=](int64_t begin, int64_t end) { multiply_range(begin, end, a, b, y); });
}

template <typename T>
void scale(int64_t count, double alpha, const T* x, T* y) {
  parallel_for(count, kGrain, [=](int64_t begin, int64_t end) {
    scale_range(begin, end, static_cast<T>(alpha), x, y);
  });
}

template <typename T>
void axpy(int64_t count, double alpha, const T* x, T* y) {
  parallel_for(count, kGrain, [=](int64_t begin, int64_t end) {
    axpy_range(begin, end, static_cast<T>(alpha), x, y);
  });
}

template <typename T>
void accumulate(int64_t count, const T* source, T* target) {
  add(count, target, source, target);
}

template <typename T>
void fill(int64_t count, T value, T* target) {
  parallel_for(count, kGrain,
               [=](int64_t begin, int64_t end) { std::fill(target + begin, target + end, value); });
}

template <typename T>
void copy(int64_t count, const T* source, T* target) {
  if (source == target) return;
  parallel_for(count, kGrain, [=](int64_t begin, int64_t end) {
    std::memcpy(target + begin, source + begin, static_cast<size_t>(end - begin) * sizeof(T));
  });
}

template <typename From, typename To>
void convert(int64_t count, const From* source, To* target) {
  parallel_for(count, kGrain,
               [=](int64_t begin, int64_t end) { convert_range(begin, end, source, target); });
}

#define FRCNN_INSTANTIATE(T)                                       \
  template void relu_forward<T>(int64_t, const T*, T*);            \
  template void relu_backward<T>(int64_t, const T*, const T*, T*); \
  template void add<T>(int64_t, const T*, const T*, T*);           \
  template void multiply<T>(int64_t, const T*, const T*, T*);      \
  template void scale<T>(int64_t, double, const T*, T*);           \
  template void axpy<T>(int64_t, double, const T*, T*);            \
  template void accumulate<T>(int64_t, const T*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

#define FRCNN_INSTANTIATE(T)                                      \
  template void fill<T>(int64_t, T, T*);                          \
  template void copy<T>(int64_t, const T*, T*);                   \
  template void convert<T, float>(int64_t, const T*, float*);     \
  template void convert<T, double>(int64_t, const T*, double*);   \
  template void convert<T, int32_t>(int64_t, const T*, int32_t*); \
  template void convert<T, int64_t>(int64_t, const T*, int64_t*); \
  template void convert<T, uint8_t>(int64_t, const T*, uint8_t*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
FRCNN_INSTANTIATE(int32_t)
FRCNN_INSTANTIATE(int64_t)
FRCNN_INSTANTIATE(uint8_t)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
