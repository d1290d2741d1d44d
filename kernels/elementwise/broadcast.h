#pragma once

#include <cstdint>

#include "kernels/elementwise/elementwise.h"
#include "kernels/launch/gpu.h"
#include "kernels/launch/layout.h"

/// Sums, differences and products of a map with a smaller array that is spread over it, as ONNX's
/// Add, Sub and Mul do by "multidirectional broadcasting" (operator specification, Broadcasting in
/// ONNX).
namespace frcnn::kernels {

enum class BinaryOp : uint8_t { add, subtract, multiply };

/// What the second factor has one element for.
enum class Spread : uint8_t {
  whole,    ///< b (1): one number for everything
  channel,  ///< b (C): one for each channel
  plane     ///< b (N, C): one for each channel of each image
};

/// Elements of b.
constexpr int64_t spread_size(const MapLayout& a, Spread spread) {
  return spread == Spread::whole ? 1 : spread == Spread::channel ? a.c : a.n * a.c;
}

namespace cpu {

/// y = a op b. y may be a. Padding channels of y are written as zero.
template <typename T>
void broadcast_forward(const MapLayout& layout, BinaryOp op, Spread spread,
                       const T* a,  // layout
                       const T* b,  // spread_size(), plain
                       T* y);       // layout

/// Gradient with respect to a. add and subtract: dy itself, for which no function is needed;
/// multiply: da = dy * b, which is broadcast_forward(layout, multiply, spread, dy, b, da).
/// Gradient with respect to b: db = sum of dy (add), of -dy (subtract) or of dy * a (multiply) over
/// what b was spread over. Sums are double, over the planes (n, c) and then over their sums in
/// order: the same bits for any number of threads. `a` is read by multiply only and may be nullptr
/// otherwise; `planes` is room for n * c numbers.
template <typename T>
void broadcast_backward(const MapLayout& layout, BinaryOp op, Spread spread,
                        const T* dy,  // layout
                        const T* a,   // layout, or nullptr
                        T* db,        // spread_size()
                        double* planes);

/// y = a - b on flat arrays of equal size, in any layout; y may be a or b.
template <typename T>
void subtract(int64_t count, const T* a, const T* b, T* y);

}  // namespace cpu
}  // namespace frcnn::kernels
