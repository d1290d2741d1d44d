#include "apps/op_device.h"

#include "apps/program_device.h"
#include "kernels/launch/gpu.h"

namespace frcnn::apps {

ops::Device op_device() {
  const Device device = program_device().device;
  if (device.type == Device::Type::cpu) return ops::Device::cpu;
  if (device.type == Device::Type::emulated) return ops::Device::emulated;
#if FRCNN_HAVE_CUDA
  kernels::gpu::set_device<kernels::Backend::cuda>(device.index);
#endif
  return ops::Device::cuda;
}

}  // namespace frcnn::apps
