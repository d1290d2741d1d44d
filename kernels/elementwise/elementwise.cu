#include "kernels/elementwise/elementwise.h"

#include "kernels/elementwise/map_elements.cuh"

namespace frcnn::kernels::gpu {
namespace {

// Function objects instead of lambdas: a kernel's name then tells what it does.
template <typename T>
struct Relu {
  __device__ T operator()(T x, T) const { return x < T(0) ? T(0) : x; }
};
template <typename T>
struct ReluBackward {
  __device__ T operator()(T y, T dy) const { return y > T(0) ? dy : T(0); }
};
template <typename T>
struct Add {
  __device__ T operator()(T a, T b) const { return a + b; }
};
template <typename T>
struct Multiply {
  __device__ T operator()(T a, T b) const { return a * b; }
};
template <typename T>
struct Scale {
  T alpha;
  __device__ T operator()(T x, T) const { return alpha * x; }
};
template <typename T>
struct Axpy {
  T alpha;
  __device__ T operator()(T x, T y) const { return add_rn(y, mul_rn(alpha, x)); }
};

template <typename T>
__global__ void fill_kernel(int64_t count, T value, T* target) {
  for (int64_t i = grid_first(); i < count; i += grid_step()) target[i] = value;
}
template <typename From, typename To>
__global__ void convert_kernel(int64_t count, const From* source, To* target) {
  for (int64_t i = grid_first(); i < count; i += grid_step())
    target[i] = static_cast<To>(source[i]);
}

}  // namespace

template <Backend backend, typename T>
void relu_forward(Stream stream, int64_t count, const T* x, T* y, ElementwiseVersion version) {
  map("relu_forward", stream, version, count, Relu<T>{}, x, x, y);
}
template <Backend backend, typename T>
void relu_backward(Stream stream, int64_t count, const T* y, const T* dy, T* dx,
                   ElementwiseVersion version) {
  map("relu_backward", stream, version, count, ReluBackward<T>{}, y, dy, dx);
}
template <Backend backend, typename T>
void add(Stream stream, int64_t count, const T* a, const T* b, T* y, ElementwiseVersion version) {
  map("add", stream, version, count, Add<T>{}, a, b, y);
}
template <Backend backend, typename T>
void multiply(Stream stream, int64_t count, const T* a, const T* b, T* y,
              ElementwiseVersion version) {
  map("multiply", stream, version, count, Multiply<T>{}, a, b, y);
}
template <Backend backend, typename T>
void scale(Stream stream, int64_t count, double alpha, const T* x, T* y,
           ElementwiseVersion version) {
  map("scale", stream, version, count, Scale<T>{static_cast<T>(alpha)}, x, x, y);
}
template <Backend backend, typename T>
void axpy(Stream stream, int64_t count, double alpha, const T* x, T* y,
          ElementwiseVersion version) {
  const T* before = y;
  map("axpy", stream, version, count, Axpy<T>{static_cast<T>(alpha)}, x, before, y);
}
template <Backend backend, typename T>
void fill(Stream stream, int64_t count, T value, T* target) {
  launch({"fill", blocks_for(count, kThreads), kThreads, 0, stream}, fill_kernel<T>, count, value,
         target);
}
template <Backend backend, typename From, typename To>
void convert(Stream stream, int64_t count, const From* source, To* target) {
  launch({"convert", blocks_for(count, kThreads), kThreads, 0, stream}, convert_kernel<From, To>,
         count, source, target);
}

#define FRCNN_INSTANTIATE(T)                                                                   \
  template void relu_forward<kBackend, T>(Stream, int64_t, const T*, T*, ElementwiseVersion);  \
  template void relu_backward<kBackend, T>(Stream, int64_t, const T*, const T*, T*,            \
                                           ElementwiseVersion);                                \
  template void add<kBackend, T>(Stream, int64_t, const T*, const T*, T*, ElementwiseVersion); \
  template void multiply<kBackend, T>(Stream, int64_t, const T*, const T*, T*,                 \
                                      ElementwiseVersion);                                     \
  template void scale<kBackend, T>(Stream, int64_t, double, const T*, T*, ElementwiseVersion); \
  template void axpy<kBackend, T>(Stream, int64_t, double, const T*, T*, ElementwiseVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

#define FRCNN_INSTANTIATE(T)                                                        \
  template void fill<kBackend, T>(Stream, int64_t, T, T*);                          \
  template void convert<kBackend, T, float>(Stream, int64_t, const T*, float*);     \
  template void convert<kBackend, T, double>(Stream, int64_t, const T*, double*);   \
  template void convert<kBackend, T, int32_t>(Stream, int64_t, const T*, int32_t*); \
  template void convert<kBackend, T, int64_t>(Stream, int64_t, const T*, int64_t*); \
  template void convert<kBackend, T, uint8_t>(Stream, int64_t, const T*, uint8_t*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
FRCNN_INSTANTIATE(int32_t)
FRCNN_INSTANTIATE(int64_t)
FRCNN_INSTANTIATE(uint8_t)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
