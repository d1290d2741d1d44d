#pragma once

#include <cstdint>

#include "kernels/launch/gpu.h"

namespace frcnn::kernels {

/// Element by element on flat arrays of `count` stored elements, of any layout: zero padding stays
/// zero in all of them but fill(). Outputs may be one of the inputs (in place), but may not overlap
/// them otherwise. Deterministic.
namespace cpu {

/// y = max(x, 0); NaN stays NaN.
template <typename T>
void relu_forward(int64_t count, const T* x, T* y);

/// dx = y > 0 ? dy : 0, from the output (or the input) of the forward pass.
template <typename T>
void relu_backward(int64_t count, const T* y, const T* dy, T* dx);

/// y = a + b
template <typename T>
void add(int64_t count, const T* a, const T* b, T* y);

/// y = a * b
template <typename T>
void multiply(int64_t count, const T* a, const T* b, T* y);

/// y = alpha * x
template <typename T>
void scale(int64_t count, double alpha, const T* x, T* y);

/// y += alpha * x
template <typename T>
void axpy(int64_t count, double alpha, const T* x, T* y);

/// target += source
template <typename T>
void accumulate(int64_t count, const T* source, T* target);

/// target = value, all stored elements. T may also be int32_t, int64_t, uint8_t.
template <typename T>
void fill(int64_t count, T value, T* target);

/// target = source. T may also be int32_t, int64_t, uint8_t.
template <typename T>
void copy(int64_t count, const T* source, T* target);

/// target = static_cast<To>(source), between any two of float, double, int32_t, int64_t, uint8_t.
template <typename From, typename To>
void convert(int64_t count, const From* source, To* target);

}  // namespace cpu

/// The same on a GPU, ordered in `stream`. scalar: one element per thread; vector: 16 bytes per
/// thread and load where all pointers are aligned to 16 bytes, scalar elsewhere.
enum class ElementwiseVersion : uint8_t { scalar, vector };
inline constexpr gpu::KernelVersion kElementwiseVersions[] = {
    {"scalar", "one thread, one element"},
    {"vector", "one thread, 16 bytes: fewer and wider memory transactions in flight"},
};

namespace gpu {

template <Backend backend, typename T>
void relu_forward(Stream stream, int64_t count, const T* x, T* y,
                  ElementwiseVersion version = ElementwiseVersion::vector);
template <Backend backend, typename T>
void relu_backward(Stream stream, int64_t count, const T* y, const T* dy, T* dx,
                   ElementwiseVersion version = ElementwiseVersion::vector);
template <Backend backend, typename T>
void add(Stream stream, int64_t count, const T* a, const T* b, T* y,
         ElementwiseVersion version = ElementwiseVersion::vector);
template <Backend backend, typename T>
void multiply(Stream stream, int64_t count, const T* a, const T* b, T* y,
              ElementwiseVersion version = ElementwiseVersion::vector);
template <Backend backend, typename T>
void scale(Stream stream, int64_t count, double alpha, const T* x, T* y,
           ElementwiseVersion version = ElementwiseVersion::vector);
/// y = y + alpha * x, product and sum rounded one by one, as on the CPU.
template <Backend backend, typename T>
void axpy(Stream stream, int64_t count, double alpha, const T* x, T* y,
          ElementwiseVersion version = ElementwiseVersion::vector);
template <Backend backend, typename T>
void fill(Stream stream, int64_t count, T value, T* target);
template <Backend backend, typename From, typename To>
void convert(Stream stream, int64_t count, const From* source, To* target);

}  // namespace gpu
}  // namespace frcnn::kernels
