#include "model/graph/translate.h"

#include <algorithm>

#include "kernels/launch/check.h"
#include "model/graph/constant_folding.h"

namespace frcnn {
namespace {

using Kind = TranslatedValue::Kind;

const std::vector<int64_t> kChannelsLast = {0, 2, 3, 1};  // (N, H, W, C) in terms of (N, C, H, W)

}  // namespace

Translation::Translation(const OnnxGraph& graph) : graph_(graph) {
  network_.source = graph.file.filename().string();
  for (const auto& [name, values] : graph.initialisers)
    where_[name] = {Kind::constant, values, 0, {}};
  take_input();
  for (size_t i = 0; i < graph.nodes.size(); ++i) translate(i);
  count_uses();
}

void Translation::take_input() {
  const std::string file = graph_.file.string();
  check(graph_.inputs.size() == 1, "{}: takes {} inputs, expected one: the pictures", file,
        graph_.inputs.size());
  const OnnxValue& input = graph_.inputs[0];
  check(input.dims.size() == 4, "{}: the input '{}' has {} dimensions, expected (N, C, H, W)", file,
        input.name, input.dims.size());
  TranslatedValue image{Kind::network, {}, 0, {}};
  int64_t channels = input.dims[1];
  if (channels != 3 && input.dims[3] > 0 && input.dims[3] <= 4) {  // TensorFlow's order
    image.order = kChannelsLast;
    channels = input.dims[3];
  }
  network_.in_channels = channels > 0 ? channels : 3;
  where_[input.name] = image;
  known_.resize(1);
  known_[0].channels = network_.in_channels;
  made_by_ = {-1};
}

TranslatedValue Translation::value(const std::string& name) const {
  const auto found = where_.find(name);
  return found == where_.end() ? TranslatedValue{} : found->second;
}

void Translation::translate(size_t position) {
  const OnnxNode& node = graph_.nodes[position];
  const std::string file = graph_.file.string();
  bool all_constant = true, blocked = false;
  std::vector<Tensor> constants;
  for (const std::string& name : node.inputs) {
    const TranslatedValue in = value(name);
    check(name.empty() || in.kind != Kind::missing,
          "{}: node {} '{}' ({}) uses '{}', which no earlier node makes", file, position, node.name,
          node.op_type, name);
    const bool only_type = node.op_type == "CastLike" && !constants.empty() &&
                           in.kind == Kind::network;  // maps are floating-point numbers
    all_constant &= name.empty() || in.kind == Kind::constant || only_type;
    blocked |= in.kind == Kind::unsupported;
    constants.push_back(only_type ? Tensor::zeros({}) : in.constant);
  }
  for (const std::string& name : node.outputs)
    check(name.empty() || value(name).kind == Kind::missing, "{}: the value '{}' is made twice",
          file, name);

  TranslatedValue out;
  const auto refuse = [&](const std::string& reason) {
    unsupported_.push_back({position, node.name, node.op_type, reason});
    out.kind = Kind::unsupported;
  };
  const bool known_op = node.domain.empty() && NodeTranslator::knows(node.op_type);
  if (const auto folded = all_constant ? fold_constant(node, constants) : std::nullopt) {
    out = {Kind::constant, *folded, 0, {}};
  } else if (!known_op) {
    refuse(node.domain.empty() ? folds(node.op_type) ? "can only be done with constants of the file"
                                                     : "this operation is not known"
                               : fmt::format("an operation of \"{}\"", node.domain));
  } else if (blocked) {
    out.kind = Kind::unsupported;  // only because of an earlier node, which is listed
  } else {
    try {
      out = NodeTranslator(*this, node, position).run();
    } catch (const Unsupported& unsupported) {
      refuse(unsupported.reason);
    } catch (const Error& error) {
      refuse(error.what());
    }
  }
  for (size_t i = 0; i < node.outputs.size(); ++i)
    if (!node.outputs[i].empty())
      where_[node.outputs[i]] = i == 0 ? out : TranslatedValue{Kind::unsupported, {}, 0, {}};
}

void Translation::count_uses() {
  last_use_ = made_by_;
  const auto used = [&](const std::string& name, int position) {
    const TranslatedValue found = value(name);
    if (found.kind != Kind::network) return;
    int& last = last_use_[static_cast<size_t>(found.index)];
    last = std::max(last, position);
  };
  for (size_t i = 0; i < graph_.nodes.size(); ++i)
    for (const std::string& name : graph_.nodes[i].inputs) used(name, static_cast<int>(i));
  for (const OnnxValue& output : graph_.outputs)
    used(output.name, static_cast<int>(graph_.nodes.size()));
}

std::string UnsupportedNode::string() const {
  return fmt::format("node {} '{}' ({}): {}", index, name, op, reason);
}

// --- what all nodes share ---

TranslatedValue NodeTranslator::run() {
  return (this->*methods().at(node_.op_type))();
}

bool NodeTranslator::knows(const std::string& op_type) {
  return methods().contains(op_type);
}

const std::map<std::string, NodeTranslator::Method>& NodeTranslator::methods() {
  using N = NodeTranslator;
  static const std::map<std::string, Method> all = {{"Conv", &N::conv},
                                                    {"BatchNormalization", &N::batch_norm},
                                                    {"Relu", &N::relu},
                                                    {"LeakyRelu", &N::leaky_relu},
                                                    {"Clip", &N::clip},
                                                    {"Sigmoid", &N::sigmoid},
                                                    {"MaxPool", &N::max_pool},
                                                    {"AveragePool", &N::average_pool},
                                                    {"GlobalAveragePool", &N::global_average},
                                                    {"ReduceMean", &N::reduce_mean},
                                                    {"Add", &N::add},
                                                    {"Sub", &N::subtract},
                                                    {"Mul", &N::multiply},
                                                    {"Div", &N::divide},
                                                    {"Concat", &N::concatenate},
                                                    {"Pad", &N::pad},
                                                    {"LRN", &N::local_response},
                                                    {"Gemm", &N::gemm},
                                                    {"MatMul", &N::mat_mul},
                                                    {"Flatten", &N::flatten},
                                                    {"Reshape", &N::reshape},
                                                    {"Transpose", &N::transpose},
                                                    {"Dropout", &N::same},
                                                    {"Identity", &N::same}};
  return all;
}

bool NodeTranslator::has_input(size_t i) const {
  return i < node_.inputs.size() && !node_.inputs[i].empty();
}

bool NodeTranslator::is_constant(size_t i) const {
  return has_input(i) && t_.value(node_.inputs[i]).kind == Kind::constant;
}

const Tensor& NodeTranslator::constant(size_t i, const char* what) const {
  need(is_constant(i), "{} must be a constant of the file", what);
  return t_.where_.at(node_.inputs[i]).constant;
}

int NodeTranslator::map_input(size_t i) const {
  need(has_input(i), "lacks its input {}", i);
  const TranslatedValue in = t_.value(node_.inputs[i]);
  need(in.kind == Kind::network, "its input {} is a constant, expected a map", i);
  need(in.order.empty(), "its input {} is transposed, and not back again", i);
  return in.index;
}

const NetworkValue& NodeTranslator::known(size_t i) const {
  return t_.known_[static_cast<size_t>(map_input(i))];
}

NetworkNode NodeTranslator::start(NetworkOp op, size_t input) {
  NetworkNode node;
  node.op = op;
  node.inputs = {map_input(input)};
  node.name = network_name(node_.name);
  if (node.name.empty()) node.name = fmt::format("{}_{}", node_.op_type, position_);
  return node;
}

TranslatedValue NodeTranslator::finish(NetworkNode node) {
  const std::string wanted = node.name;
  for (int i = 1; t_.names_.contains(node.name); ++i) node.name = fmt::format("{}_{}", wanted, i);
  // Parameters were kept under the name that was wanted.
  TensorMap renamed;
  for (auto& [part, values] : kept_) renamed[node.name + "." + part] = values;
  const NetworkValue value = check_node(node, t_.known_);
  t_.names_[node.name] = 1;
  t_.values_.merge(renamed);
  t_.network_.nodes.push_back(std::move(node));
  t_.known_.push_back(value);
  t_.made_by_.push_back(static_cast<int>(position_));
  kept_.clear();
  return {Kind::network, {}, static_cast<int>(t_.network_.nodes.size()), {}};
}

void NodeTranslator::keep(const char* part, const Tensor& values) {
  need(values.dtype() == DType::f32, "its {} are whole numbers, expected fractions", part);
  kept_[part] = values;
}

}  // namespace frcnn
