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

/// Numbers of double that broadcast_backward() needs: a sum for each piece of 1024 cells of each
/// plane (the CPU uses one for each plane).
constexpr int64_t kBroadcastPiece = 1024;
constexpr int64_t broadcast_pieces(const MapLayout& a) {
  return (a.h * a.w + kBroadcastPiece - 1) / kBroadcastPiece;
}
constexpr int64_t broadcast_workspace(const MapLayout& a) {
  return a.n * a.c * (a.h * a.w > 0 ? broadcast_pieces(a) : 1);
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
/// otherwise; `workspace` is room for broadcast_workspace() numbers.
template <typename T>
void broadcast_backward(const MapLayout& layout, BinaryOp op, Spread spread,
                        const T* dy,  // layout
                        const T* a,   // layout, or nullptr
                        T* db,        // spread_size()
                        double* workspace);

/// y = a - b on flat arrays of equal size, in any layout; y may be a or b.
template <typename T>
void subtract(int64_t count, const T* a, const T* b, T* y);

}  // namespace cpu

enum class BroadcastVersion : uint8_t { naive, vector };
inline constexpr gpu::KernelVersion kBroadcastVersions[] = {
    {"naive", "one thread, one number of y, or of a sum's planes"},
    {"vector",
     "16 bytes of channels or pixels per thread; sums by whole blocks, lanes side by side"},
};

/// The same on a GPU. forward has the CPU's bits; the sums of backward are double in another order,
/// which depends on the shape only.
namespace gpu {

template <Backend backend, typename T>
void broadcast_forward(Stream stream, const MapLayout& layout, BinaryOp op, Spread spread,
                       const T* a, const T* b, T* y,
                       BroadcastVersion version = BroadcastVersion::vector);
template <Backend backend, typename T>
void broadcast_backward(Stream stream, const MapLayout& layout, BinaryOp op, Spread spread,
                        const T* dy, const T* a, T* db, double* workspace,
                        BroadcastVersion version = BroadcastVersion::vector);
template <Backend backend, typename T>
void subtract(Stream stream, int64_t count, const T* a, const T* b, T* y,
              ElementwiseVersion version = ElementwiseVersion::vector);

}  // namespace gpu
}  // namespace frcnn::kernels
