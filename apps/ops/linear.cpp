#include "kernels/linear/linear.h"

#include "apps/ops/definitions.h"
#include "kernels/elementwise/elementwise.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;

LinearParams linear_params(const Desk& d) {
  LinearParams p;
  p.rows = d.letter("R"), p.in = d.letter("I"), p.out = d.letter("O");
  p.bias = d.has("b");
  p.relu = d.flag("relu");
  return p;
}

/// The arrays of a layer in device memory. With a ReLU the gradient is masked first.
template <typename T, typename S>
struct LinearArrays {
  const T *x, *w;
  const S* b;
  T* y;
  const T* dy = nullptr;
  T *masked_dy = nullptr, *dx = nullptr;
  S *dw = nullptr, *db = nullptr;

  LinearArrays(Desk& d, const LinearParams& p)
      : x(d.input<T>("x")),
        w(d.input<T>("w")),
        b(d.input<S>("b")),
        y(d.output<T>("y", {p.rows, p.out})),
        dy(d.gradient<T>("y")) {
    if (dy == nullptr) return;
    if (p.relu)
      masked_dy = static_cast<T*>(d.scratch(static_cast<size_t>(p.rows * p.out) * sizeof(T)));
    dx = d.output<T>("d_x", {p.rows, p.in});
    dw = d.output<S>("d_w", {p.out, p.in});
    if (p.bias) db = d.output<S>("d_b", {p.out});
  }
};

template <typename T>
void reference_linear(Desk& d, const LinearParams& p) {
  const LinearArrays<T, T> a(d, p);
  d.pass("forward", [=] { cpu::linear_forward_reference(p, a.x, a.w, a.b, a.y); });
  if (a.dy == nullptr) return;
  const T* dy = p.relu ? a.masked_dy : a.dy;
  if (p.relu) d.pass("mask", [=] { cpu::relu_backward(p.rows * p.out, a.y, a.dy, a.masked_dy); });
  d.pass("backward_data", [=] { cpu::linear_backward_data_reference(p, dy, a.w, a.dx); });
  d.pass("backward_weights",
         [=] { cpu::linear_backward_weights_reference(p, a.x, dy, a.dw, a.db); });
}

void planned_linear(Desk& d, const LinearParams& p) {
  const LinearArrays<float, float> a(d, p);
  const auto plan = cpu::linear_plan(p, LayerPass::forward_inference);
  void* packed = plan->plain_weights() ? nullptr : d.scratch(plan->packed_weight_bytes());
  if (packed != nullptr) plan->pack_weights(a.w, packed);
  const void* w = packed != nullptr ? packed : a.w;
  void* room = d.scratch(plan->scratch_bytes());
  d.pass("forward", [=] { plan->forward(a.x, w, a.b, a.y, room); });
  if (a.dy == nullptr) return;
  const float* dy = p.relu ? a.masked_dy : a.dy;
  if (p.relu) d.pass("mask", [=] { cpu::relu_backward(p.rows * p.out, a.y, a.dy, a.masked_dy); });
  const auto data = cpu::linear_plan(p, LayerPass::backward_data);
  void* data_room = d.scratch(data->scratch_bytes());
  d.pass("backward_data", [=] { data->backward_data(dy, a.w, a.dx, data_room); });
  const auto weights = cpu::linear_plan(p, LayerPass::backward_weights);
  void* weights_packed =
      weights->plain_weights() ? nullptr : d.scratch(weights->packed_weight_bytes());
  void* weights_room = d.scratch(weights->scratch_bytes());
  d.pass("backward_weights",
         [=] { weights->backward_weights(a.x, dy, a.dw, a.db, weights_packed, weights_room); });
}

template <Backend B, typename T>
void prepare_gpu(Desk& d, const LinearParams& p) {
  using S = gpu::LinearSum<T>;
  LinearVersion version = gpu::kLinearDefault<T>;
  if (d.asked(0)) {
    version = d.version<LinearVersion>();
    if (!gpu::linear_supports<T>(version))
      throw Unsupported(fmt::format("{} does not take {}", d.version_name(), d.type()));
  }
  const LinearArrays<T, S> a(d, p);
  const std::string name = kLinearVersions[static_cast<size_t>(version)].name;
  const auto room = [&](LayerPass pass) {
    return d.scratch(gpu::linear_workspace<B, T>(p, pass, version));
  };
  void* forward_room = room(LayerPass::forward_inference);
  d.pass_of_version("forward", name, [=] {
    gpu::linear_forward<B, T>(nullptr, p, a.x, a.w, a.b, a.y, forward_room, version);
  });
  if (a.dy == nullptr) return;
  const T* dy = p.relu ? a.masked_dy : a.dy;
  if constexpr (!std::is_same_v<T, Bfloat16>) {
    if (p.relu)
      d.pass_of_version("mask", "", [=] {
        gpu::relu_backward<B>(nullptr, p.rows * p.out, a.y, a.dy, a.masked_dy);
      });
  } else {
    check(!p.relu, "[linear] bf16: the gradient of the ReLU is not part of this operation");
  }
  void* data_room = room(LayerPass::backward_data);
  d.pass_of_version("backward_data", name, [=] {
    gpu::linear_backward_data<B, T>(nullptr, p, dy, a.w, a.dx, data_room, version);
  });
  void* weights_room = room(LayerPass::backward_weights);
  d.pass_of_version("backward_weights", name, [=] {
    gpu::linear_backward_weights<B, T>(nullptr, p, a.x, dy, a.dw, a.db, weights_room, version);
  });
}

void prepare_linear(Desk& d) {
  const LinearParams p = linear_params(d);
  if (d.device() != Device::cpu)
    return on_type<float, double, Bfloat16>(d, [&](auto t) {
      on_device(d.device(), [&](auto where) {
        if constexpr (!decltype(where)::cpu)
          prepare_gpu<decltype(where)::backend, decltype(t)>(d, p);
      });
    });
  if (d.type() == "f64") return reference_linear<double>(d, p);
  if (d.type() == "bf16") d.round_to_bfloat16({"x", "w", "d_y"});
  if (d.version() == 0) return reference_linear<float>(d, p);
  planned_linear(d, p);
}

Tolerance linear_tolerance(const std::string& version, const std::string& type) {
  const auto has = [&](const char* part) { return version.find(part) != std::string::npos; };
  if (type == "f64") return within(16 * 0x1.0p-53, 0, "sums in another order");
  if (has("bf16") || type == "bf16")
    return within(1.2 * 0x1.0p-7, 0, "factors and results rounded to bfloat16: 2^-8 each");
  if (has("tf32")) return within(1.2 * 0x1.0p-10, 0, "factors rounded to tf32: 2^-11 each");
  return within(16 * 0x1.0p-24, 0, "float32 sums; the CPU's reference sums in double");
}

Case linear_case(Random& r, int64_t rows, int64_t in, int64_t out, bool gradients) {
  Case c;
  c.arrays["x"] = r.floats({rows, in}, -1, 1);
  c.arrays["w"] = r.floats({out, in}, -1, 1);
  c.arrays["b"] = r.floats({out}, -1, 1);
  if (gradients) c.arrays["d_y"] = r.floats({rows, out}, -1, 1);
  return c;
}

}  // namespace

void add_linear(Operations& list) {
  Operation op =
      describe("linear", "linear", "dense layer with bias and ReLU", "kernels/linear/linear.h",
               {"linear_forward", "linear_backward_data", "linear_backward_weights",
                "linear_forward_reference", "linear_backward_data_reference",
                "linear_backward_weights_reference"});
  op.inputs = {array_doc("x", Type::f32, "(R, I)", "rows"),
               array_doc("w", Type::f32, "(O, I)", "weights"),
               optional(array_doc("b", Type::f32, "(O)", "bias"))};
  op.outputs = {with_gradient(array_doc("y", Type::f32, "(R, O)", "x w^T + b"))};
  op.params = {flag("relu", false, "max(., 0) follows")};
  op.types = {"f32", "f64", "bf16"};
  op.ladders = {ladder("kLinearVersions", kLinearVersions, "")};
  op.ladders[0].cpu = cpu_versions({{"reference", "the equation as loops, sums in double"},
                                    {"onednn", "oneDNN's inner product"}});
  op.ladders[0].cpu_standard = "onednn";
  op.prepare = prepare_linear;
  op.tolerance = linear_tolerance;
  op.traffic = [](const std::string& pass) { return product_traffic(pass); };
  op.magnitudes = {"x", "w", "b", "d_y"};
  op.flops = [](const Case& c, const std::string& pass) {
    if (pass == "mask") return 0.0;
    return 2.0 * static_cast<double>(c.arrays.at("x").count()) *
           static_cast<double>(c.arrays.at("w").extent()[0]);
  };
  op.random_case = [](Random& r) {
    Case c = linear_case(r, r.size(40), r.size(90), r.size(50), false);
    if (r.chance(0.3)) c.arrays.erase("b");
    if (r.chance(0.3))  // a ReLU's mask jumps where rounding changes a sign: no gradient with it
      c.params["relu"] = true;
    else
      c.arrays["d_y"] = r.floats({c.arrays["x"].extent()[0], c.arrays["w"].extent()[0]}, -1, 1);
    return c;
  };
  op.bench = [](const std::string& shapes) {
    std::vector<BenchCase> cases;
    const auto add = [&](const char* name, int64_t rows, int64_t in, int64_t out) {
      for (const char* type : {"f32", "bf16"})
        cases.push_back({fmt::format("{} {}x{}>{} {}", name, rows, in, out, type), [=] {
                           Random r(1);
                           Case c = linear_case(r, rows, in, out, true);
                           c.params["type"] = std::string(type);
                           return c;
                         }});
    };
    if (shapes == "small") {
      add("small", 64, 128, 96);
    } else {
      add("fc6", 128, 25088, 4096);
      add("fc7", 128, 4096, 4096);
      add("fc6", 300, 25088, 4096);
      add("box_delta", 300, 4096, 84);
    }
    return cases;
  };
  list.push_back(op);
}

}  // namespace frcnn::apps::ops
