#pragma once

#include "engine/device.h"

namespace frcnn {

/// Runs each kind of kernel once on a GPU and on the CPU and compares, in well under a second.
/// Throws Error that names the first operation whose results differ: a build for other
/// architectures, a broken driver or a broken device must not train in silence. choose_device()
/// calls it for GPUs. It is done with float32 factors and the kernels of the fixed rules; where
/// gpu_math() is another, convolution and dense layers are compared with that, too. Numbers may
/// differ by `tolerance` * (1 + their magnitude).
void gpu_self_test(Device device, double tolerance = 1e-4);

}  // namespace frcnn
