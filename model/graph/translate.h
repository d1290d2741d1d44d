#pragma once

#include <fmt/core.h>

#include <map>
#include <string>
#include <vector>

#include "model/graph/import_onnx.h"

namespace frcnn {

/// Where a value of the ONNX graph is found.
struct TranslatedValue {
  enum class Kind : uint8_t { missing, constant, network, unsupported };
  Kind kind = Kind::missing;
  Tensor constant;
  int index = 0;  ///< network: as NetworkNode::inputs
  /// network: dimension i of the ONNX value is dimension order[i] of ours; empty: the same order.
  std::vector<int64_t> order;
};

/// A whole ONNX graph node by node, as far as it is supported, without merging anything.
class Translation {
 public:
  explicit Translation(const OnnxGraph& graph);

  const OnnxGraph& graph() const { return graph_; }
  const Network& network() const { return network_; }
  TensorMap& values() { return values_; }
  const std::vector<NetworkValue>& known() const { return known_; }
  const std::vector<UnsupportedNode>& unsupported() const { return unsupported_; }
  /// By value of the network: position of the node that made it in the file (-1: the image), and of
  /// the last that uses it (number of nodes: the graph's own outputs).
  const std::vector<int>& made_by() const { return made_by_; }
  const std::vector<int>& last_use() const { return last_use_; }
  /// The value of an output tensor, kind missing when there is none of that name.
  TranslatedValue value(const std::string& name) const;

 private:
  friend class NodeTranslator;
  void take_input();
  void translate(size_t position);
  void count_uses();

  const OnnxGraph& graph_;
  Network network_;
  TensorMap values_;
  std::vector<NetworkValue> known_;
  std::vector<UnsupportedNode> unsupported_;
  std::vector<int> made_by_, last_use_;
  std::map<std::string, TranslatedValue> where_;
  std::map<std::string, int> names_;  // of network nodes
};

/// Thrown inside the translation: a node is not supported, for this reason.
struct Unsupported {
  std::string reason;
};

/// One node: its inputs as the network has them, and the step that it becomes.
class NodeTranslator {
 public:
  NodeTranslator(Translation& translation, const OnnxNode& node, size_t position)
      : t_(translation), node_(node), position_(position) {}

  static bool knows(const std::string& op_type);
  /// The value of output 0. Throws Unsupported.
  TranslatedValue run();

 private:
  using Method = TranslatedValue (NodeTranslator::*)();
  static const std::map<std::string, Method>& methods();

  // translate_layers.cpp
  TranslatedValue conv();
  TranslatedValue batch_norm();
  TranslatedValue max_pool();
  TranslatedValue average_pool();
  TranslatedValue gemm();
  TranslatedValue mat_mul();
  TranslatedValue local_response();
  TranslatedValue pad();
  // translate_maps.cpp
  TranslatedValue relu();
  TranslatedValue leaky_relu();
  TranslatedValue clip();
  TranslatedValue sigmoid();
  TranslatedValue global_average();
  TranslatedValue reduce_mean();
  TranslatedValue same();  // Identity, Dropout
  TranslatedValue add();
  TranslatedValue subtract();
  TranslatedValue multiply();
  TranslatedValue divide();
  TranslatedValue concatenate();
  TranslatedValue flatten();
  TranslatedValue reshape();
  TranslatedValue transpose();

  /// A step with input 0 of the ONNX node, named after it.
  NetworkNode start(NetworkOp op, size_t input = 0);
  /// Adds it to the network.
  TranslatedValue finish(NetworkNode node);
  TranslatedValue joined(NetworkOp op);
  TranslatedValue shifted(const Tensor& constant, size_t input, double factor);
  TranslatedValue scaled(const Tensor& constant, size_t input, bool inverse);
  void place_constant(NetworkNode& node, const Tensor& constant, const std::vector<double>& values);
  NetworkWindow window(const std::vector<int64_t>& kernel);

  bool has_input(size_t i) const;
  bool is_constant(size_t i) const;
  const Tensor& constant(size_t i, const char* what) const;
  int map_input(size_t i) const;
  const NetworkValue& known(size_t i) const;
  /// Values of "<node>.<part>" of the step that finish() adds next.
  void keep(const char* part, const Tensor& values);
  template <typename... Args>
  static void need(bool condition, fmt::format_string<Args...> format, Args&&... args) {
    if (!condition) throw Unsupported{fmt::format(format, std::forward<Args>(args)...)};
  }

  Translation& t_;
  const OnnxNode& node_;
  size_t position_;
  TensorMap kept_;
};

}  // namespace frcnn
