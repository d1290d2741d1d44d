#include "apps/ops/definitions.h"
#include "kernels/losses/box_loss.h"
#include "kernels/losses/cross_entropy.h"
#include "kernels/losses/giou.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;

struct Softmax {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t rows = d.letter("R"), classes = d.letter("C");
    const T* logits = d.input<T>("logits");
    T* p = d.output<T>("p", {rows, classes});
    const auto version = d.version<SoftmaxVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::softmax(rows, classes, logits, p);
      else
        gpu::softmax<Where::backend>(nullptr, rows, classes, logits, p, version);
    });
  }
};

struct Sigmoid {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n");
    const T* x = d.input<T>("x");
    T* y = d.output<T>("y", {count});
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::sigmoid(count, x, y);
      else
        gpu::sigmoid<Where::backend>(nullptr, count, x, y);
    });
  }
};

/// The gradient of the loss, a single number; 1 when it is not given.
double loss_gradient(const Desk& d) {
  return d.has("d_loss") ? d.array("d_loss").as<double>().at(0) : 1.0;
}

/// Labels are below `classes`: on a GPU nothing would say so.
void check_labels(const Desk& d, int64_t classes) {
  for (const int32_t label : d.array("labels").as<int32_t>())
    check(label < classes, "[{}] labels: there is no {} of {}", d.op().name, label, classes);
}

/// Parameters of the focal form; as they stand they are the plain cross-entropy.
std::vector<ParameterDoc> focal_params() {
  return {number("focal_gamma", 0, "focal loss: exponent of 1 - p"),
          number("focal_alpha", -1, "focal loss: weight of objects; below 0: none")};
}
Focal focal_of(const Desk& d) {
  return {d.number("focal_gamma"), d.number("focal_alpha")};
}
void random_focal(Random& r, Case& c) {
  if (r.chance(0.5)) return;
  c.params["focal_gamma"] = r.pick<double>({0, 0.5, 1, 2, 3});
  c.params["focal_alpha"] = r.pick<double>({-1, 0.25, 0.9});
}

struct SoftmaxCrossEntropy {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t rows = d.letter("R"), classes = d.letter("C");
    const T* logits = d.input<T>("logits");
    const auto* labels = d.input<int32_t>("labels");
    const T* weights = d.input<T>("row_weights");
    auto* loss = d.output<double>("loss", {});
    T* p = d.output<T>("probabilities", {rows, classes});
    T* row_losses = d.output<T>("row_losses", {rows});
    check_labels(d, classes);
    const Focal focal = focal_of(d);
    const auto version = d.version<SoftmaxVersion>();
    void* workspace = d.scratch(gpu::kLossWorkspace, true);
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        *loss = cpu::softmax_cross_entropy_forward(rows, classes, logits, labels, p, weights,
                                                   row_losses, focal);
      else
        gpu::softmax_cross_entropy_forward<Where::backend>(nullptr, rows, classes, 1.0, logits,
                                                           labels, p, loss, workspace, weights,
                                                           row_losses, {}, version, focal);
    });
    if (!d.has("d_loss")) return;
    const double scale = loss_gradient(d);
    T* dlogits = d.output<T>("d_logits", {rows, classes});
    d.pass("backward", [=] {
      if constexpr (Where::cpu)
        cpu::softmax_cross_entropy_backward(rows, classes, scale, p, labels, dlogits, weights,
                                            focal);
      else
        gpu::softmax_cross_entropy_backward<Where::backend>(nullptr, rows, classes, scale, p,
                                                            labels, dlogits, weights, focal);
    });
  }
};

struct SigmoidCrossEntropy {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n");
    const T* logits = d.input<T>("logits");
    const auto* labels = d.input<int32_t>("labels");
    auto* loss = d.output<double>("loss", {});
    check_labels(d, 2);
    const Focal focal = focal_of(d);
    void* workspace = d.scratch(gpu::kLossWorkspace, true);
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        *loss = cpu::sigmoid_cross_entropy_forward(count, logits, labels, focal);
      else
        gpu::sigmoid_cross_entropy_forward<Where::backend>(nullptr, count, 1.0, logits, labels,
                                                           loss, workspace, {}, focal);
    });
    if (!d.has("d_loss")) return;
    const double scale = loss_gradient(d);
    T* dlogits = d.output<T>("d_logits", {count});
    d.pass("backward", [=] {
      if constexpr (Where::cpu)
        cpu::sigmoid_cross_entropy_backward(count, scale, logits, labels, dlogits, focal);
      else
        gpu::sigmoid_cross_entropy_backward<Where::backend>(nullptr, count, scale, logits, labels,
                                                            dlogits, focal);
    });
  }
};

struct BoxLoss {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t rows = d.letter("R");
    const BoxLossParams p{enum_of<BoxPenalty>(d, "penalty"), d.number("sigma"),
                          d.integer("groups")};
    check(p.groups >= 1, "[box_loss] groups must be at least 1, found {}", p.groups);
    const T *predictions = d.input<T>("predictions"), *targets = d.input<T>("targets");
    const auto* labels = d.input<int32_t>("labels");
    auto* loss = d.output<double>("loss", {});
    if (p.groups > 1) check_labels(d, p.groups);
    const auto version = d.version<BoxLossVersion>();
    void* workspace = d.scratch(gpu::kLossWorkspace, true);
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        *loss = cpu::box_loss_forward(p, rows, predictions, targets, labels);
      else
        gpu::box_loss_forward<Where::backend>(nullptr, p, rows, 1.0, predictions, targets, labels,
                                              loss, workspace, {}, version);
    });
    if (!d.has("d_loss")) return;
    const double scale = loss_gradient(d);
    T* dpredictions = d.output<T>("d_predictions", {rows, 4 * p.groups});
    d.pass("backward", [=] {
      if constexpr (Where::cpu)
        cpu::box_loss_backward(p, rows, scale, predictions, targets, labels, dpredictions);
      else
        gpu::box_loss_backward<Where::backend>(nullptr, p, rows, scale, predictions, targets,
                                               labels, dpredictions, version);
    });
  }
};

/// Labels alone: the type of a run's numbers plays no part.
struct OneVsAllLabels {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t rows = d.letter("R"), classes = d.integer("classes");
    check(classes >= 1, "[one_vs_all_labels] classes must be at least 1, found {}", classes);
    const auto* labels = d.input<int32_t>("labels");
    auto* out = d.output<int32_t>("binary", {rows, classes});
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::one_vs_all_labels(rows, classes, labels, out);
      else
        gpu::one_vs_all_labels<Where::backend>(nullptr, rows, classes, labels, out);
    });
  }
};

struct GiouLoss {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t rows = d.letter("R");
    GiouParams p;
    p.groups = d.integer("groups");
    check(p.groups >= 1, "[giou_loss] groups must be at least 1, found {}", p.groups);
    const double std = d.number("std");
    p.codec.std = {std, std, 2 * std, 2 * std};
    const T *predictions = d.input<T>("predictions"), *targets = d.input<T>("targets");
    const auto* labels = d.input<int32_t>("labels");
    auto* loss = d.output<double>("loss", {});
    if (p.groups > 1) check_labels(d, p.groups);
    const auto version = d.version<GiouVersion>();
    void* workspace = d.scratch(gpu::kLossWorkspace, true);
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        *loss = cpu::giou_loss_forward(p, rows, predictions, targets, labels);
      else
        gpu::giou_loss_forward<Where::backend>(nullptr, p, rows, 1.0, predictions, targets, labels,
                                               loss, workspace);
    });
    if (!d.has("d_loss")) return;
    const double scale = loss_gradient(d);
    T* dpredictions = d.output<T>("d_predictions", {rows, 4 * p.groups});
    d.pass("backward", [=] {
      if constexpr (Where::cpu)
        cpu::giou_loss_backward(p, rows, scale, predictions, targets, labels, dpredictions);
      else
        gpu::giou_loss_backward<Where::backend>(nullptr, p, rows, scale, predictions, targets,
                                                labels, dpredictions, version);
    });
  }
};

const char* const kReason = "exp and log differ in their last bits, sums run in another order";

Array one_number(double value) {
  return Array::of({}, std::vector<double>{value});
}

Case logits_case(Random& r, int64_t rows, int64_t classes) {
  Case c;
  c.arrays["logits"] = r.floats({rows, classes}, -8, 8);
  return c;
}

std::vector<BenchCase> rows_bench(const std::string& shapes,
                                  const std::function<Case(Random&, int64_t, int64_t)>& make) {
  const auto named = [=](int64_t rows, int64_t classes) {
    return BenchCase{fmt::format("{} rows of {}", rows, classes), [=] {
                       Random r(1);
                       return make(r, rows, classes);
                     }};
  };
  if (shapes == "small") return {named(100, 5)};
  return {named(128, 21), named(20646, 2)};
}

Operation of_rows(const std::string& name, const std::string& text, const std::string& header,
                  std::vector<std::string> functions,
                  const std::function<Case(Random&, int64_t, int64_t)>& make) {
  Operation op = describe(name, "losses", text, header, std::move(functions));
  op.random_case = [=](Random& r) { return make(r, r.size(400, true), r.size(40)); };
  op.bench = [=](const std::string& shapes) { return rows_bench(shapes, make); };
  return op;
}

constexpr const char* kEntropyHeader = "kernels/losses/cross_entropy.h";

void add_softmax(Operations& list) {
  Operation softmax = of_rows("softmax", "exp(x) / sum of exp(x), of each row", kEntropyHeader,
                              {"softmax"}, logits_case);
  softmax.inputs = {array_doc("logits", Type::f32, "(R, C)", "rows of classes")};
  softmax.outputs = {array_doc("p", Type::f32, "(R, C)", "probabilities")};
  softmax.ladders = {ladder("kSoftmaxVersions", kSoftmaxVersions, "registers")};
  softmax.prepare = on_all_devices<Softmax, float, double>();
  softmax.tolerance = rounding(64, kReason);
  list.push_back(softmax);

  Operation loss =
      of_rows("softmax_cross_entropy", "sum of -w log softmax(x)[label] over rows that count",
              kEntropyHeader, {"softmax_cross_entropy_forward", "softmax_cross_entropy_backward"},
              [](Random& r, int64_t rows, int64_t classes) {
                Case c = logits_case(r, rows, classes);
                c.arrays["labels"] = r.integers({rows}, -1, classes - 1);
                if (r.chance(0.5)) c.arrays["row_weights"] = r.floats({rows}, 0, 2);
                c.arrays["d_loss"] = one_number(r.uniform(0.001, 2));
                random_focal(r, c);
                return c;
              });
  loss.inputs = {array_doc("logits", Type::f32, "(R, C)", "rows of classes"),
                 array_doc("labels", Type::i32, "(R)", "-1: the row does not count"),
                 optional(array_doc("row_weights", Type::f32, "(R)", "absent: 1"))};
  loss.outputs = {with_gradient(array_doc("loss", Type::f64, "()", "the sum")),
                  array_doc("probabilities", Type::f32, "(R, C)", "softmax(x)"),
                  array_doc("row_losses", Type::f32, "(R)", "0 where a row does not count")};
  loss.params = focal_params();
  loss.ladders = {ladder("kSoftmaxVersions", kSoftmaxVersions, "registers")};
  loss.prepare = on_all_devices<SoftmaxCrossEntropy, float, double>();
  loss.tolerance = rounding(64, kReason, 64);
  list.push_back(loss);
}

void add_sigmoid(Operations& list) {
  Operation sigmoid = of_rows("sigmoid", "1 / (1 + exp(-x))", kEntropyHeader, {"sigmoid"},
                              [](Random& r, int64_t rows, int64_t columns) {
                                Case c;
                                c.arrays["x"] = r.floats({rows * columns}, -30, 30);
                                return c;
                              });
  sigmoid.inputs = {array_doc("x", Type::f32, "(n)", "numbers")};
  sigmoid.outputs = {array_doc("y", Type::f32, "(n)", "in (0, 1)")};
  sigmoid.prepare = on_all_devices<Sigmoid, float, double>();
  sigmoid.tolerance = rounding(64, kReason);
  list.push_back(sigmoid);

  Operation loss =
      of_rows("sigmoid_cross_entropy", "cross-entropy of sigmoid(x), summed over what counts",
              kEntropyHeader, {"sigmoid_cross_entropy_forward", "sigmoid_cross_entropy_backward"},
              [](Random& r, int64_t rows, int64_t columns) {
                Case c;
                c.arrays["logits"] = r.floats({rows * columns}, -30, 30);
                c.arrays["labels"] = r.integers({rows * columns}, -1, 1);
                c.arrays["d_loss"] = one_number(r.uniform(0.001, 2));
                random_focal(r, c);
                return c;
              });
  loss.inputs = {array_doc("logits", Type::f32, "(n)", "numbers"),
                 array_doc("labels", Type::i32, "(n)", "1, 0, or -1: does not count")};
  loss.outputs = {with_gradient(array_doc("loss", Type::f64, "()", "the sum"))};
  loss.params = focal_params();
  loss.prepare = on_all_devices<SigmoidCrossEntropy, float, double>();
  loss.tolerance = rounding(64, kReason, 64);
  list.push_back(loss);
}

void add_box_loss(Operations& list) {
  const std::vector<std::string> penalties = {"smooth_l1", "l1", "mse"};
  Operation loss =
      of_rows("box_loss", "penalty of predictions - targets, summed over rows with an object",
              "kernels/losses/box_loss.h", {"box_loss_forward", "box_loss_backward"},
              [=](Random& r, int64_t rows, int64_t classes) {
                Case c;
                const int64_t groups = r.chance(0.4) ? 1 : classes;
                c.arrays["predictions"] = r.coarse({rows, 4 * groups}, -3, 3);
                c.arrays["targets"] = r.coarse({rows, 4}, -3, 3);
                c.arrays["labels"] = r.integers({rows}, -1, groups > 1 ? groups - 1 : 3);
                c.arrays["d_loss"] = one_number(r.uniform(0.001, 2));
                c.params = {{"penalty", r.word(penalties)},
                            {"groups", groups},
                            {"sigma", r.pick<double>({1, 3, 0.5})}};
                return c;
              });
  loss.inputs = {array_doc("predictions", Type::f32, "(R, 4*groups)", "deltas per group"),
                 array_doc("targets", Type::f32, "(R, 4)", "deltas"),
                 array_doc("labels", Type::i32, "(R)", "rows above 0 count")};
  loss.outputs = {with_gradient(array_doc("loss", Type::f64, "()", "the sum"))};
  loss.params = {word("penalty", "smooth_l1", "of a difference", penalties),
                 number("sigma", 1, "smooth_l1: quadratic below 1 / sigma^2"),
                 integer("groups", 1, "sets of deltas in a row; above 1: that of the label")};
  loss.ladders = {ladder("kBoxLossVersions", kBoxLossVersions, "coordinates")};
  loss.prepare = on_all_devices<BoxLoss, float, double>();
  loss.tolerance = [](const std::string&, const std::string& type) {
    return within(type == "f64" ? 1e-12 : 0x1.0p-21, 0, "sums of doubles, added in another order");
  };
  list.push_back(loss);
}

void add_one_vs_all(Operations& list) {
  Operation labels =
      of_rows("one_vs_all_labels", "one binary label per class and row", kEntropyHeader,
              {"one_vs_all_labels"}, [](Random& r, int64_t rows, int64_t classes) {
                Case c;
                c.arrays["labels"] = r.integers({rows}, -1, classes - 1);
                c.params = {{"classes", classes}};
                return c;
              });
  labels.inputs = {array_doc("labels", Type::i32, "(R)", "0: background, -1: does not count")};
  labels.outputs = {array_doc("binary", Type::i32, "(R, classes)", "1, 0, or -1: left out")};
  labels.params = {integer("classes", 2, "with the background")};
  labels.prepare = on_all_devices<OneVsAllLabels, float, double>();
  list.push_back(labels);
}

void add_giou_loss(Operations& list) {
  Operation loss =
      of_rows("giou_loss", "1 - GIoU of the boxes of deltas, summed over rows with an object",
              "kernels/losses/giou.h", {"giou_loss_forward", "giou_loss_backward"},
              [](Random& r, int64_t rows, int64_t classes) {
                Case c;
                const int64_t groups = r.chance(0.4) ? 1 : classes;
                c.arrays["predictions"] = r.floats({rows, 4 * groups}, -2, 2);
                c.arrays["targets"] = r.floats({rows, 4}, -1, 1);
                c.arrays["labels"] = r.integers({rows}, -1, groups > 1 ? groups - 1 : 3);
                c.arrays["d_loss"] = one_number(r.uniform(0.001, 2));
                c.params = {{"groups", groups}, {"std", r.pick<double>({1, 0.1})}};
                return c;
              });
  loss.inputs = {array_doc("predictions", Type::f32, "(R, 4*groups)", "deltas per group"),
                 array_doc("targets", Type::f32, "(R, 4)", "deltas"),
                 array_doc("labels", Type::i32, "(R)", "rows above 0 count")};
  loss.outputs = {with_gradient(array_doc("loss", Type::f64, "()", "the sum"))};
  loss.params = {
      number("std", 1, "deltas of the centre are divided by this, of the sides by twice"),
      integer("groups", 1, "sets of deltas in a row; above 1: that of the label")};
  loss.ladders = {ladder("kGiouVersions", kGiouVersions, "columns")};
  loss.prepare = on_all_devices<GiouLoss, float, double>();
  loss.tolerance = rounding(64, kReason, 64);
  list.push_back(loss);
}

}  // namespace

void add_losses(Operations& list) {
  add_softmax(list);
  add_sigmoid(list);
  add_one_vs_all(list);
  add_box_loss(list);
  add_giou_loss(list);
}

}  // namespace frcnn::apps::ops
