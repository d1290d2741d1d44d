#pragma once

#include <cstdint>

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
}  // namespace frcnn::kernels
