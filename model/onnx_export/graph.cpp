#include "model/onnx_export/graph.h"

#include <fmt/format.h>

#include "kernels/boxes/nms_limit.h"

namespace frcnn::onnx_export {

Value Graph::make(DType type, const std::vector<double>& values, bool list) {
  std::string text;
  for (const double value : values) text += fmt::format("{}{}", text.empty() ? "" : ",", value);
  const Value name =
      fmt::format("{}{}{}{}", name_of(type), list ? '[' : '(', text, list ? ']' : ')');
  if (writer_.has(name)) return name;
  const Shape shape =
      list ? Shape({static_cast<int64_t>(values.size())}) : Shape(std::vector<int64_t>{});
  return writer_.constant(name, Tensor::from(shape, values).to(type));
}

Value Graph::parameter(const Parameters& parameters, const std::string& name) {
  const Parameter* found = parameters.find(name);
  check(found, "[onnx] the model has no parameter \"{}\"", name);
  if (writer_.has(name)) return name;
  return writer_.constant(name, found->tensor.to(DType::f32));
}

Value Graph::cast(const std::string& name, const Value& x, OnnxType type) {
  // Numbers of TensorProto.DataType.
  constexpr int64_t kFloat = 1, kUint8 = 2, kInt64 = 7, kDouble = 11;
  int64_t to = kFloat;
  if (type == OnnxType::f64) to = kDouble;
  if (type == OnnxType::i64) to = kInt64;
  if (type == OnnxType::u8) to = kUint8;
  return op("Cast", name, {x}, {{"to", to}});
}

Value Graph::slice(const std::string& name, const Value& x, int64_t axis, int64_t begin,
                   int64_t end) {
  return op("Slice", name, {x, i64s({begin}), i64s({end}), i64s({axis})});
}

Value Graph::best(const std::string& name, const Value& scores, std::optional<int64_t> most) {
  Value k = count(name + "/count", scores);
  if (most) k = op("Min", name + "/k", {k, i64s({*most})});
  const Value indices = scope_ + name;
  writer_.node_to({indices + "/values", indices}, "TopK", indices, {scores, k},
                  {{"axis", int64_t{0}}, {"largest", int64_t{1}}, {"sorted", int64_t{1}}});
  return indices;
}

Value Graph::ranks(const std::string& name, const Value& list) {
  const Value n = op("Squeeze", name + "/n", {count(name + "/count", list)});
  return cast(name, op("Range", name + "/falling", {n, i64(0), i64(-1)}), OnnxType::f32);
}

double float_limit(double limit) {
  return static_cast<double>(kernels::NmsLimit<float>(limit).exact);
}

}  // namespace frcnn::onnx_export
