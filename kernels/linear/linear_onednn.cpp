// Float32 dense layers by oneDNN's inner product.
#include <map>
#include <mutex>
#include <tuple>
#include <unordered_map>

#include "kernels/launch/onednn.h"
#include "kernels/linear/linear.h"

namespace frcnn::kernels::cpu {
namespace {

using dnnl::memory;
using tag = memory::format_tag;
using Pass = LinearPlan::Pass;

struct Descs {
  memory::desc x, w, w_any, b, y;
  explicit Descs(const LinearParams& p)
      : x({p.rows, p.in}, onednn::f32(), tag::nc),
        w({p.out, p.in}, onednn::f32(), tag::oi),
        w_any({p.out, p.in}, onednn::f32(), tag::any),
        b(p.bias ? memory::desc({p.out}, onednn::f32(), tag::x) : memory::desc()),
        y({p.rows, p.out}, onednn::f32(), tag::nc) {}
};

dnnl::inner_product_forward::primitive_desc forward_desc(const LinearParams& p,
                                                         dnnl::prop_kind kind,
                                                         const dnnl::primitive_attr& attr) {
  const Descs d(p);
  const auto& w = kind == dnnl::prop_kind::forward_inference ? d.w_any : d.w;
#if DNNL_VERSION_MAJOR >= 3
  return {onednn::engine(), kind, d.x, w, d.b, d.y, attr};
#else
  if (p.bias) return {{kind, d.x, w, d.b, d.y}, attr, onednn::engine()};
  return {{kind, d.x, w, d.y}, attr, onednn::engine()};
#endif
}

dnnl::inner_product_backward_data::primitive_desc backward_data_desc(const LinearParams& p) {
  const Descs d(p);
  const auto hint = forward_desc(p, dnnl::prop_kind::forward_training, dnnl::primitive_attr());
  const auto attr = onednn::attributes(false);
#if DNNL_VERSION_MAJOR >= 3
  return {onednn::engine(), d.x, d.w, d.y, hint, attr};
#else
  return {{d.x, d.w, d.y}, attr, onednn::engine(), hint};
#endif
}

dnnl::inner_product_backward_weights::primitive_desc backward_weights_desc(const LinearParams& p) {
  const Descs d(p);
  const auto hint = forward_desc(p, dnnl::prop_kind::forward_training, dnnl::primitive_attr());
  const auto attr = onednn::attributes(false);
#if DNNL_VERSION_MAJOR >= 3
  return {onednn::engine(), d.x, d.w, d.b, d.y, hint, attr};
#else
  if (p.bias) return {{d.x, d.w, d.b, d.y}, attr, onednn::engine(), hint};
  return {{d.x, d.w, d.y}, attr, onednn::engine(), hint};
#endif
}

}  // namespace

struct LinearPlan::Impl {
  LinearParams params;
  memory::desc x, weights, weights_plain, bias, y, scratch;
  dnnl::primitive primitive;
  std::string format, implementation;

  template <typename PrimitiveDesc>
  void describe(const PrimitiveDesc& desc, const memory::desc& weight_desc) {
    const Descs d(params);
    x = d.x;
    y = d.y;
    bias = d.b;
    weights = weight_desc;
    weights_plain = d.w;
    scratch = desc.scratchpad_desc();
    implementation = desc.impl_info_str();
    format = onednn::format_key(weights);
  }

  void make(Pass pass) {
    if (pass == Pass::backward_data) {
      const auto desc = backward_data_desc(params);
      describe(desc, desc.weights_desc());
      primitive = dnnl::inner_product_backward_data(desc);
    } else if (pass == Pass::backward_weights) {
      const auto desc = backward_weights_desc(params);
      describe(desc, desc.diff_weights_desc());
      primitive = dnnl::inner_product_backward_weights(desc);
    } else {
      const auto kind = pass == Pass::forward_inference ? dnnl::prop_kind::forward_inference
                                                        : dnnl::prop_kind::forward_training;
      const auto desc = forward_desc(params, kind, onednn::attributes(params.relu));
      describe(desc, desc.weights_desc());
      primitive = dnnl::inner_product_forward(desc);
    }
  }

  void run(std::unordered_map<int, memory> arguments, void* scratch_memory) const {
    arguments.emplace(DNNL_ARG_SCRATCHPAD, onednn::memory(scratch, scratch_memory));
    primitive.execute(onednn::stream(), arguments);
    onednn::stream().wait();
  }
};

LinearPlan::LinearPlan(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LinearPlan::~LinearPlan() = default;

std::shared_ptr<const LinearPlan> LinearPlan::get(const LinearParams& params, Pass pass) {
  LinearParams p = params;
  if (pass == Pass::backward_data || pass == Pass::backward_weights) p.relu = false;
  if (pass == Pass::backward_data) p.bias = false;
  static std::mutex mutex;
  static std::map<std::tuple<int64_t, int64_t, int64_t, bool, bool, Pass>,
                  std::shared_ptr<const LinearPlan>>
      plans;
  std::lock_guard lock(mutex);
  auto& plan = plans[{p.rows, p.in, p.out, p.bias, p.relu, pass}];
  if (plan) return plan;
  auto impl = std::make_unique<Impl>();
  impl->params = p;
  try {
    impl->make(pass);
  } catch (const dnnl::error& e) {
    fail("[linear] oneDNN cannot do {} rows of {} to {}: {}", p.rows, p.in, p.out, e.message);
  }
  plan.reset(new LinearPlan(std::move(impl)));
  return plan;
}

const std::string& LinearPlan::weight_format() const {
  return impl_->format;
}
const std::string& LinearPlan::implementation() const {
  return impl_->implementation;
}
size_t LinearPlan::packed_weight_bytes() const {
  return impl_->weights.get_size();
}
size_t LinearPlan::scratch_bytes() const {
  return impl_->scratch.get_size();
}
bool LinearPlan::plain_weights() const {
  return impl_->weights == impl_->weights_plain;
}

void LinearPlan::pack_weights(const float* w, void* packed) const {
  onednn::reorder(onednn::memory(impl_->weights_plain, w), onednn::memory(impl_->weights, packed));
}

void LinearPlan::forward(const float* x, const void* packed_w, const float* b, float* y,
                         void* scratch) const {
  std::unordered_map<int, memory> arguments = {
      {DNNL_ARG_SRC, onednn::memory(impl_->x, x)},
      {DNNL_ARG_WEIGHTS, onednn::memory(impl_->weights, packed_w)},
      {DNNL_ARG_DST, onednn::memory(impl_->y, y)}};
  if (impl_->params.bias) arguments.emplace(DNNL_ARG_BIAS, onednn::memory(impl_->bias, b));
  impl_->run(std::move(arguments), scratch);
}

void LinearPlan::backward_data(const float* dy, const void* w, float* dx, void* scratch) const {
  impl_->run({{DNNL_ARG_DIFF_DST, onednn::memory(impl_->y, dy)},
              {DNNL_ARG_WEIGHTS, onednn::memory(impl_->weights, w)},
              {DNNL_ARG_DIFF_SRC, onednn::memory(impl_->x, dx)}},
             scratch);
}

void LinearPlan::backward_weights(const float* x, const float* dy, float* dw, float* db,
                                  void* scratch) const {
  std::unordered_map<int, memory> arguments = {
      {DNNL_ARG_SRC, onednn::memory(impl_->x, x)},
      {DNNL_ARG_DIFF_DST, onednn::memory(impl_->y, dy)},
      {DNNL_ARG_DIFF_WEIGHTS, onednn::memory(impl_->weights, dw)}};
  if (impl_->params.bias) arguments.emplace(DNNL_ARG_DIFF_BIAS, onednn::memory(impl_->bias, db));
  impl_->run(std::move(arguments), scratch);
}

}  // namespace frcnn::kernels::cpu
