// Float32 dense layers by oneDNN's inner product.
#include <map>
#include <mutex>
#include <tuple>

#include "kernels/launch/onednn_plan.h"
#include "kernels/linear/linear.h"

namespace frcnn::kernels::cpu {
namespace {

using dnnl::memory;
using tag = memory::format_tag;
using Pass = LayerPass;

struct Descs : onednn::LayerDescs {
  explicit Descs(const LinearParams& p) {
    x = memory::desc({p.rows, p.in}, onednn::f32(), tag::nc);
    w_plain = memory::desc({p.out, p.in}, onednn::f32(), tag::oi);
    w_any = memory::desc({p.out, p.in}, onednn::f32(), tag::any);
    if (p.bias) b = memory::desc({p.out}, onednn::f32(), tag::x);
    y = memory::desc({p.rows, p.out}, onednn::f32(), tag::nc);
  }
};

dnnl::inner_product_forward::primitive_desc forward_desc(const LinearParams& p,
                                                         dnnl::prop_kind kind,
                                                         const dnnl::primitive_attr& attr) {
  const Descs d(p);
  const auto& w = kind == dnnl::prop_kind::forward_inference ? d.w_any : d.w_plain;
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
  return {onednn::engine(), d.x, d.w_plain, d.y, hint, attr};
#else
  return {{d.x, d.w_plain, d.y}, attr, onednn::engine(), hint};
#endif
}

dnnl::inner_product_backward_weights::primitive_desc backward_weights_desc(const LinearParams& p) {
  const Descs d(p);
  const auto hint = forward_desc(p, dnnl::prop_kind::forward_training, dnnl::primitive_attr());
  const auto attr = onednn::attributes(false);
#if DNNL_VERSION_MAJOR >= 3
  return {onednn::engine(), d.x, d.w_plain, d.b, d.y, hint, attr};
#else
  if (p.bias) return {{d.x, d.w_plain, d.b, d.y}, attr, onednn::engine(), hint};
  return {{d.x, d.w_plain, d.y}, attr, onednn::engine(), hint};
#endif
}

std::shared_ptr<const LayerPlan> make_plan(const LinearParams& p, Pass pass) {
  const Descs d(p);
  if (pass == Pass::backward_data) {
    const auto desc = backward_data_desc(p);
    return onednn::Plan::make<dnnl::inner_product_backward_data>(d, desc, desc.weights_desc());
  }
  if (pass == Pass::backward_weights) {
    const auto desc = backward_weights_desc(p);
    return onednn::Plan::make<dnnl::inner_product_backward_weights>(d, desc,
                                                                    desc.diff_weights_desc());
  }
  const auto kind = pass == Pass::forward_inference ? dnnl::prop_kind::forward_inference
                                                    : dnnl::prop_kind::forward_training;
  const auto desc = forward_desc(p, kind, onednn::attributes(p.relu));
  return onednn::Plan::make<dnnl::inner_product_forward>(d, desc, desc.weights_desc());
}

}  // namespace

std::shared_ptr<const LayerPlan> linear_plan(const LinearParams& params, LayerPass pass) {
  LinearParams p = params;
  if (pass == Pass::backward_data || pass == Pass::backward_weights) p.relu = false;
  if (pass == Pass::backward_data) p.bias = false;
  static std::mutex mutex;
  static std::map<std::tuple<int64_t, int64_t, int64_t, bool, bool, Pass>,
                  std::shared_ptr<const LayerPlan>>
      plans;
  std::lock_guard lock(mutex);
  auto& plan = plans[{p.rows, p.in, p.out, p.bias, p.relu, pass}];
  if (plan) return plan;
  try {
    return plan = make_plan(p, pass);
  } catch (const dnnl::error& e) {
    fail("[linear] oneDNN cannot do {} rows of {} to {}: {}", p.rows, p.in, p.out, e.message);
  }
}

}  // namespace frcnn::kernels::cpu
