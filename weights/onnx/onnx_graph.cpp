#include "weights/onnx/onnx_graph.h"

#include <onnx/onnx_pb.h>

#include <set>

#include "kernels/launch/check.h"
#include "weights/onnx/onnx_proto.h"

namespace frcnn {
namespace {

namespace fs = std::filesystem;
using Kind = OnnxAttribute::Kind;

const OnnxAttribute* find(const OnnxNode& node, const std::string& key, Kind kind) {
  const auto at = node.attributes.find(key);
  if (at == node.attributes.end()) return nullptr;
  check(at->second.kind == kind, "node '{}' ({}): the attribute {} is of an unexpected type",
        node.name, node.op_type, key);
  return &at->second;
}

OnnxAttribute read_attribute(const onnx::AttributeProto& proto, const fs::path& file,
                             bool external) {
  OnnxAttribute out;
  switch (proto.type()) {
    case onnx::AttributeProto::FLOAT:
      out.kind = Kind::number;
      out.number = static_cast<double>(proto.f());
      break;
    case onnx::AttributeProto::INT:
      out.kind = Kind::integer;
      out.integer = proto.i();
      break;
    case onnx::AttributeProto::STRING:
      out.kind = Kind::text;
      out.text = proto.s();
      break;
    case onnx::AttributeProto::TENSOR:
      out.kind = Kind::tensor;
      out.tensor = onnx_proto::Array(proto.t(), file, external).tensor();
      break;
    case onnx::AttributeProto::FLOATS:
      out.kind = Kind::numbers;
      out.numbers.assign(proto.floats().begin(), proto.floats().end());
      break;
    case onnx::AttributeProto::INTS:
      out.kind = Kind::integers;
      out.integers.assign(proto.ints().begin(), proto.ints().end());
      break;
    default:
      break;
  }
  return out;
}

OnnxNode read_node(const onnx::NodeProto& proto, const fs::path& file, bool external) {
  OnnxNode node;
  node.op_type = proto.op_type();
  node.domain = proto.domain() == "ai.onnx" ? "" : proto.domain();
  node.name = proto.name();
  node.inputs.assign(proto.input().begin(), proto.input().end());
  node.outputs.assign(proto.output().begin(), proto.output().end());
  for (const auto& attribute : proto.attribute())
    check(
        node.attributes.emplace(attribute.name(), read_attribute(attribute, file, external)).second,
        "{}: node '{}' has the attribute {} twice", file.string(), node.name, attribute.name());
  return node;
}

std::vector<int64_t> dims_of(const onnx::ValueInfoProto& value) {
  std::vector<int64_t> dims;
  if (!value.has_type() || !value.type().has_tensor_type()) return dims;
  for (const auto& dim : value.type().tensor_type().shape().dim())
    dims.push_back(dim.has_dim_value() && dim.dim_value() > 0 ? dim.dim_value() : -1);
  return dims;
}

int64_t opset_of(const onnx::ModelProto& model, const std::string& name) {
  for (const auto& opset : model.opset_import())
    if (opset.domain().empty() || opset.domain() == "ai.onnx") return opset.version();
  fail("{}: does not tell the version of its operators (opset_import)", name);
}

OnnxGraph convert(onnx_proto::Model model, const fs::path& file, bool external) {
  const std::string name = file.string();
  OnnxGraph out;
  out.file = file;
  out.producer = model->producer_name();
  if (!model->producer_version().empty()) out.producer += " " + model->producer_version();
  out.opset = opset_of(*model, name);
  onnx::GraphProto& graph = *model->mutable_graph();
  check(graph.node_size() <= kMostOnnxNodes, "{}: has {} nodes, at most {} are supported", name,
        graph.node_size(), kMostOnnxNodes);
  check(graph.sparse_initializer_size() == 0,
        "{}: has sparse weights, which are not supported; export dense ones", name);
  for (onnx::TensorProto& array : *graph.mutable_initializer()) {
    check(!array.name().empty(), "{}: has an array without a name", name);
    check(!out.initialisers.contains(array.name()), "{}: array \"{}\" is there twice", name,
          array.name());
    out.initialisers[array.name()] = onnx_proto::Array(array, file, external).tensor();
    array.Clear();  // not twice in memory
  }
  for (const auto& node : graph.node()) out.nodes.push_back(read_node(node, file, external));
  for (const auto& value : graph.input())
    if (!out.initialisers.contains(value.name()))
      out.inputs.push_back({value.name(), dims_of(value)});
  for (const auto& value : graph.output()) out.outputs.push_back({value.name(), dims_of(value)});
  return out;
}

}  // namespace

int64_t OnnxNode::integer(const std::string& key, int64_t otherwise) const {
  const OnnxAttribute* found = find(*this, key, Kind::integer);
  return found ? found->integer : otherwise;
}
double OnnxNode::number(const std::string& key, double otherwise) const {
  const OnnxAttribute* found = find(*this, key, Kind::number);
  return found ? found->number : otherwise;
}
std::string OnnxNode::text(const std::string& key, const std::string& otherwise) const {
  const OnnxAttribute* found = find(*this, key, Kind::text);
  return found ? found->text : otherwise;
}
std::vector<int64_t> OnnxNode::integers(const std::string& key) const {
  const OnnxAttribute* found = find(*this, key, Kind::integers);
  return found ? found->integers : std::vector<int64_t>{};
}

OnnxGraph read_onnx(const fs::path& file) {
  return convert(onnx_proto::read_model(file), file, /*external=*/true);
}

OnnxGraph parse_onnx(std::string_view bytes, const std::string& name) {
  return convert(onnx_proto::parse_model(bytes, name), name, /*external=*/false);
}

}  // namespace frcnn
