#pragma once

#include <string>
#include <unordered_map>

#include "kernels/launch/layer_plan.h"
#include "kernels/launch/onednn.h"

namespace frcnn::kernels::onednn {

/// Memory descriptors of a layer with weights; `b` is empty without a bias.
struct LayerDescs {
  dnnl::memory::desc x, w_plain, w_any, b, y;
};

/// A LayerPlan by a oneDNN primitive.
class Plan final : public cpu::LayerPlan {
 public:
  /// `desc` is the primitive's descriptor, `weights` what it says of the (gradient of the) weights.
  template <typename Primitive, typename PrimitiveDesc>
  static std::shared_ptr<const Plan> make(const LayerDescs& descs, const PrimitiveDesc& desc,
                                          const dnnl::memory::desc& weights) {
    auto plan = std::make_shared<Plan>();
    plan->descs_ = descs;
    plan->weights_ = weights;
    plan->scratch_ = desc.scratchpad_desc();
    plan->implementation_ = desc.impl_info_str();
    plan->format_ = format_key(weights);
    plan->primitive_ = Primitive(desc);
    return plan;
  }

  const std::string& weight_format() const override { return format_; }
  const std::string& implementation() const override { return implementation_; }
  size_t packed_weight_bytes() const override { return weights_.get_size(); }
  size_t scratch_bytes() const override { return scratch_.get_size(); }
  bool plain_weights() const override { return weights_ == descs_.w_plain; }

  void pack_weights(const float* w, void* packed) const override;
  void forward(const float* x, const void* packed_w, const float* b, float* y,
               void* scratch) const override;
  void backward_data(const float* dy, const void* packed_w, float* dx,
                     void* scratch) const override;
  void backward_weights(const float* x, const float* dy, float* dw, float* db, void* packed,
                        void* scratch) const override;

 private:
  void run(std::unordered_map<int, dnnl::memory> arguments, void* scratch) const;
  LayerDescs descs_;
  dnnl::memory::desc weights_, scratch_;
  dnnl::primitive primitive_;
  std::string format_, implementation_;
};

}  // namespace frcnn::kernels::onednn
