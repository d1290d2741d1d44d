#pragma once

#include <cstdint>

#include "kernels/elementwise/elementwise.h"
#include "kernels/launch/gpu.h"
#include "kernels/launch/layout.h"

/// Activation functions of imported networks, element by element on flat arrays of `count` stored
/// elements. Outputs may be one of the inputs, but may not overlap them otherwise. Deterministic.
/// They follow ONNX's operator specification: LeakyRelu (opset 16), Clip (13), Sigmoid (13).
namespace frcnn::kernels {
namespace cpu {

/// y = x >= 0 ? x : slope * x; NaN stays NaN.
template <typename T>
void leaky_relu_forward(int64_t count, double slope, const T* x, T* y);
/// dx = x > 0 ? dy : slope * dy. `x` is the input; where slope >= 0, the output does as well.
template <typename T>
void leaky_relu_backward(int64_t count, double slope, const T* x, const T* dy, T* dx);

/// y = min(max(x, lo), hi), so hi everywhere when lo > hi; NaN stays NaN.
template <typename T>
void clip_forward(int64_t count, double lo, double hi, const T* x, T* y);
/// dx = lo < y < hi ? dy : 0, from the output (or the input): 0 at the bounds, as in torch's ReLU6.
template <typename T>
void clip_backward(int64_t count, double lo, double hi, const T* y, const T* dy, T* dx);

/// y = 1 / (1 + exp(-x)), by exp(-|x|): nothing overflows.
template <typename T>
void sigmoid_forward(int64_t count, const T* x, T* y);
/// dx = dy * y * (1 - y), from the output.
template <typename T>
void sigmoid_backward(int64_t count, const T* y, const T* dy, T* dx);

/// Writes zeros to the padding channels of a blocked map's last block; nothing else is touched.
/// For functions with f(0) != 0, as sigmoid is and clip may be.
template <typename T>
void clear_padding(const MapLayout& layout, T* map);

}  // namespace cpu

/// The same on a GPU, with the CPU's bits but for sigmoid, whose exponential is the device's.
namespace gpu {

template <Backend backend, typename T>
void leaky_relu_forward(Stream stream, int64_t count, double slope, const T* x, T* y,
                        ElementwiseVersion version = ElementwiseVersion::vector);
template <Backend backend, typename T>
void leaky_relu_backward(Stream stream, int64_t count, double slope, const T* x, const T* dy, T* dx,
                         ElementwiseVersion version = ElementwiseVersion::vector);
template <Backend backend, typename T>
void clip_forward(Stream stream, int64_t count, double lo, double hi, const T* x, T* y,
                  ElementwiseVersion version = ElementwiseVersion::vector);
template <Backend backend, typename T>
void clip_backward(Stream stream, int64_t count, double lo, double hi, const T* y, const T* dy,
                   T* dx, ElementwiseVersion version = ElementwiseVersion::vector);
template <Backend backend, typename T>
void sigmoid_forward(Stream stream, int64_t count, const T* x, T* y,
                     ElementwiseVersion version = ElementwiseVersion::vector);
template <Backend backend, typename T>
void sigmoid_backward(Stream stream, int64_t count, const T* y, const T* dy, T* dx,
                      ElementwiseVersion version = ElementwiseVersion::vector);
template <Backend backend, typename T>
void clear_padding(Stream stream, const MapLayout& layout, T* map);

}  // namespace gpu
}  // namespace frcnn::kernels
