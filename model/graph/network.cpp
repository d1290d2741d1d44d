#include "model/graph/network.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

constexpr int64_t kMostChannels = 1 << 20;
constexpr int64_t kMostWindow = 1024;

/// A node's complaint.
template <typename... Args>
void require(bool condition, const NetworkNode& node, fmt::format_string<Args...> format,
             Args&&... args) {
  if (!condition)
    fail("node '{}' ({}): {}", node.name, name_of(node.op),
         fmt::format(format, std::forward<Args>(args)...));
}

bool within(int64_t value, int64_t low, int64_t high) {
  return value >= low && value <= high;
}

void check_padding(const NetworkNode& node) {
  const Padding& p = node.window.padding;
  for (const int64_t value : {p.top, p.left, p.bottom, p.right})
    require(within(value, 0, kMostWindow), node, "a padding of {} is not 0 to {}", value,
            kMostWindow);
}

void check_window(const NetworkNode& node) {
  const NetworkWindow& w = node.window;
  for (const int64_t value :
       {w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, w.dilation_h, w.dilation_w})
    require(within(value, 1, kMostWindow), node,
            "a window of {} x {}, stride {} x {} is not 1 to {}", w.kernel_h, w.kernel_w,
            w.stride_h, w.stride_w, kMostWindow);
  check_padding(node);
}

size_t inputs_of(const NetworkNode& node) {
  switch (node.op) {
    case NetworkOp::add:
    case NetworkOp::subtract:
    case NetworkOp::multiply:
      return 2;
    case NetworkOp::concatenate:
      return std::max<size_t>(1, node.inputs.size());
    default:
      return 1;
  }
}

/// Strides and fields of values that meet: the strides agree, the largest field counts.
void join(const NetworkNode& node, NetworkValue& out, const NetworkValue& other) {
  require(out.map == other.map, node, "joins a map with rows");
  require(out.stride_y == other.stride_y && out.stride_x == other.stride_x, node,
          "joins maps of stride {} x {} and {} x {}", out.stride_y, out.stride_x, other.stride_y,
          other.stride_x);
  out.field_y = std::max(out.field_y, other.field_y);
  out.field_x = std::max(out.field_x, other.field_x);
}

void slide(NetworkValue& value, const NetworkWindow& w) {
  value.field_y += (w.kernel_h - 1) * w.dilation_h * value.stride_y;
  value.field_x += (w.kernel_w - 1) * w.dilation_w * value.stride_x;
  value.stride_y *= w.stride_h;
  value.stride_x *= w.stride_w;
}

}  // namespace

NetworkValue check_node(const NetworkNode& node, const std::vector<NetworkValue>& values) {
  require(!node.name.empty() && node.name.find('/') == std::string::npos, node,
          "has no usable name");
  require(!node.inputs.empty() && node.inputs.size() == inputs_of(node), node, "has {} inputs",
          node.inputs.size());
  for (const int input : node.inputs)
    require(within(input, 0, static_cast<int64_t>(values.size()) - 1), node,
            "uses the value {}, which is not there yet", input);
  for (const double number : {node.low, node.high, node.epsilon, node.momentum, node.lrn.alpha,
                              node.lrn.beta, node.lrn.k})
    require(std::isfinite(number), node, "has a constant that is not finite");
  NetworkValue out = values[static_cast<size_t>(node.inputs[0])];
  const bool rows_allowed =
      node.op == NetworkOp::relu || node.op == NetworkOp::leaky_relu ||
      node.op == NetworkOp::clip || node.op == NetworkOp::sigmoid || node.op == NetworkOp::linear ||
      node.op == NetworkOp::reshape || node.op == NetworkOp::add ||
      ((node.op == NetworkOp::scale || node.op == NetworkOp::add_constant) && !node.per_channel);
  require(out.map || rows_allowed, node, "needs a map (N, C, H, W), got rows (N, F)");
  switch (node.op) {
    case NetworkOp::conv:
      check_window(node);
      require(within(node.channels, 1, kMostChannels) && within(node.groups, 1, out.channels) &&
                  out.channels % node.groups == 0 && node.channels % node.groups == 0,
              node, "{} channels cannot become {} in {} groups", out.channels, node.channels,
              node.groups);
      slide(out, node.window);
      out.channels = node.channels;
      break;
    case NetworkOp::max_pool:
    case NetworkOp::average_pool:
      check_window(node);
      slide(out, node.window);
      break;
    case NetworkOp::pad:
      check_padding(node);
      break;
    case NetworkOp::global_average:
      out.stride_y = out.stride_x = 0;
      break;
    case NetworkOp::add:
    case NetworkOp::subtract:
    case NetworkOp::multiply: {
      const NetworkValue& other = values[static_cast<size_t>(node.inputs[1])];
      require(out.channels == other.channels, node, "joins {} and {} channels", out.channels,
              other.channels);
      const bool spread = out.map && other.map && other.stride_y == 0;  // (N, C, 1, 1)
      if (!spread) join(node, out, other);
      break;
    }
    case NetworkOp::concatenate:
      for (size_t i = 1; i < node.inputs.size(); ++i) {
        const NetworkValue& other = values[static_cast<size_t>(node.inputs[i])];
        join(node, out, other);
        out.channels += other.channels;
      }
      require(out.channels <= kMostChannels, node, "makes {} channels", out.channels);
      break;
    case NetworkOp::local_response:
      require(within(node.lrn.size, 1, kMostWindow), node, "a window of {} channels",
              node.lrn.size);
      break;
    case NetworkOp::linear:
      require(!out.map, node, "needs rows (N, F), got a map");
      require(within(node.channels, 1, kMostChannels) &&
                  within(node.features, 1, int64_t{1} << 31) &&
                  (out.channels == 0 || out.channels == node.features),
              node, "{} inputs cannot become {} by a matrix of {} columns", out.channels,
              node.channels, node.features);
      out.channels = node.channels;
      break;
    case NetworkOp::flatten:
      out.map = false;
      out.channels = out.stride_y == 0 ? out.channels : 0;
      break;
    case NetworkOp::reshape:
      require(node.shape.size() == 1 || node.shape.size() == 3, node,
              "gives {} dimensions, expected 2 or 4", node.shape.size() + 1);
      out.map = node.shape.size() == 3;
      require(std::all_of(
                  node.shape.begin(), node.shape.end(),
                  [&](int64_t d) { return (d == -1 && !out.map) || within(d, 1, kMostChannels); }),
              node, "has an unusable shape");
      out.channels = std::max<int64_t>(0, node.shape[0]);
      out.stride_y = out.stride_x = 0;
      break;
    default:
      break;
  }
  // A picture has at most some 10^5 pixels on a side.
  require(within(out.stride_y, 0, 1 << 20) && within(out.stride_x, 0, 1 << 20) &&
              out.field_y < (int64_t{1} << 40) && out.field_x < (int64_t{1} << 40),
          node, "a stride of {} x {}", out.stride_y, out.stride_x);
  return out;
}

const char* name_of(NetworkOp op) {
  constexpr const char* kNames[] = {"conv",           "batch_norm", "relu",        "leaky_relu",
                                    "clip",           "sigmoid",    "max_pool",    "average_pool",
                                    "global_average", "add",        "subtract",    "multiply",
                                    "add_constant",   "scale",      "concatenate", "pad",
                                    "local_response", "linear",     "flatten",     "reshape"};
  return kNames[static_cast<size_t>(op)];
}

std::string network_name(const std::string& source_name) {
  std::string name = source_name;
  while (!name.empty() && name.front() == '/') name.erase(0, 1);
  while (!name.empty() && name.back() == '/') name.pop_back();
  for (char& c : name) {
    if (c == '/') c = '.';
    if (c <= ' ' || c > '~') c = '_';  // a char may be signed: also all that is not ASCII
  }
  return name;
}

std::vector<NetworkValue> Network::check() const {
  frcnn::check(within(in_channels, 1, kMostChannels), "a network of {} input channels",
               in_channels);
  std::vector<NetworkValue> values(1);
  values[0].channels = in_channels;
  std::set<std::string> names;
  for (const NetworkNode& node : nodes) {
    require(names.insert(node.name).second, node, "is there twice");
    values.push_back(check_node(node, values));
  }
  frcnn::check(within(output, 0, static_cast<int64_t>(nodes.size())), "the result {} of {} nodes",
               output, nodes.size());
  return values;
}

int Network::find(const std::string& name) const {
  const std::string wanted = network_name(name);
  for (size_t i = 0; i < nodes.size(); ++i) {
    const NetworkNode& node = nodes[i];
    if (node.name == wanted ||
        std::find(node.merged.begin(), node.merged.end(), wanted) != node.merged.end())
      return static_cast<int>(i);
  }
  return -1;
}

std::vector<bool> Network::ancestors(int index) const {
  std::vector<bool> needed(nodes.size(), false);
  needed.at(static_cast<size_t>(index)) = true;
  for (auto i = static_cast<size_t>(index) + 1; i-- > 0;)
    if (needed[i])
      for (const int input : nodes[i].inputs)
        if (input > 0) needed[static_cast<size_t>(input) - 1] = true;
  return needed;
}

}  // namespace frcnn
