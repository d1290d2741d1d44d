#pragma once

#include "apps/ops/definitions.h"
#include "kernels/elementwise/elementwise.h"

namespace frcnn::apps::ops {

/// y = f(x) of flat arrays "x" and "y" of n numbers, and its gradient where one is asked for.
/// forward(version, n, x, y) and backward(version, n, x, y, dy, dx) call the kernels.
template <typename T, typename Forward, typename Backward>
void flat_function(Desk& d, const Forward& forward, const Backward& backward) {
  const int64_t count = d.letter("n");
  const T* x = d.input<T>("x");
  T* y = d.output<T>("y", {count});
  const auto version = d.version<kernels::ElementwiseVersion>();
  d.pass("forward", [=] { forward(version, count, x, y); });
  const T* dy = d.gradient<T>("y");
  if (dy == nullptr) return;
  T* dx = d.output<T>("d_x", {count});
  d.pass("backward", [=] { backward(version, count, x, y, dy, dx); });
}

}  // namespace frcnn::apps::ops
