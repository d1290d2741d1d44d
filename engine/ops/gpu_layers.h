#pragma once

#include "engine/packed_weights.h"
#include "engine/tensor.h"
#include "kernels/conv/conv2d.h"
#include "kernels/linear/linear.h"

namespace frcnn {

// The passes of layers with weights on a GPU: the kernel version by gpu_math() and shape, packed
// weights, workspace, the call. Arguments as in kernels/conv/conv2d_gpu.h and kernels/linear.

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

}  // namespace frcnn
