#include "kernels/optim/gradients.h"

#include <cmath>

#include "apps/ops/definitions.h"
#include "kernels/elementwise/reductions.h"
#include "kernels/losses/loss_scale.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;

// What a training step does on the device alone; the CPU's side is written out here.

struct CheckGradients {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n"), step = d.integer("step");
    const int number = static_cast<int>(d.integer("number"));
    const T* g = d.input<T>("g");
    auto* squares = d.output<double>("squares", {});
    auto* flag = d.output<int64_t>("flag", {});
    if constexpr (Where::cpu) {
      d.pass("forward", [=] {
        *squares = cpu::sum_of_squares(count, g);
        const int64_t first = cpu::first_non_finite(count, g);
        *flag = static_cast<int64_t>(first < 0 ? FiniteFlag::kAllFinite
                                               : FiniteFlag::pack(step, number, first));
      });
    } else {
      void* workspace = d.scratch(gpu::kGradientWorkspace, true);
      const FiniteCheck finite{reinterpret_cast<FiniteFlag*>(flag), nullptr, step, number};
      d.pass("forward", [=] {  // the flag begins with all bits set, as outputs do
        gpu::check_gradients<Where::backend>(nullptr, count, g, finite, squares, workspace);
      });
    }
  }
};

struct ClipGradients {
  template <typename Where, typename>
  static void prepare(Desk& d) {
    const int64_t n = d.letter("n");
    const double grad_scale = d.number("grad_scale"), most = d.number("most");
    const auto* squares = d.input<double>("squares");
    auto* clip = d.output<double>("clip", {});
    auto* norm = d.output<double>("norm", {});
    if constexpr (Where::cpu) {
      d.pass("forward", [=] {
        double sum = 0;
        for (int64_t i = 0; i < n; ++i) sum += squares[i];
        *norm = std::sqrt(sum) * std::abs(grad_scale);
        *clip = *norm > most ? most / *norm : 1;
      });
    } else {
      auto* scalars = d.constant(std::vector<StepScalars>(1));
      d.pass("forward", [=] {
        gpu::clip_gradients<Where::backend>(nullptr, n, squares, grad_scale, most, scalars, norm);
        gpu::copy_on_device<Where::backend>(nullptr, clip, &scalars->clip, sizeof(double));
      });
    }
  }
};

struct AdvanceStep {
  template <typename Where, typename>
  static void prepare(Desk& d) {
    const int64_t step = d.integer("step");
    auto* next = d.output<int64_t>("next", {});
    if constexpr (Where::cpu) {
      d.pass("forward", [=] { *next = step + 1; });
    } else {
      StepScalars start;
      start.step = step;
      auto* scalars = d.constant(std::vector<StepScalars>{start});
      d.pass("forward", [=] {
        gpu::advance_step<Where::backend>(nullptr, scalars);
        gpu::copy_on_device<Where::backend>(nullptr, next, &scalars->step, sizeof(int64_t));
      });
    }
  }
};

struct LossScaleOp {
  template <typename Where, typename>
  static void prepare(Desk& d) {
    const int64_t n = d.letter("n");
    const double numerator = d.number("numerator");
    const auto* counts = d.input<int32_t>("counts");
    auto* scale = d.output<double>("scale", {});
    d.pass("forward", [=] {
      if constexpr (Where::cpu) {
        int64_t sum = 0;
        for (int64_t i = 0; i < n; ++i) sum += counts[i];
        *scale = numerator / static_cast<double>(std::max<int64_t>(1, sum));
      } else {
        gpu::loss_scale<Where::backend>(nullptr, numerator, n, counts, scale);
      }
    });
  }
};

/// An operation whose numbers are double whatever the run's type.
template <typename Op>
Operation of_scalars(const std::string& name, const std::string& family, const std::string& text,
                     const std::string& header) {
  Operation op = describe(name, family, text, header, {name});
  op.types = {};
  op.prepare = [](Desk& d) {
    on_device(d.device(), [&](auto where) { Op::template prepare<decltype(where), double>(d); });
  };
  return op;
}

constexpr const char* kHeader = "kernels/optim/gradients.h";

}  // namespace

void add_gradients(Operations& list) {
  Operation checked =
      describe("check_gradients", "optim", "sum of squares and the first number that is not finite",
               kHeader, {"check_gradients"});
  checked.inputs = {array_doc("g", Type::f32, "(n)", "gradients")};
  checked.outputs = {
      array_doc("squares", Type::f64, "()", "sum of the squares"),
      array_doc("flag", Type::i64, "()", "step, number and index packed; -1 when all are finite")};
  checked.params = {integer("step", 0, "of training"), integer("number", 0, "of the check")};
  checked.prepare = on_all_devices<CheckGradients, float, double>();
  checked.tolerance = [](const std::string&, const std::string&) {
    return within(1e-12, 0, "sums of doubles, added in another order");
  };
  checked.random_case = [](Random& r) {
    Case c;
    c.arrays["g"] = r.floats({r.size(20000, true)}, -1, 1);
    if (r.chance(0.5)) sprinkle_specials(r, c.arrays["g"]);
    c.params = {{"step", r.below(1000)}, {"number", r.below(200)}};
    return c;
  };
  list.push_back(checked);

  Operation clip = of_scalars<ClipGradients>("clip_gradients", "optim",
                                             "the factor that brings gradients to a norm", kHeader);
  clip.inputs = {array_doc("squares", Type::f32, "(n)", "sums of squares of the buckets")};
  clip.outputs = {array_doc("clip", Type::f64, "()", "factor, at most 1"),
                  array_doc("norm", Type::f64, "()", "before")};
  clip.params = {number("grad_scale", 1, "factor of the gradients"),
                 number("most", 10, "norm at most")};
  clip.tolerance = [](const std::string&, const std::string&) {
    return within(1e-14, 0, "roots and quotients of doubles");
  };
  clip.random_case = [](Random& r) {
    Case c;
    c.arrays["squares"] = r.floats({r.size(9)}, 0, 100);
    c.params = {{"grad_scale", r.uniform(-1, 1)}, {"most", r.uniform(0.1, 20)}};
    return c;
  };
  list.push_back(clip);

  Operation advance =
      of_scalars<AdvanceStep>("advance_step", "optim", "the number of the coming step", kHeader);
  advance.outputs = {array_doc("next", Type::i64, "()", "step + 1")};
  advance.params = {integer("step", 1, "number of this step")};
  advance.random_case = [](Random& r) {
    Case c;
    c.params["step"] = r.between(1, 100000);
    return c;
  };
  list.push_back(advance);

  Operation scale = of_scalars<LossScaleOp>("loss_scale", "losses",
                                            "numerator / number of samples, at least 1 of them",
                                            "kernels/losses/loss_scale.h");
  scale.inputs = {array_doc("counts", Type::i32, "(n)", "samples of each image")};
  scale.outputs = {array_doc("scale", Type::f64, "()", "the factor of a mean")};
  scale.params = {number("numerator", 1, "weight of the loss")};
  scale.random_case = [](Random& r) {
    Case c;
    c.arrays["counts"] = r.integers({r.size(8, true)}, 0, 256);
    c.params["numerator"] = r.uniform(0, 2);
    return c;
  };
  list.push_back(scale);
}

}  // namespace frcnn::apps::ops
