#include "apps/ops/definitions.h"
#include "kernels/random/dropout.h"
#include "kernels/random/init.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;

RandomKey key_of(const Desk& d) {
  return {static_cast<uint64_t>(d.integer("seed")), static_cast<uint32_t>(d.integer("stream")),
          static_cast<uint64_t>(d.integer("step"))};
}

std::vector<ParameterDoc> key_parameters(int64_t stream) {
  return {integer("seed", 1, "of the random numbers"),
          integer("stream", stream, "which of the seed's sequences"),
          integer("step", 0, "of training")};
}

struct Dropout {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n");
    const double p = d.number("p");
    const RandomKey key = key_of(d);
    const T* x = d.input<T>("x");
    T* y = d.output<T>("y", {count});
    const auto version = d.version<DropoutVersion>();
    const auto thin = [=](const T* from, T* to) {
      if constexpr (Where::cpu)
        cpu::dropout(count, p, key, from, to);
      else
        gpu::dropout<Where::backend>(nullptr, count, p, key, from, to, nullptr, version);
    };
    d.pass("forward", [=] { thin(x, y); });
    const T* dy = d.gradient<T>("y");
    if (dy == nullptr) return;
    T* dx = d.output<T>("d_x", {count});
    d.pass("backward", [=] { thin(dy, dx); });
  }
};

struct InitWeights {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.integer("count");
    check(count >= 0, "[init_weights] count must not be negative, found {}", count);
    const std::string method = d.text("method");
    const RandomKey key = key_of(d);
    const double a = d.number("a"), b = d.number("b");
    const int64_t fan_in = d.integer("fan_in"), fan_out = d.integer("fan_out");
    T* w = d.output<T>("w", {count});
    d.pass("forward", [=] {
      if constexpr (Where::cpu) {
        if (method == "normal") return cpu::init_normal(count, a, b, key, w);
        if (method == "uniform") return cpu::init_uniform(count, a, b, key, w);
        if (method == "xavier") return cpu::init_xavier(count, fan_in, fan_out, key, w);
        cpu::init_he(count, fan_in, key, w);
      } else {
        constexpr Backend B = Where::backend;
        if (method == "normal") return gpu::init_normal<B>(nullptr, count, a, b, key, w);
        if (method == "uniform") return gpu::init_uniform<B>(nullptr, count, a, b, key, w);
        if (method == "xavier") return gpu::init_xavier<B>(nullptr, count, fan_in, fan_out, key, w);
        gpu::init_he<B>(nullptr, count, fan_in, key, w);
      }
    });
  }
};

const std::vector<std::string> kMethods = {"normal", "uniform", "xavier", "he"};

Case dropout_case(Random& r, int64_t count) {
  Case c;
  c.arrays["x"] = r.floats({count}, -2, 2);
  c.arrays["d_y"] = r.floats({count}, -1, 1);
  return c;
}

}  // namespace

void add_random(Operations& list) {
  Operation dropout =
      describe("dropout", "random", "x / (1 - p) where a random number says so, else 0",
               "kernels/random/dropout.h", {"dropout"});
  dropout.inputs = {array_doc("x", Type::f32, "(n)", "any layout, flat")};
  dropout.outputs = {with_gradient(array_doc("y", Type::f32, "(n)", "x, thinned"))};
  dropout.params = key_parameters(kStreamDropout);
  dropout.params.push_back(number("p", 0.5, "share of zeros"));
  dropout.ladders = {ladder("kDropoutVersions", kDropoutVersions, "group")};
  dropout.prepare = on_all_devices<Dropout, float, double>();
  dropout.random_case = [](Random& r) {
    Case c = dropout_case(r, r.size(5000, true));
    c.params = {{"p", r.pick<double>({0, 0.2, 0.5, 0.9})},
                {"seed", r.below(1000)},
                {"step", r.below(1000)}};
    return c;
  };
  dropout.traffic = [](const std::string& pass) -> std::vector<std::string> {
    if (pass == "backward") return {"d_y", "d_x"};
    return {"x", "y"};
  };
  dropout.bench = [](const std::string& shapes) {
    const int64_t count = shapes == "small" ? 10000 : int64_t{128} * 4096;
    return std::vector<BenchCase>{{fmt::format("{} numbers", count), [=] {
                                     Random r(1);
                                     return dropout_case(r, count);
                                   }}};
  };
  list.push_back(dropout);

  Operation init =
      describe("init_weights", "random", "random weights by name of the method",
               "kernels/random/init.h", {"init_normal", "init_uniform", "init_xavier", "init_he"});
  init.outputs = {array_doc("w", Type::f32, "(count)", "weights")};
  init.params = key_parameters(kStreamInit);
  for (const ParameterDoc& doc :
       {integer("count", 1, "weights"), word("method", "normal", "distribution", kMethods),
        number("a", 0, "normal: mean; uniform: low end"),
        number("b", 0.01, "normal: standard deviation; uniform: high end"),
        integer("fan_in", 1, "xavier, he: inputs of an output"),
        integer("fan_out", 1, "xavier: outputs of an input")})
    init.params.push_back(doc);
  init.prepare = on_all_devices<InitWeights, float, double>();
  init.tolerance = rounding(4, "logarithm and cosine may differ in their last bits");
  init.random_case = [](Random& r) {
    Case c;
    c.params = {{"count", r.size(3000, true)},
                {"method", r.word(kMethods)},
                {"seed", r.below(1000)},
                {"fan_in", r.between(1, 500)},
                {"fan_out", r.between(1, 500)}};
    return c;
  };
  list.push_back(init);
}

}  // namespace frcnn::apps::ops
