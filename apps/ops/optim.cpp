#include "apps/ops/definitions.h"
#include "kernels/optim/adam.h"
#include "kernels/optim/ema.h"
#include "kernels/optim/sgd.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;

struct Sgd {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n");
    const SgdParams p{d.number("lr"), d.number("momentum"), d.number("weight_decay"),
                      d.number("grad_scale"), d.flag("nesterov")};
    const T* g = d.input<T>("g");
    T *w = d.updated<T>("w_new", "w"), *v = d.updated<T>("v_new", "v");
    const auto version = d.version<SgdVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::sgd_step(count, p, g, w, v);
      else
        gpu::sgd_step<Where::backend>(nullptr, count, p, g, w, v, nullptr, {}, version);
    });
  }
};

struct Adam {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n"), t = d.integer("t");
    check(t >= 1, "[adam] t must be at least 1, found {}", t);
    AdamParams p;
    p.lr = d.number("lr");
    p.beta1 = d.number("beta1"), p.beta2 = d.number("beta2");
    p.epsilon = d.number("epsilon");
    p.weight_decay = d.number("weight_decay");
    p.grad_scale = d.number("grad_scale");
    p.decoupled = d.flag("decoupled");
    const T* g = d.input<T>("g");
    T* w = d.updated<T>("w_new", "w");
    T *m = d.updated<T>("m_new", "m"), *v = d.updated<T>("v_new", "v");
    const auto version = d.version<AdamVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::adam_step(count, p, t, g, w, m, v);
      else
        gpu::adam_step<Where::backend>(nullptr, count, p, t, g, w, m, v, nullptr, {}, version);
    });
  }
};

struct Ema {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n"), t = d.integer("t");
    check(t >= 1, "[ema] t must be at least 1, found {}", t);
    const double decay = d.number("decay");
    const T* w = d.input<T>("w");
    T* average = d.updated<T>("average_new", "average");
    const auto version = d.version<EmaVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::ema_step(count, decay, t, w, average);
      else
        gpu::ema_step<Where::backend>(nullptr, count, decay, t, w, average, nullptr, {}, version);
    });
  }
};

Case weights_case(Random& r, int64_t count) {
  Case c;
  c.arrays["g"] = r.floats({count}, -1, 1);
  c.arrays["w"] = r.floats({count}, -1, 1);
  c.arrays["v"] = r.floats({count}, 0, 1);
  return c;
}

std::vector<BenchCase> weights_bench(const std::string& shapes, bool adam) {
  const int64_t count = shapes == "small" ? 10000 : int64_t{25088} * 4096;
  return {{fmt::format("{} weights", count), [=] {
             Random r(1);
             Case c = weights_case(r, count);
             if (adam) c.arrays["m"] = r.floats({count}, -1, 1);
             return c;
           }}};
}

}  // namespace

void add_optim(Operations& list) {
  const auto flat = [](const char* name, const char* text) {
    return array_doc(name, Type::f32, "(n)", text);
  };
  Operation sgd = describe("sgd", "optim", "a step of gradient descent with momentum",
                           "kernels/optim/sgd.h", {"sgd_step"});
  sgd.inputs = {flat("g", "gradient"), flat("w", "weights"), flat("v", "velocity")};
  sgd.outputs = {flat("w_new", "weights"), flat("v_new", "velocity")};
  sgd.params = {number("lr", 0.001, "learning rate"), number("momentum", 0.9, "of the velocity"),
                number("weight_decay", 0.0005, "times w, added to the gradient"),
                number("grad_scale", 1, "factor of the gradient"),
                flag("nesterov", false, "look ahead by one step")};
  sgd.ladders = {ladder("kSgdVersions", kSgdVersions, "vector")};
  sgd.prepare = on_all_devices<Sgd, float, double>();
  sgd.tolerance = rounding(16, "products and sums may be fused", 4);
  sgd.random_case = [](Random& r) {
    Case c = weights_case(r, r.size(5000, true));
    c.params = {{"lr", r.uniform(0.001, 0.1)},
                {"nesterov", r.chance(0.5)},
                {"grad_scale", r.pick<double>({1, 0.5, 0.25})}};
    return c;
  };
  sgd.bench = [](const std::string& shapes) { return weights_bench(shapes, false); };
  list.push_back(sgd);

  Operation adam =
      describe("adam", "optim", "a step of Adam or AdamW", "kernels/optim/adam.h", {"adam_step"});
  adam.inputs = {flat("g", "gradient"), flat("w", "weights"), flat("m", "first moment"),
                 flat("v", "second moment")};
  adam.outputs = {flat("w_new", "weights"), flat("m_new", "first moment"),
                  flat("v_new", "second moment")};
  adam.params = {number("lr", 0.001, "learning rate"),
                 number("beta1", 0.9, "of the first moment"),
                 number("beta2", 0.999, "of the second moment"),
                 number("epsilon", 1e-8, "added to the root"),
                 number("weight_decay", 0, "times w"),
                 number("grad_scale", 1, "factor of the gradient"),
                 flag("decoupled", false, "AdamW: decay outside of the moments"),
                 integer("t", 1, "number of the step, from 1")};
  adam.ladders = {ladder("kAdamVersions", kAdamVersions, "vector")};
  adam.prepare = on_all_devices<Adam, float, double>();
  adam.tolerance = rounding(16, "products and sums may be fused", 4);
  adam.random_case = [](Random& r) {
    Case c = weights_case(r, r.size(5000, true));
    c.arrays["m"] = r.floats({c.arrays["g"].count()}, -1, 1);
    c.params = {{"lr", r.uniform(0.001, 0.1)},
                {"decoupled", r.chance(0.5)},
                {"weight_decay", r.pick<double>({0, 0.01})},
                {"t", r.between(1, 1000)}};
    return c;
  };
  adam.bench = [](const std::string& shapes) { return weights_bench(shapes, true); };
  list.push_back(adam);

  Operation ema = describe("ema", "optim", "a step of the weights' moving average",
                           "kernels/optim/ema.h", {"ema_step"});
  ema.inputs = {flat("w", "weights"), flat("average", "of the weights")};
  ema.outputs = {flat("average_new", "of the weights")};
  ema.params = {number("decay", 0.999, "at most; early steps take (1 + t) / (10 + t)"),
                integer("t", 1, "number of the step, from 1")};
  ema.ladders = {ladder("kEmaVersions", kEmaVersions, "vector")};
  ema.prepare = on_all_devices<Ema, float, double>();
  ema.tolerance = rounding(16, "products and sums may be fused", 4);
  ema.random_case = [](Random& r) {
    Case c;
    const int64_t count = r.size(5000, true);
    c.arrays["w"] = r.floats({count}, -1, 1);
    c.arrays["average"] = r.floats({count}, -1, 1);
    c.params = {{"decay", r.pick<double>({0, 0.9, 0.9999})}, {"t", r.between(1, 100000)}};
    return c;
  };
  ema.bench = [](const std::string& shapes) {
    const int64_t count = shapes == "small" ? 10000 : int64_t{25088} * 4096;
    return std::vector<BenchCase>{{fmt::format("{} weights", count), [=] {
                                     Random r(1);
                                     Case c;
                                     c.arrays["w"] = r.floats({count}, -1, 1);
                                     c.arrays["average"] = r.floats({count}, -1, 1);
                                     return c;
                                   }}};
  };
  list.push_back(ema);
}

}  // namespace frcnn::apps::ops
