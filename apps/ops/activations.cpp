#include "kernels/elementwise/activations.h"

#include "apps/ops/flat.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;

struct LeakyRelu {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const double slope = d.number("slope");
    flat_function<T>(
        d,
        [=](auto version, int64_t count, const T* x, T* y) {
          if constexpr (Where::cpu)
            cpu::leaky_relu_forward(count, slope, x, y);
          else
            gpu::leaky_relu_forward<Where::backend>(nullptr, count, slope, x, y, version);
        },
        [=](auto version, int64_t count, const T* x, const T*, const T* dy, T* dx) {
          if constexpr (Where::cpu)
            cpu::leaky_relu_backward(count, slope, x, dy, dx);
          else
            gpu::leaky_relu_backward<Where::backend>(nullptr, count, slope, x, dy, dx, version);
        });
  }
};

struct Clip {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const double lo = d.number("lo"), hi = d.number("hi");
    flat_function<T>(
        d,
        [=](auto version, int64_t count, const T* x, T* y) {
          if constexpr (Where::cpu)
            cpu::clip_forward(count, lo, hi, x, y);
          else
            gpu::clip_forward<Where::backend>(nullptr, count, lo, hi, x, y, version);
        },
        [=](auto version, int64_t count, const T*, const T* y, const T* dy, T* dx) {
          if constexpr (Where::cpu)
            cpu::clip_backward(count, lo, hi, y, dy, dx);
          else
            gpu::clip_backward<Where::backend>(nullptr, count, lo, hi, y, dy, dx, version);
        });
  }
};

struct Sigmoid {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    flat_function<T>(
        d,
        [=](auto version, int64_t count, const T* x, T* y) {
          if constexpr (Where::cpu)
            cpu::sigmoid_forward(count, x, y);
          else
            gpu::sigmoid_forward<Where::backend>(nullptr, count, x, y, version);
        },
        [=](auto version, int64_t count, const T*, const T* y, const T* dy, T* dx) {
          if constexpr (Where::cpu)
            cpu::sigmoid_backward(count, y, dy, dx);
          else
            gpu::sigmoid_backward<Where::backend>(nullptr, count, y, dy, dx, version);
        });
  }
};

struct ClearPadding {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const MapLayout map = d.map("x");
    T* y = d.updated_map<T>("y", "x", map);
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::clear_padding(map, y);
      else
        gpu::clear_padding<Where::backend>(nullptr, map, y);
    });
  }
};

/// An activation function of flat arrays.
Operation activation(const std::string& name, const std::string& text,
                     std::vector<std::string> functions, std::vector<ParameterDoc> params) {
  Operation op = describe(name, "elementwise", text, "kernels/elementwise/activations.h",
                          std::move(functions));
  op.inputs = {array_doc("x", Type::f32, "(n)", "any layout, flat")};
  op.outputs = {with_gradient(array_doc("y", Type::f32, "(n)", "f(x)"))};
  op.params = std::move(params);
  op.ladders = {ladder("kElementwiseVersions", kElementwiseVersions, "vector")};
  const auto make = [](Random& r, int64_t count, bool specials) {
    Case c;
    c.arrays["x"] = r.coarse({count}, -8, 8);
    if (specials) sprinkle_specials(r, c.arrays["x"]);
    c.arrays["d_y"] = r.floats({count}, -1, 1);
    return c;
  };
  op.random_case = [=](Random& r) { return make(r, r.size(3000, true), r.chance(0.5)); };
  op.bench = [=](const std::string& shapes) {
    const int64_t count = shapes == "small" ? 10000 : int64_t{64} * 600 * 1000;
    return std::vector<BenchCase>{{fmt::format("{} numbers", count), [=] {
                                     Random random(1);
                                     return make(random, count, false);
                                   }}};
  };
  return op;
}

}  // namespace

void add_activations(Operations& list) {
  Operation leaky = activation("leaky_relu", "x, slope x below 0; its gradient from the input",
                               {"leaky_relu_forward", "leaky_relu_backward"},
                               {number("slope", 0.01, "factor of negative numbers")});
  leaky.prepare = on_all_devices<LeakyRelu, float, double>();
  list.push_back(leaky);

  Operation clip = activation("clip", "min(max(x, lo), hi); its gradient from the output",
                              {"clip_forward", "clip_backward"},
                              {number("lo", 0, "lower bound"), number("hi", 6, "upper bound")});
  clip.prepare = on_all_devices<Clip, float, double>();
  list.push_back(clip);

  Operation sigmoid =
      activation("sigmoid_activation", "1 / (1 + exp(-x)); its gradient from the output",
                 {"sigmoid_forward", "sigmoid_backward"}, {});
  sigmoid.prepare = on_all_devices<Sigmoid, float, double>();
  sigmoid.tolerance = rounding(16, "the exponential of the device; small numbers of 1 - y", 4);
  list.push_back(sigmoid);

  Operation clear =
      describe("clear_padding", "elementwise", "zeros in the padding channels of a blocked map",
               "kernels/elementwise/activations.h", {"clear_padding"});
  clear.inputs = {array_doc("x", Type::f32, "(N, C, H, W)", "map")};
  clear.outputs = {array_doc("y", Type::f32, "(N, C, H, W)", "the same numbers")};
  clear.params = {layout_parameter()};
  clear.prepare = on_all_devices<ClearPadding, float, double>();
  const auto make = [](Random& r, const Extent& e, const std::string& layout) {
    Case c;
    c.arrays["x"] = r.floats(e, -1, 1);
    c.params["layout"] = layout;
    return c;
  };
  clear.random_case = [=](Random& r) {
    return make(r, {r.size(2, true), r.size(20), r.size(9), r.size(9)}, r.word(layout_names()));
  };
  clear.bench = [=](const std::string& shapes) {
    const int64_t c = shapes == "small" ? 10 : 250;
    return std::vector<BenchCase>{{fmt::format("{}x75x125 blocked by 16", c), [=] {
                                     Random r(1);
                                     return make(r, {1, c, 75, 125}, "blocked16");
                                   }}};
  };
  list.push_back(clear);
}

}  // namespace frcnn::apps::ops
