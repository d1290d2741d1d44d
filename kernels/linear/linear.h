#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace frcnn::kernels {

/// Dense layer: y[r, o] = b[o] + sum_i x[r, i] * w[o, i], followed by max(0, y) when `relu`.
struct LinearParams {
  int64_t rows = 0, in = 0, out = 0;
  bool bias = true;
  bool relu = false;  ///< fused into the forward pass
  bool operator==(const LinearParams&) const = default;
};

namespace cpu {

/// Plain loops with double accumulation: reference and float64 path. Arrays must not overlap.
template <typename T>
void linear_forward_reference(const LinearParams& p,
                              const T* x,  // (rows, in)
                              const T* w,  // (out, in)
                              const T* b,  // (out) or nullptr
                              T* y);       // (rows, out)
/// dx (rows, in), overwritten; the ReLU is not included (mask dy first).
template <typename T>
void linear_backward_data_reference(const LinearParams& p, const T* dy, const T* w, T* dx);
/// dw (out, in) and db (out) or nullptr, overwritten.
template <typename T>
void linear_backward_weights_reference(const LinearParams& p, const T* x, const T* dy, T* dw,
                                       T* db);

/// One float32 dense layer of one size, prepared by oneDNN; see Conv2dPlan for the rules of use.
/// Training passes take the weights as they are; forward_inference may want them packed.
class LinearPlan {
 public:
  enum class Pass { forward_inference, forward_training, backward_data, backward_weights };
  static std::shared_ptr<const LinearPlan> get(const LinearParams& params, Pass pass);
  ~LinearPlan();

  const std::string& weight_format() const;
  const std::string& implementation() const;
  size_t packed_weight_bytes() const;
  size_t scratch_bytes() const;
  bool plain_weights() const;

  void pack_weights(const float* w, void* packed) const;
  void forward(const float* x, const void* packed_w, const float* b, float* y, void* scratch) const;
  void backward_data(const float* dy, const void* w, float* dx, void* scratch) const;
  void backward_weights(const float* x, const float* dy, float* dw, float* db, void* scratch) const;

 private:
  struct Impl;
  explicit LinearPlan(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cpu
}  // namespace frcnn::kernels
