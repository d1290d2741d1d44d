#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/ops/conv2d.h"
#include "engine/ops/norm.h"
#include "engine/tensor.h"
#include "kernels/pooling/max_pool.h"
#include "kernels/quant/reduced_layer.h"

namespace frcnn {

/// The 8-bit form of a layer's weights with the scale of its input (docs/quantization.md): weight
/// [o, ...] = scales[o] * values[o, ...], input = input_scale * integer.
struct Int8Weights {
  Tensor values;              ///< i8, the shape of the weight
  Tensor scales;              ///< f32 (outputs)
  float input_scale = 1;      ///< above 0
  bool input_signed = false;  ///< integers are i8; otherwise u8: the input has no negative values
};

/// What one convolution or dense layer does instead of float32 in inference on the CPU: nothing
/// (the default), 8-bit integers or bfloat16. Its weights must not change once it is active.
/// Thread-safe where it is const.
class ReducedLayer {
 public:
  /// Throws Error when the parts do not fit each other.
  void use_int8(Int8Weights weights);
  /// Throws Error on a processor without bfloat16 arithmetic.
  void use_bf16();
  bool active() const { return active_; }
  /// nullptr unless use_int8() was called.
  const Int8Weights* int8() const { return int8_ ? &*int8_ : nullptr; }
  /// What an active layer reads: u8, i8 or bf16.
  kernels::LayerNumber input_number() const { return input_; }

  /// Calls `watch` with every input of the layer from now on, to find its range; an empty function
  /// ends it.
  void watch(std::function<void(const Tensor& x)> watch) { watch_ = std::move(watch); }
  void see(const Tensor& x) const {
    if (watch_) watch_(x);
  }

  /// The layer with the batch norm behind it (or nullptr), which joins the layer's scales and
  /// offsets. x is a float32 map of any layout, which is rounded to input_number(), or such a map
  /// (NHWC) already. The result is a map (NHWC) for the layer `next`, or float32 without one.
  Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                const Conv2dOptions& options, const NormLayer* norm = nullptr,
                const ReducedLayer* next = nullptr) const;
  /// The same on rows (R, in).
  Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, bool relu,
                const ReducedLayer* next = nullptr) const;

 private:
  struct Prepared {
    std::shared_ptr<const kernels::cpu::ReducedPlan> plan;
    Tensor packed;
  };
  using Key = std::vector<int64_t>;
  Tensor quantized(const Tensor& x) const;
  kernels::LayerNumbers numbers_for(const ReducedLayer* next) const;
  template <typename MakePlan>
  Prepared prepare(const Key& key, const Tensor& weight, const Tensor& bias, const NormLayer* norm,
                   const ReducedLayer* next, const MakePlan& make_plan) const;
  Tensor packed_for(const kernels::cpu::ReducedPlan& plan, const Tensor& weight,
                    const std::vector<float>& norm_scale) const;
  Tensor run(const Prepared& prepared, const Tensor& x, Tensor y) const;

  bool active_ = false;
  kernels::LayerNumber input_ = kernels::LayerNumber::bf16;
  std::optional<Int8Weights> int8_;
  std::function<void(const Tensor&)> watch_;
  mutable std::mutex mutex_;
  mutable std::map<Key, Prepared> prepared_;      // by sizes and result
  mutable std::map<std::string, Tensor> packed_;  // by format
};

/// Max pooling of the map of an active layer (kernels/quant/quantize.h).
Tensor max_pool_numbers(const Tensor& x, const kernels::MaxPoolParams& params);

}  // namespace frcnn
