#include "model/graph/resnet.h"

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

/// Appends nodes; values are what NetworkNode::inputs holds.
class Builder {
 public:
  int conv(const std::string& name, int input, int64_t channels, int kernel, int stride) {
    NetworkNode node = window(NetworkOp::conv, name, input, kernel, stride);
    node.channels = channels;
    return add(std::move(node));
  }
  int pool(const std::string& name, int input, int kernel, int stride) {
    return add(window(NetworkOp::max_pool, name, input, kernel, stride));
  }
  int norm(const std::string& name, int input, bool relu = true) {
    NetworkNode node;
    node.op = NetworkOp::batch_norm;
    node.name = name;
    node.inputs = {input};
    node.relu = relu;
    return add(std::move(node));
  }
  int sum(const std::string& name, int a, int b, std::vector<std::string> also = {}) {
    NetworkNode node;
    node.op = NetworkOp::add;
    node.name = name;
    node.merged = std::move(also);
    node.inputs = {a, b};
    return add(std::move(node));
  }

  Network network;

 private:
  static NetworkNode window(NetworkOp op, const std::string& name, int input, int kernel,
                            int stride) {
    NetworkNode node;
    node.op = op;
    node.name = name;
    node.inputs = {input};
    node.window.kernel_h = node.window.kernel_w = kernel;
    node.window.stride_h = node.window.stride_w = stride;
    const int64_t pad = kernel / 2;
    node.window.padding = {pad, pad, pad, pad};
    return node;
  }
  int add(NetworkNode node) {
    network.nodes.push_back(std::move(node));
    return static_cast<int>(network.nodes.size());
  }
};

/// One residual unit; the last of a stage gives it its name.
int unit(Builder& b, int stage, int number, int input, int64_t channels, int stride,
         bool shortcut) {
  const std::string name = fmt::format("stage{}.unit{}.", stage, number);
  const int active = b.norm(name + "norm1", input);
  const int around = shortcut ? b.conv(name + "shortcut", active, channels, 1, stride) : input;
  int x = b.conv(name + "conv1", active, channels, 3, stride);
  x = b.conv(name + "conv2", b.norm(name + "norm2", x), channels, 3, 1);
  std::vector<std::string> also;
  if (number == 2) also.push_back(fmt::format("stage{}", stage));
  return b.sum(name + "sum", x, around, also);
}

}  // namespace

Network resnet18_v2_network() {
  Builder b;
  b.network.source = "resnet18_v2";
  int x = b.norm(kResnetInputNorm, 0, /*relu=*/false);
  x = b.norm("norm0", b.conv("conv0", x, 64, 7, 2));
  x = b.pool("pool0", x, 3, 2);
  for (int stage = 1; stage <= 4; ++stage) {
    const int64_t channels = int64_t{32} << stage;
    x = unit(b, stage, 1, x, channels, stage == 1 ? 1 : 2, /*shortcut=*/stage > 1);
    x = unit(b, stage, 2, x, channels, 1, false);
  }
  b.network.output = b.norm("norm5", x);
  b.network.cut = "norm5";
  return b.network;
}

}  // namespace frcnn
