// Activation functions of imported networks.
#include "kernels/elementwise/activations.h"

#include "engine/dispatch.h"
#include "engine/ops/elementwise.h"
#include "engine/tape.h"

namespace frcnn {
namespace {

/// f(0) may not be 0: puts the padding channels of a blocked map back to zero.
void clear_padding(Tensor& y) {
  if (y.rank() != 4 || y.dim(1) % y.channel_block() == 0) return;
  with_float(y.dtype(), "clear_padding", [&](auto t) {
    using T = decltype(t);
    FRCNN_CALL(y.device(), clear_padding, y.map_layout(), y.data<T>());
  });
}

}  // namespace

Tensor leaky_relu(const Tensor& x, double slope) {
  Tensor y = empty_like(x);
  with_float(x.dtype(), "leaky_relu", [&](auto t) {
    using T = decltype(t);
    FRCNN_CALL(x.device(), leaky_relu_forward, x.stored_elements(), slope, x.data<T>(),
               y.data<T>());
  });
  if (!Tape::recording({&x})) return y;
  // The output tells the input's sign, unless the slope turns it. What comes next keeps the output
  // anyway.
  const Tensor kept = slope >= 0 ? y : x;
  Tape::record("leaky_relu", {x}, {y}, [slope, kept](BackwardContext& ctx) {
    Tensor& dy = ctx.grad_output();
    with_float(dy.dtype(), "leaky_relu", [&](auto t) {
      using T = decltype(t);
      FRCNN_CALL(dy.device(), leaky_relu_backward, dy.stored_elements(), slope, kept.data<T>(),
                 dy.data<T>(), dy.data<T>());
    });
    ctx.give_input(0, dy);
  });
  return y;
}

Tensor clip(const Tensor& x, double lo, double hi) {
  Tensor y = empty_like(x);
  with_float(x.dtype(), "clip", [&](auto t) {
    using T = decltype(t);
    FRCNN_CALL(x.device(), clip_forward, x.stored_elements(), lo, hi, x.data<T>(), y.data<T>());
  });
  if (lo > 0 || hi < 0) clear_padding(y);
  if (Tape::recording({&x}))
    Tape::record("clip", {x}, {y}, [lo, hi, y](BackwardContext& ctx) {
      Tensor& dy = ctx.grad_output();
      with_float(dy.dtype(), "clip", [&](auto t) {
        using T = decltype(t);
        FRCNN_CALL(dy.device(), clip_backward, dy.stored_elements(), lo, hi, y.data<T>(),
                   dy.data<T>(), dy.data<T>());
      });
      ctx.give_input(0, dy);
    });
  return y;
}

Tensor sigmoid(const Tensor& x) {
  Tensor y = empty_like(x);
  with_float(x.dtype(), "sigmoid", [&](auto t) {
    using T = decltype(t);
    FRCNN_CALL(x.device(), sigmoid_forward, x.stored_elements(), x.data<T>(), y.data<T>());
  });
  clear_padding(y);
  if (Tape::recording({&x}))
    Tape::record("sigmoid", {x}, {y}, [y](BackwardContext& ctx) {
      Tensor& dy = ctx.grad_output();
      with_float(dy.dtype(), "sigmoid", [&](auto t) {
        using T = decltype(t);
        FRCNN_CALL(dy.device(), sigmoid_backward, dy.stored_elements(), y.data<T>(), dy.data<T>(),
                   dy.data<T>());
      });
      ctx.give_input(0, dy);
    });
  return y;
}

}  // namespace frcnn
