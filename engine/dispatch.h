#pragma once

#include "engine/tensor.h"

namespace frcnn {

/// Calls body(float{}) or body(double{}) by `dtype`; Error for other types. Inside, `decltype(t)`
/// is the element type to call a kernel with.
template <typename Body>
void with_float(DType dtype, const char* op, const Body& body) {
  if (dtype == DType::f32) return body(float{});
  if (dtype == DType::f64) return body(double{});
  fail("[{}] expected f32 or f64, got {}", op, name_of(dtype));
}

/// A new uninitialised tensor with the shape, type, device and layout of `x`.
inline Tensor empty_like(const Tensor& x) {
  return Tensor::empty(x.shape(), x.dtype(), x.device(), x.channel_block());
}

}  // namespace frcnn
