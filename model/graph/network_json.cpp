#include <array>
#include <nlohmann/json.hpp>

#include "kernels/launch/check.h"
#include "model/graph/network.h"

// A network as JSON: {"version": 1, "source": ..., "cut": ..., "in_channels": 3, "output": "relu5",
// "nodes": [{"op": "conv", "name": "conv1", "inputs": [""], "kernel": [3, 3], ...}, ...]}.
// Members that have their default are left out.
namespace frcnn {
namespace {

using Json = nlohmann::ordered_json;
constexpr int64_t kVersion = 1;
constexpr size_t kMostNodes = 100000;

constexpr int kRules = 3;  // NetworkWindow::Rule

/// Puts members that differ from their default into an object.
class Writer {
 public:
  explicit Writer(Json& out) : out_(out) {}
  template <typename T>
  void member(const char* key, const T& value, const T& otherwise) {
    if (value != otherwise) out_[key] = value;
  }

 private:
  Json& out_;
};

/// Takes members out of an object; what is absent has its default.
class Reader {
 public:
  explicit Reader(const Json& in) : in_(in) {}
  template <typename T>
  void member(const char* key, T& value, const T& otherwise) {
    value = in_.contains(key) ? in_.at(key).get<T>() : otherwise;
  }

 private:
  const Json& in_;
};

using Pair = std::array<int64_t, 2>;
using Quad = std::array<int64_t, 4>;

/// Names every member once, for both ways.
template <typename Visitor>
void visit_node(NetworkNode& n, Visitor&& visitor) {
  const NetworkNode plain;
  NetworkWindow& w = n.window;
  Pair kernel = {w.kernel_h, w.kernel_w}, stride = {w.stride_h, w.stride_w};
  Pair dilation = {w.dilation_h, w.dilation_w};
  Quad padding = {w.padding.top, w.padding.left, w.padding.bottom, w.padding.right};
  auto rule = static_cast<int>(w.rule);
  visitor.member("kernel", kernel, Pair{1, 1});
  visitor.member("stride", stride, Pair{1, 1});
  visitor.member("dilation", dilation, Pair{1, 1});
  visitor.member("padding", padding, Quad{});
  visitor.member("padding_rule", rule, 0);
  visitor.member("ceil_mode", w.ceil_mode, false);
  visitor.member("channels", n.channels, plain.channels);
  visitor.member("features", n.features, plain.features);
  visitor.member("groups", n.groups, plain.groups);
  visitor.member("bias", n.bias, false);
  visitor.member("relu", n.relu, false);
  visitor.member("count_padding", n.count_padding, false);
  visitor.member("per_channel", n.per_channel, false);
  visitor.member("low", n.low, plain.low);
  visitor.member("high", n.high, plain.high);
  visitor.member("epsilon", n.epsilon, plain.epsilon);
  visitor.member("momentum", n.momentum, plain.momentum);
  visitor.member("lrn_size", n.lrn.size, plain.lrn.size);
  visitor.member("lrn_alpha", n.lrn.alpha, plain.lrn.alpha);
  visitor.member("lrn_beta", n.lrn.beta, plain.lrn.beta);
  visitor.member("lrn_k", n.lrn.k, plain.lrn.k);
  visitor.member("shape", n.shape, plain.shape);
  visitor.member("merged", n.merged, plain.merged);
  check(rule >= 0 && rule < kRules, "padding_rule {} does not exist", rule);
  w = {kernel[0],
       kernel[1],
       stride[0],
       stride[1],
       dilation[0],
       dilation[1],
       static_cast<NetworkWindow::Rule>(rule),
       {padding[0], padding[1], padding[2], padding[3]},
       w.ceil_mode};
}

NetworkOp op_of(const std::string& name) {
  for (int i = 0; i <= static_cast<int>(NetworkOp::reshape); ++i)
    if (name == name_of(static_cast<NetworkOp>(i))) return static_cast<NetworkOp>(i);
  fail("the operation \"{}\" does not exist", name);
}

Network read(const Json& json) {
  const auto version = json.at("version").get<int64_t>();
  check(version == kVersion, "version {} of the description, this program reads version {}",
        version, kVersion);
  Network network;
  network.source = json.at("source").get<std::string>();
  network.cut = json.at("cut").get<std::string>();
  network.in_channels = json.at("in_channels").get<int64_t>();
  network.output = json.at("output").get<int>();
  const Json& nodes = json.at("nodes");
  check(nodes.is_array() && nodes.size() <= kMostNodes, "needs a list of at most {} nodes",
        kMostNodes);
  for (const Json& entry : nodes) {
    NetworkNode node;
    node.op = op_of(entry.at("op").get<std::string>());
    node.name = entry.at("name").get<std::string>();
    node.inputs = entry.at("inputs").get<std::vector<int>>();
    visit_node(node, Reader(entry));
    network.nodes.push_back(std::move(node));
  }
  network.check();
  return network;
}

}  // namespace

std::string to_json(const Network& network) {
  Json out = {{"version", kVersion},      {"source", network.source},
              {"cut", network.cut},       {"in_channels", network.in_channels},
              {"output", network.output}, {"nodes", Json::array()}};
  for (NetworkNode node : network.nodes) {
    Json entry = {{"op", name_of(node.op)}, {"name", node.name}, {"inputs", node.inputs}};
    visit_node(node, Writer(entry));
    out["nodes"].push_back(std::move(entry));
  }
  // Names are whatever bytes the source had; what is no UTF-8 is replaced.
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Network network_from_json(const std::string& text, const std::string& name) {
  try {
    return read(Json::parse(text));
  } catch (const nlohmann::json::exception& error) {
    fail("{}: not a description of a network: {}", name, error.what());
  } catch (const Error& error) {
    fail("{}: not a usable description of a network: {}", name, error.what());
  }
}

}  // namespace frcnn
