#pragma once

#include <cstddef>
#include <string>

namespace frcnn::kernels {

/// The passes of a layer with weights. forward_inference may want its weights in another format
/// than forward_training, because they are packed once and used often.
enum class LayerPass { forward_inference, forward_training, backward_data, backward_weights };

namespace cpu {

/// One float32 convolution or dense layer of one size and pass, prepared for this processor
/// (conv2d_plan() in kernels/conv/conv2d.h, linear_plan() in kernels/linear/linear.h). Plans are
/// cached and shared; execution is thread-safe as long as the buffers differ. `scratch` needs
/// scratch_bytes(). Only the function of the plan's own pass may be called.
class LayerPlan {
 public:
  virtual ~LayerPlan() = default;

  /// Identifies the packed weight format: plans with the same key share packed weights.
  virtual const std::string& weight_format() const = 0;
  /// The library's name of the implementation, such as "jit_wino_4x3:avx512_core".
  virtual const std::string& implementation() const = 0;
  virtual size_t packed_weight_bytes() const = 0;
  virtual size_t scratch_bytes() const = 0;
  /// True when packed weights are the plain array, so that packing can be left out.
  virtual bool plain_weights() const = 0;

  /// Plain weights, (O, C, kh, kw) or (out, in), to the format of this plan.
  virtual void pack_weights(const float* w, void* packed) const = 0;
  /// b may be nullptr when the layer has no bias.
  virtual void forward(const float* x, const void* packed_w, const float* b, float* y,
                       void* scratch) const = 0;
  virtual void backward_data(const float* dy, const void* packed_w, float* dx,
                             void* scratch) const = 0;
  /// dw in plain order, db (O) or nullptr when the layer has no bias. `packed` is room for
  /// packed_weight_bytes(), unused when plain_weights().
  virtual void backward_weights(const float* x, const float* dy, float* dw, float* db, void* packed,
                                void* scratch) const = 0;
};

}  // namespace cpu
}  // namespace frcnn::kernels
