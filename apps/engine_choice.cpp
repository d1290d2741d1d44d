#include "apps/engine_choice.h"

#include "apps/program_device.h"
#include "engine/ops/gpu_layers.h"

namespace frcnn::apps {
namespace {

using kernels::Conv2dParams;
using kernels::LayerPass;

/// A parameter of the case, or its standard value; `otherwise` where the operation has none.
template <typename T>
T parameter(const ops::Operation& op, const ops::Case& given, const std::string& name,
            T otherwise) {
  const auto found = given.params.find(name);
  if (found != given.params.end()) return std::get<T>(found->second);
  const ops::ParameterDoc* const doc = op.parameter(name);
  return doc ? std::get<T>(doc->standard) : otherwise;
}

Conv2dParams conv_params(const ops::Operation& op, const ops::Case& given) {
  const ops::Extent &x = given.arrays.at("x").extent(), &w = given.arrays.at("w").extent();
  const auto integer = [&](const char* name, int64_t otherwise) {
    return static_cast<int>(parameter<int64_t>(op, given, name, otherwise));
  };
  Conv2dParams p;
  p.input = {x.at(0), x.at(1), x.at(2), x.at(3), x.at(1)};
  p.out_channels = p.out_block = w.at(0);
  p.kernel_h = static_cast<int>(w.at(2)), p.kernel_w = static_cast<int>(w.at(3));
  p.stride_h = integer("stride_h", 1), p.stride_w = integer("stride_w", 1);
  p.pad_h = integer("pad_h", 0), p.pad_w = integer("pad_w", 0);
  p.groups = integer("groups", 1);
  p.dilation_h = integer("dilation_h", 1), p.dilation_w = integer("dilation_w", 1);
  p.bias = given.arrays.contains("b");
  p.relu = parameter(op, given, "relu", false);
  return p;
}

}  // namespace

std::string engine_choice(const ops::Operation& op, const ops::Case& given,
                          const std::string& pass) {
  const Device device = program_device().device;
  if (!device.is_gpu()) return "";
  const LayerPass which = pass == "backward_data"      ? LayerPass::backward_data
                          : pass == "backward_weights" ? LayerPass::backward_weights
                                                       : LayerPass::forward_inference;
  if (op.name == "conv2d") return gpu_conv2d_kernel(device, conv_params(op, given), which);
  if (op.name != "linear") return "";
  const ops::Extent &x = given.arrays.at("x").extent(), &w = given.arrays.at("w").extent();
  return gpu_linear_kernel(
      device,
      {x.at(0), x.at(1), w.at(0), given.arrays.contains("b"), parameter(op, given, "relu", false)},
      which);
}

}  // namespace frcnn::apps
