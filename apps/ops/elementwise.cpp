#include "kernels/elementwise/elementwise.h"

#include "apps/ops/flat.h"
#include "kernels/elementwise/reorder_map.h"
#include "kernels/elementwise/round_factors.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;

constexpr const char* kHeader = "kernels/elementwise/elementwise.h";

struct Relu {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    flat_function<T>(
        d,
        [=](auto version, int64_t count, const T* x, T* y) {
          if constexpr (Where::cpu)
            cpu::relu_forward(count, x, y);
          else
            gpu::relu_forward<Where::backend>(nullptr, count, x, y, version);
        },
        [=](auto version, int64_t count, const T*, const T* y, const T* dy, T* dx) {
          if constexpr (Where::cpu)
            cpu::relu_backward(count, y, dy, dx);
          else
            gpu::relu_backward<Where::backend>(nullptr, count, y, dy, dx, version);
        });
  }
};

struct Add {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n");
    const T *a = d.input<T>("a"), *b = d.input<T>("b");
    T* y = d.output<T>("y", {count});
    const auto version = d.version<ElementwiseVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::add(count, a, b, y);
      else
        gpu::add<Where::backend>(nullptr, count, a, b, y, version);
    });
  }
};

struct Multiply {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n");
    const T *a = d.input<T>("a"), *b = d.input<T>("b");
    T* y = d.output<T>("y", {count});
    const auto version = d.version<ElementwiseVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::multiply(count, a, b, y);
      else
        gpu::multiply<Where::backend>(nullptr, count, a, b, y, version);
    });
  }
};

struct Scale {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n");
    const double alpha = d.number("alpha");
    const T* x = d.input<T>("x");
    T* y = d.output<T>("y", {count});
    const auto version = d.version<ElementwiseVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::scale(count, alpha, x, y);
      else
        gpu::scale<Where::backend>(nullptr, count, alpha, x, y, version);
    });
  }
};

struct Axpy {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n");
    const double alpha = d.number("alpha");
    const T* x = d.input<T>("x");
    T* y = d.updated<T>("y_new", "y");
    const auto version = d.version<ElementwiseVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::axpy(count, alpha, x, y);
      else
        gpu::axpy<Where::backend>(nullptr, count, alpha, x, y, version);
    });
  }
};

struct Accumulate {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n");
    const T* source = d.input<T>("source");
    T* target = d.updated<T>("target_new", "target");
    d.pass("forward", [=] { cpu::accumulate(count, source, target); });
  }
};

struct Copy {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n");
    const T* source = d.input<T>("source");
    T* target = d.output<T>("target", {count});
    d.pass("forward", [=] { cpu::copy(count, source, target); });
  }
};

const std::vector<std::string> kFactorRoundings = {"tf32", "bf16"};

struct RoundFactors {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n");
    const auto rounding = enum_of<FactorRounding>(d, "rounding");
    const T* x = d.input<T>("x");
    T* y = d.output<T>("y", {count});
    d.pass("forward", [=] { cpu::round_factors(count, rounding, x, y); });
  }
};

struct Fill {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.integer("count");
    check(count >= 0, "[fill] count must not be negative, found {}", count);
    const T value = static_cast<T>(d.number("value"));
    T* target = d.output<T>("target", {count});
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::fill(count, value, target);
      else
        gpu::fill<Where::backend>(nullptr, count, value, target);
    });
  }
};

/// Calls body(T{}) for the element type of that name.
template <typename Body>
void with_named_type(const std::string& name, const Body& body) {
  if (name == "f64") return body(double{});
  if (name == "i32") return body(int32_t{});
  if (name == "i64") return body(int64_t{});
  if (name == "u8") return body(uint8_t{});
  body(float{});
}
const std::vector<std::string> kTypeNames = {"f32", "f64", "i32", "i64", "u8"};

void prepare_convert(Desk& d) {
  const int64_t count = d.letter("n");
  with_named_type(d.text("from"), [&](auto from) {
    with_named_type(d.text("to"), [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      const From* source = d.input<From>("source");
      To* target = d.output<To>("target", {count});
      on_device(d.device(), [&](auto where) {
        using Where = decltype(where);
        d.pass("forward", [=] {
          if constexpr (Where::cpu)
            cpu::convert<From, To>(count, source, target);
          else
            gpu::convert<Where::backend, From, To>(nullptr, count, source, target);
        });
      });
    });
  });
}

struct ReorderMap {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const MapLayout from = d.map("x");
    MapLayout to = from;
    to.block = d.block(from.c, "to");
    const T* x = d.input_map<T>("x", from);
    T* y = d.output_map<T>("y", to);
    const auto version = d.version<ReorderMapVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::reorder_map(from, to.block, x, y);
      else
        gpu::reorder_map<Where::backend>(nullptr, from, to.block, x, y, version);
    });
  }
};

std::vector<BenchCase> flat_bench(const std::string& shapes,
                                  const std::function<Case(Random&, int64_t)>& make) {
  const int64_t count = shapes == "small" ? 10000 : int64_t{64} * 600 * 1000;
  return {{fmt::format("{} numbers", count), [=] {
             Random random(1);
             return make(random, count);
           }}};
}

/// An operation on flat arrays; `arrays` are its inputs.
Operation flat(const std::string& name, const std::string& text, std::vector<std::string> functions,
               const std::vector<std::string>& arrays, bool gradient,
               std::vector<ParameterDoc> params) {
  Operation op = describe(name, "elementwise", text, kHeader, std::move(functions));
  for (const std::string& array : arrays)
    op.inputs.push_back(array_doc(array, Type::f32, "(n)", "any layout, flat"));
  op.params = std::move(params);
  const bool scalar = !op.params.empty();
  const auto make = [=](Random& r, int64_t count, bool specials) {
    Case c;
    for (const std::string& array : arrays) {
      c.arrays[array] = r.coarse({count}, -2, 2);
      if (specials) sprinkle_specials(r, c.arrays[array]);
    }
    if (gradient) c.arrays["d_y"] = r.floats({count}, -1, 1);
    if (scalar) c.params["alpha"] = r.uniform(-2, 2);
    return c;
  };
  op.random_case = [=](Random& r) { return make(r, r.size(3000, true), r.chance(0.5)); };
  op.bench = [=](const std::string& shapes) {
    return flat_bench(shapes, [=](Random& r, int64_t count) { return make(r, count, false); });
  };
  return op;
}

const Ladder& versions() {
  static const Ladder rungs = ladder("kElementwiseVersions", kElementwiseVersions, "vector");
  return rungs;
}

void add_maps(Operations& list) {
  Operation op = describe("reorder_map", "elementwise", "a map in another memory layout",
                          "kernels/elementwise/reorder_map.h", {"reorder_map"});
  op.inputs = {array_doc("x", Type::f32, "(N, C, H, W)", "map")};
  op.outputs = {array_doc("y", Type::f32, "(N, C, H, W)", "the same numbers")};
  op.params = {layout_parameter(), word("to", "blocked16", "layout of y", layout_names())};
  op.ladders = {ladder("kReorderMapVersions", kReorderMapVersions, "tile")};
  op.prepare = on_all_devices<ReorderMap, float, double>();
  op.random_case = [](Random& r) {
    Case c;
    c.arrays["x"] = r.floats({r.size(2), r.size(40), r.size(9), r.size(9)}, -1, 1);
    c.params["layout"] = r.word(layout_names());
    c.params["to"] = r.word(layout_names());
    return c;
  };
  op.bench = [](const std::string& shapes) {
    const int64_t c = shapes == "small" ? 8 : 64;
    return std::vector<BenchCase>{{fmt::format("{}x75x125", c), [=] {
                                     Case made;
                                     Random r(1);
                                     made.arrays["x"] = r.floats({1, c, 75, 125}, -1, 1);
                                     return made;
                                   }}};
  };
  list.push_back(op);
}

}  // namespace

void add_elementwise(Operations& list) {
  Operation relu = flat("relu", "max(x, 0); its gradient from the output",
                        {"relu_forward", "relu_backward"}, {"x"}, true, {});
  relu.outputs = {with_gradient(array_doc("y", Type::f32, "(n)", "max(x, 0)"))};
  relu.ladders = {versions()};
  relu.prepare = on_all_devices<Relu, float, double>();
  list.push_back(relu);

  Operation add = flat("add", "a + b", {"add"}, {"a", "b"}, false, {});
  add.outputs = {array_doc("y", Type::f32, "(n)", "a + b")};
  add.ladders = {versions()};
  add.prepare = on_all_devices<Add, float, double>();
  list.push_back(add);

  Operation multiply = flat("multiply", "a b", {"multiply"}, {"a", "b"}, false, {});
  multiply.outputs = {array_doc("y", Type::f32, "(n)", "a b")};
  multiply.ladders = {versions()};
  multiply.prepare = on_all_devices<Multiply, float, double>();
  list.push_back(multiply);

  const ParameterDoc alpha = number("alpha", 1, "factor");
  Operation scale = flat("scale", "alpha x", {"scale"}, {"x"}, false, {alpha});
  scale.outputs = {array_doc("y", Type::f32, "(n)", "alpha x")};
  scale.ladders = {versions()};
  scale.prepare = on_all_devices<Scale, float, double>();
  list.push_back(scale);

  Operation axpy = flat("axpy", "y + alpha x, in place", {"axpy"}, {"x", "y"}, false, {alpha});
  axpy.outputs = {array_doc("y_new", Type::f32, "(n)", "y + alpha x")};
  axpy.ladders = {versions()};
  axpy.prepare = on_all_devices<Axpy, float, double>();
  axpy.tolerance = rounding(2, "the CPU may fuse product and sum into one rounding");
  axpy.magnitudes = {"x", "y", "alpha"};
  list.push_back(axpy);

  Operation accumulate = flat("accumulate", "target + source, in place", {"accumulate"},
                              {"source", "target"}, false, {});
  accumulate.outputs = {array_doc("target_new", Type::f32, "(n)", "target + source")};
  accumulate.on_gpu = false;
  accumulate.prepare = on_cpu_only<Accumulate, float, double>();
  list.push_back(accumulate);

  Operation copy = flat("copy", "a copy", {"copy"}, {"source"}, false, {});
  copy.outputs = {array_doc("target", Type::f32, "(n)", "source")};
  copy.on_gpu = false;
  copy.prepare = on_cpu_only<Copy, float, double>();
  list.push_back(copy);

  Operation factors = describe("round_factors", "elementwise",
                               "float32 numbers as tensor cores round their factors",
                               "kernels/elementwise/round_factors.h", {"round_factors"});
  factors.inputs = {array_doc("x", Type::f32, "(n)", "factors")};
  factors.outputs = {array_doc("y", Type::f32, "(n)", "rounded")};
  factors.params = {word("rounding", "bf16", "10 or 7 bits of fraction", kFactorRoundings)};
  factors.types = {"f32"};
  factors.on_gpu = false;
  factors.prepare = on_cpu_only<RoundFactors, float>();
  const auto factors_case = [](Random& r, int64_t count) {
    Case c;
    c.arrays["x"] = r.floats({count}, -2, 2);
    return c;
  };
  factors.random_case = [=](Random& r) {
    Case c = factors_case(r, r.size(3000, true));
    c.params = {{"rounding", r.word(kFactorRoundings)}};
    return c;
  };
  factors.bench = [=](const std::string& shapes) { return flat_bench(shapes, factors_case); };
  list.push_back(factors);

  Operation fill = flat("fill", "one number everywhere", {"fill"}, {}, false, {});
  fill.params = {integer("count", 1, "numbers"), number("value", 0, "the number")};
  fill.outputs = {array_doc("target", Type::f32, "(count)", "value")};
  fill.prepare = on_all_devices<Fill, float, double>();
  const auto fill_case = [](int64_t count, double value) {
    Case c;
    c.params = {{"count", count}, {"value", value}};
    return c;
  };
  fill.random_case = [=](Random& r) { return fill_case(r.size(3000, true), r.uniform(-2, 2)); };
  fill.bench = [=](const std::string& shapes) {
    return flat_bench(shapes, [=](Random&, int64_t count) { return fill_case(count, 1); });
  };
  list.push_back(fill);

  Operation convert = flat("convert", "another element type", {"convert"}, {"source"}, false, {});
  convert.types = {};
  convert.params = {word("from", "f32", "type of the source in device memory", kTypeNames),
                    word("to", "f64", "type of the target", kTypeNames)};
  convert.outputs = {array_doc("target", Type::f32, "(n)", "the same numbers, of type `to`")};
  convert.prepare = prepare_convert;
  const auto convert_case = [](Random& r, int64_t count) {
    Case c;
    c.arrays["source"] = r.floats({count}, 0, 200);  // what every type can hold
    return c;
  };
  convert.random_case = [=](Random& r) {
    Case c = convert_case(r, r.size(3000, true));
    c.params = {{"from", r.word(kTypeNames)}, {"to", r.word(kTypeNames)}};
    return c;
  };
  convert.bench = [=](const std::string& shapes) { return flat_bench(shapes, convert_case); };
  list.push_back(convert);

  add_maps(list);
}

}  // namespace frcnn::apps::ops
