#pragma once

#include <string>

#include "engine/packed_weights.h"
#include "engine/tensor.h"
#include "kernels/conv/conv2d.h"
#include "kernels/linear/linear.h"

namespace frcnn {

// The passes of layers with weights on a GPU: the kernel by gpu_math(), shape and what was measured
// (engine/tuning.h), packed weights, workspace, the call. Arguments as in kernels/conv/conv2d_gpu.h
// and kernels/linear.

void gpu_conv2d_forward(const kernels::Conv2dParams& p, const Tensor& x, const Tensor& w,
                        const Tensor& b, Tensor& y, PackedWeights* cache);
void gpu_conv2d_backward_data(const kernels::Conv2dParams& p, const Tensor& dy, const Tensor& w,
                              Tensor& dx, PackedWeights* cache);
/// db may be nullptr.
void gpu_conv2d_backward_weights(const kernels::Conv2dParams& p, const Tensor& x, const Tensor& dy,
                                 Tensor& dw, Tensor* db);

void gpu_linear_forward(const kernels::LinearParams& p, const Tensor& x, const Tensor& w,
                        const Tensor& b, Tensor& y);
void gpu_linear_backward_data(const kernels::LinearParams& p, const Tensor& dy, const Tensor& w,
                              Tensor& dx);
void gpu_linear_backward_weights(const kernels::LinearParams& p, const Tensor& x, const Tensor& dy,
                                 Tensor& dw, Tensor* db);

/// Name of the kernel that a pass of float32 maps or matrices would take now; measures nothing.
std::string gpu_conv2d_kernel(Device device, const kernels::Conv2dParams& p,
                              kernels::LayerPass pass);
std::string gpu_linear_kernel(Device device, const kernels::LinearParams& p,
                              kernels::LayerPass pass);

}  // namespace frcnn
