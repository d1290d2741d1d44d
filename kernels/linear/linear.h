#pragma once

#include <cstdint>
#include <memory>

#include "kernels/launch/layer_plan.h"

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

/// The float32 plan of this size and pass, by oneDNN; see conv2d_plan(). Training passes take the
/// weights as they are; forward_inference may want them packed.
std::shared_ptr<const LayerPlan> linear_plan(const LinearParams& params, LayerPass pass);

}  // namespace cpu
}  // namespace frcnn::kernels
