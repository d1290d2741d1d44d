#pragma once

#include "engine/device.h"

namespace frcnn {

/// Runs each kind of kernel once on a GPU and on the CPU and compares, in well under a second.
/// Throws Error that names the first operation whose results differ: a build for other
/// architectures, a broken driver or a broken device must not train in silence. choose_device()
/// calls it for GPUs.
void gpu_self_test(Device device);

}  // namespace frcnn
