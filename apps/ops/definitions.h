#pragma once

#include <algorithm>

#include "apps/ops/dispatch.h"
#include "apps/ops/random_case.h"

/// What the definitions of operations (apps/ops/<family>.cpp) share.
namespace frcnn::apps::ops {

using kernels::Backend;
using kernels::Bfloat16;
using kernels::MapLayout;

inline Operation describe(std::string name, std::string family, std::string text,
                          std::string header, std::vector<std::string> functions) {
  Operation op;
  op.name = std::move(name);
  op.family = std::move(family);
  op.text = std::move(text);
  op.header = std::move(header);
  op.functions = std::move(functions);
  return op;
}

inline ArrayDoc array_doc(std::string name, Type type, std::string extent, std::string text) {
  ArrayDoc doc;
  doc.name = std::move(name);
  doc.type = type;
  doc.extent = std::move(extent);
  doc.text = std::move(text);
  return doc;
}
inline ArrayDoc optional(ArrayDoc doc) {
  doc.optional = true;
  return doc;
}
inline ArrayDoc with_gradient(ArrayDoc doc) {
  doc.gradient = true;
  return doc;
}

inline ParameterDoc integer(std::string name, int64_t standard, std::string text) {
  return {std::move(name), Value(standard), std::move(text), {}};
}
inline ParameterDoc number(std::string name, double standard, std::string text) {
  return {std::move(name), Value(standard), std::move(text), {}};
}
inline ParameterDoc flag(std::string name, bool standard, std::string text) {
  return {std::move(name), Value(standard), std::move(text), {}};
}
inline ParameterDoc word(std::string name, const std::string& standard, std::string text,
                         std::vector<std::string> choices) {
  return {std::move(name), Value(standard), std::move(text), std::move(choices)};
}
inline ParameterDoc numbers(std::string name, std::vector<double> standard, std::string text) {
  return {std::move(name), Value(std::move(standard)), std::move(text), {}};
}

inline const std::vector<std::string>& layout_names() {
  static const std::vector<std::string> names = {"nchw", "nhwc", "blocked8", "blocked16"};
  return names;
}
/// In files maps are always (N, C, H, W); this says how they lie in device memory.
inline ParameterDoc layout_parameter() {
  return word("layout", "nchw", "of maps in device memory", layout_names());
}

inline Ladder ladder(std::string array, std::span<const kernels::gpu::KernelVersion> versions,
                     std::string standard, std::string text = "") {
  Ladder rungs;
  rungs.text = std::move(text);
  rungs.array = std::move(array);
  rungs.gpu = versions_of(versions);
  rungs.gpu_standard = std::move(standard);
  return rungs;
}

/// Names and ideas as the CPU's versions of a ladder.
inline std::vector<Version> cpu_versions(
    const std::vector<std::pair<std::string, std::string>>& versions) {
  std::vector<Version> list;
  for (const auto& [name, idea] : versions) list.push_back({name, idea, 0, true, list.size()});
  return list;
}

/// A choice of words as the enum whose values have their order.
template <typename E>
E enum_of(const Desk& d, const std::string& parameter) {
  const auto& choices = d.op().parameter(parameter)->choices;
  const auto found = std::find(choices.begin(), choices.end(), d.text(parameter));
  return static_cast<E>(found - choices.begin());
}

inline Tolerance within(double relative, double absolute, std::string reason) {
  return {relative, absolute, std::move(reason)};
}

/// A tolerance by the type of the run: `units` roundings of float (float64: of double).
inline std::function<Tolerance(const std::string&, const std::string&)> rounding(
    double units, const std::string& reason, double absolute_units = 0) {
  return [=](const std::string&, const std::string& type) {
    const double epsilon = type == "f64" ? 0x1.0p-53 : 0x1.0p-24;
    return within(units * epsilon, absolute_units * epsilon, reason);
  };
}

/// What the passes of a layer y = x w + b read and write.
inline std::vector<std::string> product_traffic(const std::string& pass) {
  if (pass == "backward_data") return {"d_y", "w", "d_x"};
  if (pass == "backward_weights") return {"x", "d_y", "d_w", "d_b"};
  if (pass == "mask") return {"y", "d_y"};
  if (pass == "forward") return {"x", "w", "b", "y"};
  return {"w"};
}

/// Throws Error when an image number of a (R, 5) array of RoIs is none of `images`.
void check_rois(const Desk& d, const std::string& name, int64_t images);

}  // namespace frcnn::apps::ops
