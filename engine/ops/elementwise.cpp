#include "engine/ops/elementwise.h"

#include "engine/dispatch.h"
#include "engine/tape.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/reorder_map.h"
#include "kernels/random/dropout.h"

namespace frcnn {
namespace {

void copy_block(const Tensor& from, Tensor& to) {
  with_float(from.dtype(), "convert_block", [&](auto t) {
    using T = decltype(t);
    FRCNN_CALL(from.device(), reorder_map, from.map_layout(), to.channel_block(), from.data<T>(),
               to.data<T>());
  });
}

}  // namespace

void relu_mask(const Tensor& y, Tensor& gradient) {
  with_float(y.dtype(), "relu", [&](auto t) {
    using T = decltype(t);
    FRCNN_CALL(y.device(), relu_backward, y.stored_elements(), y.data<T>(), gradient.data<T>(),
               gradient.data<T>());
  });
}

Tensor relu(const Tensor& x) {
  Tensor y = empty_like(x);
  with_float(x.dtype(), "relu", [&](auto t) {
    using T = decltype(t);
    FRCNN_CALL(x.device(), relu_forward, x.stored_elements(), x.data<T>(), y.data<T>());
  });
  if (Tape::recording({&x}))
    Tape::record("relu", {x}, {y}, [y](BackwardContext& ctx) {
      relu_mask(y, ctx.grad_output());
      ctx.give_input(0, ctx.grad_output());
    });
  return y;
}

Tensor weighted_sum(const std::vector<Tensor>& terms, const std::vector<double>& factors) {
  check(!terms.empty() && terms.size() == factors.size(),
        "[weighted_sum] expected as many factors as terms, got {} and {}", factors.size(),
        terms.size());
  bool record = false;
  for (const Tensor& term : terms) record |= Tape::recording({&term});
  Tensor y = Tensor::empty({1}, terms[0].dtype(), terms[0].device());
  if (y.device().is_gpu()) {
    y.fill(0);
    with_float(y.dtype(), "weighted_sum", [&](auto t) {
      using T = decltype(t);
      for (size_t i = 0; i < terms.size(); ++i)
        FRCNN_CALL(y.device(), axpy, 1, factors[i], terms[i].data<T>(), y.data<T>());
    });
  } else {
    double total = 0;
    for (size_t i = 0; i < terms.size(); ++i) total += factors[i] * terms[i].item();
    y.fill(total);
  }
  if (record)
    Tape::record("weighted_sum", terms, {y}, [factors](BackwardContext& ctx) {
      const Tensor& dy = ctx.grad_output();
      for (size_t i = 0; i < factors.size(); ++i)
        ctx.write_input(i, [&](Tensor& d) {
          with_float(d.dtype(), "weighted_sum", [&](auto t) {
            using T = decltype(t);
            FRCNN_CALL(d.device(), scale, 1, factors[i], dy.data<T>(), d.data<T>());
          });
        });
    });
  return y;
}

Tensor scaled_gradient(const Tensor& x, double factor) {
  if (!Tape::recording({&x})) return x;
  Tensor y = x.clone();
  Tape::record("scaled_gradient", {x}, {y}, [factor](BackwardContext& ctx) {
    const Tensor& dy = ctx.grad_output();
    ctx.write_input(0, [&](Tensor& dx) {
      with_float(dy.dtype(), "scaled_gradient", [&](auto t) {
        using T = decltype(t);
        FRCNN_CALL(dy.device(), scale, dy.stored_elements(), factor, dy.data<T>(), dx.data<T>());
      });
    });
  });
  return y;
}

Tensor dropout(const Tensor& x, double p, const StepKey& key) {
  check(p >= 0 && p < 1, "[dropout] the probability must be in [0, 1), got {}", p);
  if (p == 0) return x;
  Tensor y = empty_like(x);
  const auto apply = [p, key](const Tensor& from, Tensor& to) {
    with_float(from.dtype(), "dropout", [&](auto t) {
      using T = decltype(t);
      with_device(from.device(), [&](auto on) {
        if constexpr (decltype(on)::gpu)
          kernels::gpu::dropout<decltype(on)::backend>(on.stream, from.stored_elements(), p,
                                                       key.key, from.data<T>(), to.data<T>(),
                                                       key.device_step());
        else
          kernels::cpu::dropout(from.stored_elements(), p, key.key, from.data<T>(), to.data<T>());
      });
    });
  };
  apply(x, y);
  if (Tape::recording({&x}))
    Tape::record("dropout", {x}, {y}, [apply](BackwardContext& ctx) {
      apply(ctx.grad_output(), ctx.grad_output());
      ctx.give_input(0, ctx.grad_output());
    });
  return y;
}

Tensor convert_block(const Tensor& x, int64_t channel_block) {
  if (x.channel_block() == channel_block) return x;
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device(), channel_block);
  copy_block(x, y);
  if (Tape::recording({&x}))
    Tape::record("convert_block", {x}, {y}, [](BackwardContext& ctx) {
      ctx.write_input(0, [&](Tensor& dx) { copy_block(ctx.grad_output(), dx); });
    });
  return y;
}

Tensor reshape(const Tensor& x, const Shape& shape) {
  Tensor y = x.view(shape);
  if (Tape::recording({&x})) {
    const Shape before = x.shape();
    Tape::record("reshape", {x}, {y}, [before](BackwardContext& ctx) {
      ctx.give_input(0, ctx.grad_output().view(before));
    });
  }
  return y;
}

Tensor map_to_rows(const Tensor& x, int64_t row_size) {
  check(x.rank() == 4 && row_size > 0 && x.dim(1) % row_size == 0,
        "[map_to_rows] expected a map (N, A*{}, H, W), got {}", row_size, x.shape().string());
  const Shape rows{x.numel() / row_size, row_size};
  Tensor last = Tensor::empty(x.shape(), x.dtype(), x.device(), x.dim(1));
  copy_block(x, last);
  Tensor y = last.view(rows);
  if (Tape::recording({&x})) {
    const Shape map = x.shape();
    Tape::record("map_to_rows", {x}, {y}, [map](BackwardContext& ctx) {
      const Tensor& dy = ctx.grad_output();
      ctx.write_input(0, [&](Tensor& dx) {
        const kernels::MapLayout from{map[0], map[1], map[2], map[3], map[1]};
        with_float(dy.dtype(), "map_to_rows", [&](auto t) {
          using T = decltype(t);
          FRCNN_CALL(dy.device(), reorder_map, from, dx.channel_block(), dy.data<T>(),
                     dx.data<T>());
        });
      });
    });
  }
  return y;
}

Tensor slice_rows(const Tensor& x, int64_t begin, int64_t count) {
  Tensor y = x.rows(begin, count);
  if (Tape::recording({&x}))
    Tape::record("slice_rows", {x}, {y}, [begin, count](BackwardContext& ctx) {
      ctx.write_input(0, [&](Tensor& dx) {
        dx.fill(0);
        dx.rows(begin, count).copy_from(ctx.grad_output());
      });
    });
  return y;
}

std::vector<Tensor> split_rows(const Tensor& x, const std::vector<int64_t>& counts) {
  std::vector<Tensor> parts;
  int64_t begin = 0;
  for (const int64_t count : counts) {
    parts.push_back(x.rows(begin, count));
    begin += count;
  }
  check(begin == x.dim(0), "[split_rows] expected parts of {} rows together, got {}", x.dim(0),
        begin);
  if (Tape::recording({&x}))
    Tape::record("split_rows", {x}, parts, [counts](BackwardContext& ctx) {
      ctx.write_input(0, [&](Tensor& dx) {
        int64_t first = 0;
        for (size_t i = 0; i < counts.size(); ++i) {
          Tensor part = dx.rows(first, counts[i]);
          if (ctx.grad_output(i))
            part.copy_from(ctx.grad_output(i));
          else
            part.fill(0);
          first += counts[i];
        }
      });
    });
  return parts;
}

}  // namespace frcnn
