#include "engine/ops/pooling.h"

#include "engine/dispatch.h"
#include "engine/reduced_layer.h"
#include "engine/tape.h"
#include "kernels/pooling/adaptive_max_pool.h"

namespace frcnn {
namespace {

Tensor empty_map(const kernels::MapLayout& map, DType dtype, Device device) {
  return Tensor::empty({map.n, map.c, map.h, map.w}, dtype, device, map.block);
}

/// Throws unless `rois` is (R, 5) of x's type with batch indices of x.
template <typename T>
void check_rois(const char* op, const Tensor& x, const Tensor& rois) {
  check(rois.rank() == 2 && rois.dim(1) == 5 && rois.dtype() == x.dtype(),
        "[{}] expected rois (R, 5) of type {}, got {} {}", op, name_of(x.dtype()),
        name_of(rois.dtype()), rois.shape().string());
  if (x.device().is_gpu()) return;  // what made the RoIs has kept to the contract: no wait here
  const T* values = rois.data<T>();
  for (int64_t r = 0; r < rois.dim(0); ++r)
    check(values[5 * r] >= 0 && values[5 * r] < static_cast<T>(x.dim(0)),
          "[{}] RoI {} has batch index {}, expected 0 to {}", op, r, values[5 * r], x.dim(0) - 1);
}

/// A RoI layer with gradients to the map and to the RoIs. forward(T{}, y), backward(T{}, dy, dx)
/// and backward_rois(T{}, x, dy, drois) call its kernels.
template <typename Forward, typename Backward, typename BackwardRois>
Tensor roi_layer(const char* op, const Tensor& x, const Tensor& rois, const Shape& shape,
                 const Forward& forward, const Backward& backward,
                 const BackwardRois& backward_rois) {
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  with_float(x.dtype(), op, [&](auto t) {
    check_rois<decltype(t)>(op, x, rois);
    forward(t, y);
  });
  if (!Tape::recording({&x, &rois})) return y;
  const Tensor map = rois.requires_grad() ? x : Tensor();  // only slopes read it again
  Tape::record(op, {x, rois}, {y}, [=](BackwardContext& ctx) {
    const Tensor& dy = ctx.grad_output();
    ctx.write_input(
        0, [&](Tensor& dx) { with_float(dx.dtype(), op, [&](auto t) { backward(t, dy, dx); }); });
    ctx.write_input(1, [&](Tensor& drois) {
      with_float(drois.dtype(), op, [&](auto t) { backward_rois(t, map, dy, drois); });
    });
  });
  return y;
}

}  // namespace

Tensor max_pool2d(const Tensor& x, const kernels::MaxPoolParams& params) {
  if (x.dtype() == DType::u8 || x.dtype() == DType::i8 || x.dtype() == DType::bf16)
    return max_pool_numbers(x, params);
  const kernels::MapLayout in = x.map_layout();
  Tensor y = empty_map(kernels::max_pool_layout(in, params), x.dtype(), x.device());
  const bool record = Tape::recording({&x});
  Tensor window = record ? Tensor::empty({y.stored_elements()}, DType::u8, x.device()) : Tensor();
  with_float(x.dtype(), "max_pool2d", [&](auto t) {
    using T = decltype(t);
    FRCNN_CALL(x.device(), max_pool_forward, in, params, x.data<T>(), y.data<T>(),
               record ? window.data<uint8_t>() : nullptr);
  });
  if (record)
    Tape::record("max_pool2d", {x}, {y}, [in, params, window](BackwardContext& ctx) {
      ctx.write_input(0, [&](Tensor& dx) {
        with_float(dx.dtype(), "max_pool2d", [&](auto t) {
          using T = decltype(t);
          FRCNN_CALL(dx.device(), max_pool_backward, in, params, ctx.grad_output().data<T>(),
                     window.data<uint8_t>(), dx.data<T>());
        });
      });
    });
  return y;
}

Tensor avg_pool2d(const Tensor& x, const kernels::AvgPoolParams& params) {
  const kernels::MapLayout in = x.map_layout();
  Tensor y = empty_map(kernels::avg_pool_layout(in, params), x.dtype(), x.device());
  with_float(x.dtype(), "avg_pool2d", [&](auto t) {
    using T = decltype(t);
    FRCNN_CALL(x.device(), avg_pool_forward, in, params, x.data<T>(), y.data<T>());
  });
  if (Tape::recording({&x}))
    Tape::record("avg_pool2d", {x}, {y}, [in, params](BackwardContext& ctx) {
      ctx.write_input(0, [&](Tensor& dx) {
        with_float(dx.dtype(), "avg_pool2d", [&](auto t) {
          using T = decltype(t);
          FRCNN_CALL(dx.device(), avg_pool_backward, in, params, ctx.grad_output().data<T>(),
                     dx.data<T>());
        });
      });
    });
  return y;
}

Tensor global_avg_pool2d(const Tensor& x) {
  const kernels::MapLayout in = x.map_layout();
  check(in.h > 0 && in.w > 0, "[global_avg_pool2d] expected a map with cells, got {}",
        x.shape().string());
  Tensor y = empty_map(in.resized(1, 1), x.dtype(), x.device());
  with_float(x.dtype(), "global_avg_pool2d", [&](auto t) {
    using T = decltype(t);
    FRCNN_CALL(x.device(), global_avg_pool_forward, in, x.data<T>(), y.data<T>());
  });
  if (Tape::recording({&x}))
    Tape::record("global_avg_pool2d", {x}, {y}, [in](BackwardContext& ctx) {
      ctx.write_input(0, [&](Tensor& dx) {
        with_float(dx.dtype(), "global_avg_pool2d", [&](auto t) {
          using T = decltype(t);
          FRCNN_CALL(dx.device(), global_avg_pool_backward, in, ctx.grad_output().data<T>(),
                     dx.data<T>());
        });
      });
    });
  return y;
}

Tensor adaptive_max_pool2d(const Tensor& x, int64_t out_h, int64_t out_w) {
  const kernels::MapLayout in = x.map_layout();
  Tensor y = empty_map(in.resized(out_h, out_w), x.dtype(), x.device());
  const bool record = Tape::recording({&x});
  Tensor argmax = record ? Tensor::empty({y.stored_elements()}, DType::i32, x.device()) : Tensor();
  with_float(x.dtype(), "adaptive_max_pool2d", [&](auto t) {
    using T = decltype(t);
    FRCNN_CALL(x.device(), adaptive_max_pool_forward, in, out_h, out_w, x.data<T>(), y.data<T>(),
               record ? argmax.data<int32_t>() : nullptr);
  });
  if (record)
    Tape::record("adaptive_max_pool2d", {x}, {y}, [in, out_h, out_w, argmax](BackwardContext& ctx) {
      ctx.write_input(0, [&](Tensor& dx) {
        with_float(dx.dtype(), "adaptive_max_pool2d", [&](auto t) {
          using T = decltype(t);
          FRCNN_CALL(dx.device(), adaptive_max_pool_backward, in, out_h, out_w,
                     ctx.grad_output().data<T>(), argmax.data<int32_t>(), dx.data<T>());
        });
      });
    });
  return y;
}

Tensor roi_pool(const Tensor& x, const Tensor& rois, const kernels::RoiPoolParams& params) {
  const kernels::MapLayout in = x.map_layout();
  const int64_t count = rois.dim(0);
  Tensor y = Tensor::empty({count, in.c, params.pooled_h, params.pooled_w}, x.dtype(), x.device());
  const bool record = Tape::recording({&x});
  Tensor argmax = record ? Tensor::empty({y.numel()}, DType::i32, x.device()) : Tensor();
  with_float(x.dtype(), "roi_pool", [&](auto t) {
    using T = decltype(t);
    check_rois<T>("roi_pool", x, rois);
    FRCNN_CALL(x.device(), roi_pool_forward, in, params, count, x.data<T>(), rois.data<T>(),
               y.data<T>(), record ? argmax.data<int32_t>() : nullptr);
  });
  if (record)
    Tape::record("roi_pool", {x}, {y}, [in, params, rois, argmax, count](BackwardContext& ctx) {
      ctx.write_input(0, [&](Tensor& dx) {
        with_float(dx.dtype(), "roi_pool", [&](auto t) {
          using T = decltype(t);
          FRCNN_CALL(dx.device(), roi_pool_backward, in, params, count, rois.data<T>(),
                     ctx.grad_output().data<T>(), argmax.data<int32_t>(), dx.data<T>());
        });
      });
    });
  return y;
}

Tensor roi_align(const Tensor& x, const Tensor& rois, const kernels::RoiAlignParams& params) {
  const kernels::MapLayout in = x.map_layout();
  const int64_t count = rois.dim(0);
  return roi_layer(
      "roi_align", x, rois, {count, in.c, params.pooled_h, params.pooled_w},
      [&](auto t, Tensor& y) {
        using T = decltype(t);
        FRCNN_CALL(x.device(), roi_align_forward, in, params, count, x.data<T>(), rois.data<T>(),
                   y.data<T>());
      },
      [=](auto t, const Tensor& dy, Tensor& dx) {
        using T = decltype(t);
        FRCNN_CALL(dx.device(), roi_align_backward, in, params, count, rois.data<T>(), dy.data<T>(),
                   dx.data<T>());
      },
      [=](auto t, const Tensor& map, const Tensor& dy, Tensor& drois) {
        using T = decltype(t);
        FRCNN_CALL(drois.device(), roi_align_backward_rois, in, params, count, map.data<T>(),
                   rois.data<T>(), dy.data<T>(), drois.data<T>());
      });
}

Tensor precise_roi(const Tensor& x, const Tensor& rois, const kernels::PreciseRoiParams& params) {
  const kernels::MapLayout in = x.map_layout();
  const int64_t count = rois.dim(0);
  return roi_layer(
      "precise_roi", x, rois, {count, in.c, params.pooled_h, params.pooled_w},
      [&](auto t, Tensor& y) {
        using T = decltype(t);
        FRCNN_CALL(x.device(), precise_roi_forward, in, params, count, x.data<T>(), rois.data<T>(),
                   y.data<T>());
      },
      [=](auto t, const Tensor& dy, Tensor& dx) {
        using T = decltype(t);
        FRCNN_CALL(dx.device(), precise_roi_backward, in, params, count, rois.data<T>(),
                   dy.data<T>(), dx.data<T>());
      },
      [=](auto t, const Tensor& map, const Tensor& dy, Tensor& drois) {
        using T = decltype(t);
        FRCNN_CALL(drois.device(), precise_roi_backward_rois, in, params, count, map.data<T>(),
                   rois.data<T>(), dy.data<T>(), drois.data<T>());
      });
}

}  // namespace frcnn
