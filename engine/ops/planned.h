#pragma once

#include "engine/packed_weights.h"
#include "engine/tape.h"
#include "engine/tensor.h"
#include "kernels/launch/layer_plan.h"

namespace frcnn {

// What the float32 paths of layers with weights share: scratch memory, packed weights, the call.

void planned_forward(const kernels::cpu::LayerPlan& plan, const Tensor& x, const Tensor& weight,
                     const Tensor& bias, Tensor& y, PackedWeights* cache);
void planned_backward_data(const kernels::cpu::LayerPlan& plan, const Tensor& dy,
                           const Tensor& weight, Tensor& dx, PackedWeights* cache);
void planned_backward_weights(const kernels::cpu::LayerPlan& plan, const Tensor& x,
                              const Tensor& dy, Tensor& dw, Tensor* db);

/// Throws Error unless x and weight are of one floating-point type and the bias, when there is one,
/// has one entry per output.
void check_layer(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias);

/// Calls body(dw, db or nullptr) with the gradient buffers of inputs 1 (weight) and 2 (bias), where
/// wanted.
void with_weight_gradients(BackwardContext& ctx, bool bias,
                           const std::function<void(Tensor& dw, Tensor* db)>& body);

}  // namespace frcnn
