#include "apps/ops/registry.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/ops/desk.h"
#include "kernels/launch/check.h"

namespace frcnn::apps::ops {
namespace {

std::string did_you_mean(const std::string& name, const std::vector<std::string>& candidates) {
  const std::string best = nearest_name(name, candidates);
  return best.empty() ? "" : fmt::format(": did you mean '{}'?", best);
}

std::vector<Operation> all_operations() {
  std::vector<Operation> list;
  for (const auto& add :
       {add_convolution, add_linear,     add_elementwise, add_activations, add_broadcasting,
        add_tiles,       add_reductions, add_max_pooling, add_avg_pooling, add_roi_pooling,
        add_norm,        add_random,     add_anchors,     add_codec,       add_matching,
        add_selection,   add_rows,       add_losses,      add_optim,       add_gradients,
        add_image})
    add(list);
  for (Operation& op : list)
    if (!op.types.empty())
      op.params.push_back({"type", Value(op.types.front()),
                           "numbers that it computes with; default: what the arrays hold",
                           op.types});
  return list;
}

}  // namespace

const char* device_name(Device device) {
  constexpr const char* kNames[] = {"cpu", "cuda", "emulated"};
  return kNames[static_cast<int>(device)];
}

Device device_of(const std::string& name) {
  for (const Device device : {Device::cpu, Device::cuda, Device::emulated})
    if (name == device_name(device)) return device;
  throw UsageError(fmt::format("there is no device '{}': expected cpu, cuda or emulated", name));
}

bool Operation::differentiable() const {
  return std::any_of(outputs.begin(), outputs.end(), [](const ArrayDoc& d) { return d.gradient; });
}

const ParameterDoc* Operation::parameter(const std::string& parameter_name) const {
  for (const ParameterDoc& doc : params)
    if (doc.name == parameter_name) return &doc;
  return nullptr;
}

std::vector<std::string> Operation::versions(Device device) const {
  std::vector<std::string> names;
  for (const Ladder& rungs : ladders)
    for (const Version& version : device == Device::cpu ? rungs.cpu : rungs.gpu)
      if ((device != Device::emulated || version.emulated) &&
          std::find(names.begin(), names.end(), version.name) == names.end())
        names.push_back(version.name);
  if (names.empty()) names.emplace_back();
  return names;
}

void Operation::check_version(const Choice& choice) const {
  if (choice.version.empty()) return;
  const auto names = versions(choice.device);
  if (std::find(names.begin(), names.end(), choice.version) != names.end()) return;
  if (names.front().empty())
    throw UsageError(fmt::format("[{}] has one version only on {}, found '{}'", name,
                                 device_name(choice.device), choice.version));
  throw UsageError(fmt::format("[{}] has no version '{}' on {}; there are {}", name, choice.version,
                               device_name(choice.device), fmt::join(names, ", ")));
}

const std::vector<Operation>& operations() {
  static const std::vector<Operation> list = all_operations();
  return list;
}

const Operation& operation(const std::string& name) {
  std::vector<std::string> names;
  for (const Operation& op : operations()) {
    if (op.name == name) return op;
    names.push_back(op.name);
  }
  throw UsageError(fmt::format("there is no operation '{}'{} (`frcnn op --list` lists them)", name,
                               did_you_mean(name, names)));
}

std::vector<Version> versions_of(std::span<const kernels::gpu::KernelVersion> versions) {
  std::vector<Version> list;
  for (const kernels::gpu::KernelVersion& v : versions)
    list.push_back({v.name, v.idea, v.capability, v.emulated, list.size()});
  return list;
}

void check_rois(const Desk& d, const std::string& name, int64_t images) {
  const std::vector<double> values = d.array(name).as<double>();
  for (size_t i = 0; i < values.size(); i += 5)
    check(values[i] >= 0 && values[i] < static_cast<double>(images),
          "[{}] {}: row {} names image {}, there are {}", d.op().name, name, i / 5, values[i],
          images);
}

}  // namespace frcnn::apps::ops
