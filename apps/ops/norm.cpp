#include "apps/ops/definitions.h"
#include "kernels/norm/batch_norm.h"
#include "kernels/norm/lrn.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;

struct Lrn {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const MapLayout map = d.map("x");
    const LrnParams p{d.integer("size"), d.number("alpha"), d.number("beta"), d.number("k")};
    const T* x = d.input_map<T>("x", map);
    T* y = d.output_map<T>("y", map);
    const auto version = d.version<LrnVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::lrn_forward(map, p, x, y);
      else
        gpu::lrn_forward<Where::backend>(nullptr, map, p, x, y, version);
    });
    const T* dy = d.gradient<T>("y");
    if (dy == nullptr) return;
    T* dx = d.output_map<T>("d_x", map);
    d.pass("backward", [=] {
      if constexpr (Where::cpu)
        cpu::lrn_backward(map, p, x, dy, dx);
      else
        gpu::lrn_backward<Where::backend>(nullptr, map, p, x, dy, dx, version);
    });
  }
};

BatchNormParams batch_norm_params(const Desk& d) {
  return {d.number("epsilon"), d.number("momentum"), d.flag("relu")};
}

struct BatchNormTrain {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const MapLayout map = d.map("x");
    const BatchNormParams p = batch_norm_params(d);
    const T* x = d.input_map<T>("x", map);
    const T *gamma = d.input<T>("gamma"), *beta = d.input<T>("beta");
    T* y = d.output_map<T>("y", map);
    T *mean = d.output<T>("saved_mean", {map.c}), *rstd = d.output<T>("saved_rstd", {map.c});
    const bool running = d.has("running_mean") && d.has("running_var");
    T* running_mean = running ? d.updated<T>("running_mean_new", "running_mean") : nullptr;
    T* running_var = running ? d.updated<T>("running_var_new", "running_var") : nullptr;
    const auto version = d.version<BatchNormVersion>();
    void* workspace = d.scratch(gpu::batch_norm_workspace(map));
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::batch_norm_train_forward(map, p, x, gamma, beta, y, mean, rstd, running_mean,
                                      running_var);
      else
        gpu::batch_norm_train_forward<Where::backend>(nullptr, map, p, x, gamma, beta, y, mean,
                                                      rstd, running_mean, running_var, workspace,
                                                      version);
    });
    const T* dy = d.gradient<T>("y");
    if (dy == nullptr) return;
    T* dx = d.output_map<T>("d_x", map);
    T *dgamma = d.output<T>("d_gamma", {map.c}), *dbeta = d.output<T>("d_beta", {map.c});
    d.pass("backward", [=] {
      if constexpr (Where::cpu)
        cpu::batch_norm_train_backward(map, p, x, y, gamma, mean, rstd, dy, dx, dgamma, dbeta);
      else
        gpu::batch_norm_train_backward<Where::backend>(nullptr, map, p, x, y, gamma, mean, rstd, dy,
                                                       dx, dgamma, dbeta, workspace, version);
    });
  }
};

struct BatchNormFrozen {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const MapLayout map = d.map("x");
    const BatchNormParams p = batch_norm_params(d);
    const T* x = d.input_map<T>("x", map);
    const T *gamma = d.input<T>("gamma"), *beta = d.input<T>("beta");
    const T *mean = d.input<T>("mean"), *var = d.input<T>("var");
    T* y = d.output_map<T>("y", map);
    const auto version = d.version<BatchNormVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::batch_norm_frozen_forward(map, p, x, gamma, beta, mean, var, y);
      else
        gpu::batch_norm_frozen_forward<Where::backend>(nullptr, map, p, x, gamma, beta, mean, var,
                                                       y, version);
    });
    const T* dy = d.gradient<T>("y");
    if (dy == nullptr) return;
    T* dx = d.output_map<T>("d_x", map);
    T *dgamma = d.output<T>("d_gamma", {map.c}), *dbeta = d.output<T>("d_beta", {map.c});
    void* workspace = d.scratch(gpu::batch_norm_workspace(map));
    d.pass("backward", [=] {
      if constexpr (Where::cpu)
        cpu::batch_norm_frozen_backward(map, p, x, y, gamma, mean, var, dy, dx, dgamma, dbeta);
      else
        gpu::batch_norm_frozen_backward<Where::backend>(nullptr, map, p, x, y, gamma, mean, var, dy,
                                                        dx, dgamma, dbeta, workspace, version);
    });
  }
};

struct BatchNormFold {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t channels = d.letter("C");
    const double epsilon = d.number("epsilon");
    const T *gamma = d.input<T>("gamma"), *beta = d.input<T>("beta");
    const T *mean = d.input<T>("mean"), *var = d.input<T>("var");
    T *scale = d.output<T>("scale", {channels}), *shift = d.output<T>("shift", {channels});
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::batch_norm_fold(channels, epsilon, gamma, beta, mean, var, scale, shift);
      else
        gpu::batch_norm_fold<Where::backend>(nullptr, channels, epsilon, gamma, beta, mean, var,
                                             scale, shift);
    });
  }
};

/// Means of pieces are rounded to T on the CPU and merged in double; on a GPU all sums are double.
/// What is subtracted from x, and sums over the map, thus differ by roundings of the largest terms.
Tolerance norm_tolerance(const std::string&, const std::string& type) {
  const double epsilon = type == "f64" ? 0x1.0p-53 : 0x1.0p-24;
  Tolerance t = within(64 * epsilon, 0, "sums over the map in another order and precision");
  t.of_largest = true;
  return t;
}

std::vector<ParameterDoc> norm_parameters() {
  return {number("epsilon", 1e-5, "added to the variance"),
          number("momentum", 0.1, "share of the batch in the running statistics"),
          flag("relu", false, "max(., 0) follows"), layout_parameter()};
}

std::vector<ArrayDoc> affine() {
  return {optional(array_doc("gamma", Type::f32, "(C)", "factors; absent: 1")),
          optional(array_doc("beta", Type::f32, "(C)", "summands; absent: 0"))};
}

std::vector<ArrayDoc> statistics() {
  return {array_doc("mean", Type::f32, "(C)", "stored mean"),
          array_doc("var", Type::f32, "(C)", "stored variance")};
}

Case random_norm(Random& r, bool frozen) {
  Case c;
  const Extent e = {r.size(3), r.size(36), r.between(2, 12), r.between(1, 12)};
  c.arrays["x"] = r.floats(e, -2, 3);
  if (r.chance(0.8)) c.arrays["gamma"] = r.floats({e[1]}, -1, 2);
  if (r.chance(0.8)) c.arrays["beta"] = r.floats({e[1]}, -1, 1);
  if (r.chance(0.8)) c.arrays["d_y"] = r.floats(e, -1, 1);
  const bool running = frozen || r.chance(0.7);
  if (running) c.arrays[frozen ? "mean" : "running_mean"] = r.floats({e[1]}, -1, 1);
  if (running) c.arrays[frozen ? "var" : "running_var"] = r.floats({e[1]}, 0.1, 2);
  c.params = {{"relu", r.chance(0.5)}, {"layout", r.word(layout_names())}};
  return c;
}

std::function<std::vector<BenchCase>(const std::string&)> norm_bench(bool frozen) {
  return [frozen](const std::string& shapes) {
    const Extent e = shapes == "small" ? Extent{2, 16, 20, 20} : Extent{2, 256, 75, 125};
    return std::vector<BenchCase>{{fmt::format("{}x{}x{}x{}", e[0], e[1], e[2], e[3]), [=] {
                                     Random r(1);
                                     Case c;
                                     c.arrays["x"] = r.floats(e, -1, 1);
                                     c.arrays["d_y"] = r.floats(e, -1, 1);
                                     for (const char* name : {"gamma", "beta"})
                                       c.arrays[name] = r.floats({e[1]}, 0.5, 1.5);
                                     if (frozen)
                                       for (const char* name : {"mean", "var"})
                                         c.arrays[name] = r.floats({e[1]}, 0.5, 1.5);
                                     c.params = {{"relu", true}, {"layout", std::string("nhwc")}};
                                     return c;
                                   }}};
  };
}

Operation lrn() {
  Operation op = describe("lrn", "norm", "local response normalisation across channels (AlexNet)",
                          "kernels/norm/lrn.h", {"lrn_forward", "lrn_backward"});
  op.inputs = {array_doc("x", Type::f32, "(N, C, H, W)", "map")};
  op.outputs = {with_gradient(array_doc("y", Type::f32, "(N, C, H, W)", "normalised"))};
  op.params = {integer("size", 5, "channels of the window"),
               number("alpha", 1e-4, "factor of the sum of squares"),
               number("beta", 0.75, "exponent"), number("k", 1, "summand"), layout_parameter()};
  op.ladders = {ladder("kLrnVersions", kLrnVersions, "tile")};
  op.tolerance = rounding(16, "powers and fused operations differ in the last bits", 16);
  op.prepare = on_all_devices<Lrn, float, double>();
  op.random_case = [](Random& r) {
    Case c;
    const Extent e = {r.size(2, true), r.size(40), r.size(9), r.size(9)};
    c.arrays["x"] = r.floats(e, -5, 5);
    c.arrays["d_y"] = r.floats(e, -1, 1);
    c.params = {{"size", r.between(1, 7)},
                {"alpha", r.pick<double>({1e-4, 0.5})},
                {"beta", r.pick<double>({0.75, 0.5})},
                {"layout", r.word(layout_names())}};
    return c;
  };
  op.bench = [](const std::string& shapes) {
    const Extent e = shapes == "small" ? Extent{1, 16, 20, 20} : Extent{1, 96, 300, 500};
    return std::vector<BenchCase>{{fmt::format("{}x{}x{}", e[1], e[2], e[3]), [=] {
                                     Random r(1);
                                     Case c;
                                     c.arrays["x"] = r.floats(e, 0, 1);
                                     c.arrays["d_y"] = r.floats(e, -1, 1);
                                     c.params = {{"layout", std::string("nhwc")}};
                                     return c;
                                   }}};
  };
  return op;
}

Operation batch_norm_train() {
  Operation op = describe(
      "batch_norm_train", "norm", "batch normalisation by the statistics of the batch, with ReLU",
      "kernels/norm/batch_norm.h", {"batch_norm_train_forward", "batch_norm_train_backward"});
  op.inputs = {array_doc("x", Type::f32, "(N, C, H, W)", "map")};
  for (const ArrayDoc& doc : affine()) op.inputs.push_back(doc);
  op.inputs.push_back(optional(array_doc("running_mean", Type::f32, "(C)", "to be updated")));
  op.inputs.push_back(optional(array_doc("running_var", Type::f32, "(C)", "to be updated")));
  op.outputs = {with_gradient(array_doc("y", Type::f32, "(N, C, H, W)", "normalised")),
                array_doc("saved_mean", Type::f32, "(C)", "of the batch"),
                array_doc("saved_rstd", Type::f32, "(C)", "1 / sqrt(variance + epsilon)"),
                array_doc("running_mean_new", Type::f32, "(C)", "if both were given"),
                array_doc("running_var_new", Type::f32, "(C)", "if both were given")};
  op.params = norm_parameters();
  op.ladders = {ladder("kBatchNormVersions", kBatchNormVersions, "vector")};
  op.tolerance = norm_tolerance;
  op.prepare = on_all_devices<BatchNormTrain, float, double>();
  op.random_case = [](Random& r) { return random_norm(r, false); };
  op.bench = norm_bench(false);
  return op;
}

Operation batch_norm_frozen() {
  Operation op = describe(
      "batch_norm_frozen", "norm", "batch normalisation by stored statistics, with ReLU",
      "kernels/norm/batch_norm.h", {"batch_norm_frozen_forward", "batch_norm_frozen_backward"});
  op.inputs = {array_doc("x", Type::f32, "(N, C, H, W)", "map")};
  for (const ArrayDoc& doc : affine()) op.inputs.push_back(doc);
  for (const ArrayDoc& doc : statistics()) op.inputs.push_back(doc);
  op.outputs = {with_gradient(array_doc("y", Type::f32, "(N, C, H, W)", "normalised"))};
  op.params = norm_parameters();
  op.ladders = {ladder("kBatchNormVersions", kBatchNormVersions, "vector")};
  op.tolerance = norm_tolerance;
  op.prepare = on_all_devices<BatchNormFrozen, float, double>();
  op.random_case = [](Random& r) { return random_norm(r, true); };
  op.bench = norm_bench(true);
  return op;
}

Operation batch_norm_fold() {
  Operation op = describe("batch_norm_fold", "norm",
                          "frozen batch normalisation as one multiply-add per channel",
                          "kernels/norm/batch_norm.h", {"batch_norm_fold"});
  for (const ArrayDoc& doc : affine()) op.inputs.push_back(doc);
  for (const ArrayDoc& doc : statistics()) op.inputs.push_back(doc);
  op.outputs = {array_doc("scale", Type::f32, "(C)", "gamma / sqrt(var + epsilon)"),
                array_doc("shift", Type::f32, "(C)", "beta - mean scale")};
  op.params = {number("epsilon", 1e-5, "added to the variance")};
  op.tolerance = rounding(8, "roots, quotients and fused operations", 8);
  op.prepare = on_all_devices<BatchNormFold, float, double>();
  op.random_case = [](Random& r) {
    Case c;
    const int64_t channels = r.size(300, true);
    if (r.chance(0.8)) c.arrays["gamma"] = r.floats({channels}, -1, 2);
    if (r.chance(0.8)) c.arrays["beta"] = r.floats({channels}, -1, 1);
    c.arrays["mean"] = r.floats({channels}, -1, 1);
    c.arrays["var"] = r.floats({channels}, 0.1, 2);
    return c;
  };
  return op;
}

}  // namespace

void add_norm(Operations& list) {
  list.push_back(lrn());
  list.push_back(batch_norm_train());
  list.push_back(batch_norm_frozen());
  list.push_back(batch_norm_fold());
}

}  // namespace frcnn::apps::ops
