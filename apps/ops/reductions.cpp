#include "kernels/elementwise/reductions.h"

#include "apps/ops/definitions.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;

enum class Kind : uint8_t { sum, squares, dot, first_non_finite };

template <Kind kind>
struct Reduce {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    using Result = std::conditional_t<kind == Kind::first_non_finite, int64_t, double>;
    const int64_t count = d.letter("n");
    const T* x = d.input<T>("x");
    const T* b = kind == Kind::dot ? d.input<T>("b") : nullptr;
    Result* result = d.output<Result>("result", {});
    if constexpr (Where::cpu) {
      d.pass("forward", [=] {
        if constexpr (kind == Kind::sum) *result = cpu::sum(count, x);
        if constexpr (kind == Kind::squares) *result = cpu::sum_of_squares(count, x);
        if constexpr (kind == Kind::dot) *result = cpu::dot(count, x, b);
        if constexpr (kind == Kind::first_non_finite) *result = cpu::first_non_finite(count, x);
      });
    } else {
      void* workspace = d.scratch(gpu::kReductionWorkspace, true);
      d.pass("forward", [=] {
        constexpr Backend B = Where::backend;
        if constexpr (kind == Kind::sum) gpu::sum<B>(nullptr, count, x, result, workspace);
        if constexpr (kind == Kind::squares)
          gpu::sum_of_squares<B>(nullptr, count, x, result, workspace);
        if constexpr (kind == Kind::dot) gpu::dot<B>(nullptr, count, x, b, result, workspace);
        if constexpr (kind == Kind::first_non_finite)
          gpu::first_non_finite<B>(nullptr, count, x, result, workspace);
      });
    }
  }
};

template <Kind kind>
Operation reduction(const std::string& name, const std::string& text,
                    const std::string& result_text) {
  Operation op = describe(name, "elementwise", text, "kernels/elementwise/reductions.h", {name});
  constexpr bool kSpecials = kind == Kind::first_non_finite;
  op.inputs = {array_doc("x", Type::f32, "(n)", "any layout, flat")};
  if (kind == Kind::dot) op.inputs.push_back(array_doc("b", Type::f32, "(n)", "like x"));
  op.outputs = {array_doc("result", kSpecials ? Type::i64 : Type::f64, "()", result_text)};
  op.prepare = on_all_devices<Reduce<kind>, float, double>();
  if (!kSpecials) {
    op.tolerance = [](const std::string&, const std::string&) {
      return within(1e-12, 0, "sums of doubles, added in another order");
    };
    op.magnitudes = {"x", "b"};
    op.flops = [](const Case& c, const std::string&) {
      return (kind == Kind::sum ? 1.0 : 2.0) * static_cast<double>(c.arrays.at("x").count());
    };
  }
  const auto make = [](Random& r, int64_t count) {
    Case c;
    c.arrays["x"] = r.floats({count}, -1, 1);
    if (kind == Kind::dot) c.arrays["b"] = r.floats({count}, -1, 1);
    return c;
  };
  op.random_case = [=](Random& r) {
    Case c = make(r, r.size(20000, true));
    if (kSpecials && r.chance(0.7)) sprinkle_specials(r, c.arrays["x"]);
    return c;
  };
  op.bench = [=](const std::string& shapes) {
    const int64_t count = shapes == "small" ? 10000 : int64_t{1} << 24;
    return std::vector<BenchCase>{{fmt::format("{} numbers", count), [=] {
                                     Random r(1);
                                     return make(r, count);
                                   }}};
  };
  return op;
}

}  // namespace

void add_reductions(Operations& list) {
  list.push_back(reduction<Kind::sum>("sum", "sum of all numbers", "the sum"));
  list.push_back(
      reduction<Kind::squares>("sum_of_squares", "sum of the squares", "the sum of the squares"));
  list.push_back(reduction<Kind::dot>("dot", "sum of products", "sum of x b"));
  list.push_back(reduction<Kind::first_non_finite>(
      "first_non_finite", "where the first NaN or infinity is", "its index, or -1"));
}

}  // namespace frcnn::apps::ops
