// Sums, differences and products of two tensors, of equal shape or with the second spread over the
// first.
#include "engine/dispatch.h"
#include "engine/ops/elementwise.h"
#include "engine/tape.h"
#include "kernels/elementwise/broadcast.h"

namespace frcnn {
namespace {

using kernels::BinaryOp;
using kernels::MapLayout;
using kernels::Spread;

const char* name_of(BinaryOp op) {
  return op == BinaryOp::add ? "add" : op == BinaryOp::subtract ? "sub" : "mul";
}

/// a and b have equal shapes and layouts.
void apply_equal(BinaryOp op, const Tensor& a, const Tensor& b, Tensor& y) {
  with_float(a.dtype(), name_of(op), [&](auto t) {
    using T = decltype(t);
    const T *pa = a.data<T>(), *pb = b.data<T>();
    T* py = y.data<T>();
    const int64_t count = a.stored_elements();
    if (op == BinaryOp::add)
      FRCNN_CALL(a.device(), add, count, pa, pb, py);
    else if (op == BinaryOp::subtract)
      FRCNN_CALL(a.device(), subtract, count, pa, pb, py);
    else
      FRCNN_CALL(a.device(), multiply, count, pa, pb, py);
  });
}

Tensor equal_shapes(BinaryOp op, const Tensor& a, const Tensor& b) {
  Tensor y = empty_like(a);
  apply_equal(op, a, b, y);
  if (!Tape::recording({&a, &b})) return y;
  if (op == BinaryOp::multiply) {
    Tape::record("mul", {a, b}, {y}, [a, b](BackwardContext& ctx) {
      const Tensor& dy = ctx.grad_output();
      ctx.write_input(0, [&](Tensor& da) { apply_equal(BinaryOp::multiply, dy, b, da); });
      ctx.write_input(1, [&](Tensor& db) { apply_equal(BinaryOp::multiply, dy, a, db); });
    });
    return y;
  }
  Tape::record(name_of(op), {a, b}, {y}, [op](BackwardContext& ctx) {
    Tensor& dy = ctx.grad_output();
    // Two owners of one buffer would overwrite each other's gradient: b gets an array of its own.
    if (op == BinaryOp::subtract)
      ctx.write_input(1, [&](Tensor& db) {
        with_float(dy.dtype(), "sub", [&](auto t) {
          using T = decltype(t);
          FRCNN_CALL(dy.device(), scale, dy.stored_elements(), -1.0, dy.data<T>(), db.data<T>());
        });
      });
    else if (ctx.needs_input(1))
      ctx.give_input(1, ctx.needs_input(0) ? dy.clone() : dy);
    ctx.give_input(0, dy);
  });
  return y;
}

/// `a` as a map; a matrix (N, C) is one of single cells.
MapLayout layout_of(const Tensor& a) {
  return a.rank() == 4 ? a.map_layout() : MapLayout{a.dim(0), a.dim(1), 1, 1, 1};
}

/// How b is spread over a; throws Error when it cannot be.
Spread spread_of(BinaryOp op, const Tensor& a, const Tensor& b) {
  if (b.numel() == 1) return Spread::whole;
  if (a.rank() == 4 || a.rank() == 2) {
    const int64_t n = a.dim(0), c = a.dim(1);
    const Shape& s = b.shape();
    if (s == Shape{c} || s == Shape{c, 1, 1} || s == Shape{1, c, 1, 1} ||
        (a.rank() == 2 && s == Shape{1, c}))
      return Spread::channel;
    if (s == Shape{n, c, 1, 1}) return Spread::plane;
  }
  fail(
      "[{}] expected a second tensor of shape {}, of one element, or with one for each channel "
      "(or each image and channel) of the first, got {}",
      name_of(op), a.shape().string(), b.shape().string());
}

Tensor spread_over(BinaryOp op, const Tensor& a, const Tensor& b, const MapLayout& map,
                   Spread spread) {
  Tensor y = empty_like(a);
  with_float(a.dtype(), name_of(op), [&](auto t) {
    using T = decltype(t);
    FRCNN_CALL(a.device(), broadcast_forward, map, op, spread, a.data<T>(), b.data<T>(),
               y.data<T>());
  });
  if (!Tape::recording({&a, &b})) return y;
  const bool multiply = op == BinaryOp::multiply;
  const Tensor kept_a = multiply && Tape::recording({&b}) ? a : Tensor();
  const Tensor kept_b = multiply && Tape::recording({&a}) ? b : Tensor();
  Tape::record(name_of(op), {a, b}, {y}, [=](BackwardContext& ctx) {
    Tensor& dy = ctx.grad_output();
    with_float(dy.dtype(), name_of(op), [&](auto t) {
      using T = decltype(t);
      ctx.write_input(1, [&](Tensor& db) {
        Tensor workspace =
            Tensor::empty({kernels::broadcast_workspace(map)}, DType::f64, dy.device());
        FRCNN_CALL(dy.device(), broadcast_backward, map, op, spread, dy.data<T>(),
                   kept_a ? kept_a.data<T>() : nullptr, db.data<T>(), workspace.data<double>());
      });
      if (multiply && ctx.needs_input(0))
        FRCNN_CALL(dy.device(), broadcast_forward, map, op, spread, dy.data<T>(), kept_b.data<T>(),
                   dy.data<T>());
    });
    ctx.give_input(0, dy);
  });
  return y;
}

Tensor combine(BinaryOp op, const Tensor& a, const Tensor& b) {
  check(a.dtype() == b.dtype() && a.device() == b.device(),
        "[{}] expected two tensors of one type on one device, got {} on {} and {} on {}",
        name_of(op), frcnn::name_of(a.dtype()), a.device().name(), frcnn::name_of(b.dtype()),
        b.device().name());
  if (a.shape() == b.shape()) return equal_shapes(op, a, convert_block(b, a.channel_block()));
  const Spread spread = spread_of(op, a, b);
  // Any shape and layout is n x c cells for a single number.
  const MapLayout map =
      a.rank() == 4 || a.rank() == 2 ? layout_of(a) : MapLayout{1, 1, 1, a.numel(), 1};
  return spread_over(op, a, convert_block(b, 1), map, spread);
}

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) {
  return combine(BinaryOp::add, a, b);
}
Tensor sub(const Tensor& a, const Tensor& b) {
  return combine(BinaryOp::subtract, a, b);
}
Tensor mul(const Tensor& a, const Tensor& b) {
  return combine(BinaryOp::multiply, a, b);
}

}  // namespace frcnn
