#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/norm/lrn.h"

namespace frcnn {

/// What a node of a Network does. Maps are (N, C, H, W), rows are (N, F).
enum class NetworkOp : uint8_t {
  conv,            ///< parameters weight (O, C / groups, kh, kw), bias (O); `relu` fused
  batch_norm,      ///< parameters weight, bias, buffers running_mean, running_var; `relu` fused
  relu,            ///< max(x, 0)
  leaky_relu,      ///< x > 0 ? x : low * x
  clip,            ///< min(max(x, low), high)
  sigmoid,         ///< 1 / (1 + exp(-x))
  max_pool,        ///< padding is -infinity
  average_pool,    ///< padding counts as zeros when `count_padding`, otherwise not at all
  global_average,  ///< (N, C, H, W) to (N, C, 1, 1)
  add,             ///< a + b of equal shape
  subtract,        ///< a - b of equal shape
  multiply,        ///< a * b of equal shape
  add_constant,    ///< x + low, or x + the buffer constant (C) when `per_channel`
  scale,           ///< x * low, or x * the buffer constant (C) when `per_channel`
  concatenate,     ///< along the channels
  pad,             ///< rows and columns of the value `low` are added
  local_response,  ///< kernels/norm/lrn.h
  linear,          ///< rows; parameters weight (O, F), bias (O); `relu` fused
  flatten,         ///< (N, C, H, W) to (N, C * H * W)
  reshape,         ///< to (N, C, H, W), or rows (N, F) with F or -1
};

/// Rows and columns around a map.
struct Padding {
  int64_t top = 0, left = 0, bottom = 0, right = 0;
  bool operator==(const Padding&) const = default;
};

/// Windows of a convolution or pooling layer, per axis.
struct NetworkWindow {
  /// given: `padding`. same_*: as much as makes the output ceil(input / stride), which depends on
  /// the map's size; an odd row or column goes to the end (upper) or the beginning (lower).
  enum class Rule : uint8_t { given, same_upper, same_lower };
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t dilation_h = 1, dilation_w = 1;
  Rule rule = Rule::given;
  Padding padding;
  bool ceil_mode = false;  ///< as kernels::MaxPoolParams

  /// The padding of a map of height h and width w.
  Padding padding_for(int64_t h, int64_t w) const;
  /// Height and width of the result for a map of height h and width w; below 1 when it has none.
  std::array<int64_t, 2> size_after(int64_t h, int64_t w) const;
};

/// One step of a network. Which members count depends on `op`.
struct NetworkNode {
  NetworkOp op = NetworkOp::relu;
  std::string name;                 ///< unique; its parameters are "<name>.weight", ...
  std::vector<std::string> merged;  ///< nodes of the source that became part of this one
  std::vector<int> inputs;          ///< values: 0 is the image, i + 1 the result of node i

  NetworkWindow window;  ///< conv, pools; pad: its `padding`
  int64_t channels = 0;  ///< conv, linear: outputs
  int64_t features = 0;  ///< linear: inputs
  int64_t groups = 1;    ///< conv
  bool bias = false;     ///< conv, linear
  bool relu = false;     ///< conv, linear, batch_norm
  bool count_padding = false;
  bool per_channel = false;
  double low = 0, high = 0;
  double epsilon = 1e-5, momentum = 0.1;  ///< batch_norm
  kernels::LrnParams lrn;
  std::vector<int64_t> shape;  ///< reshape, without N
};

/// What can be said of a value without knowing the size of the picture.
struct NetworkValue {
  bool map = true;       ///< (N, C, H, W); otherwise rows (N, F)
  int64_t channels = 0;  ///< C; rows: F, or 0 when it depends on the picture's size
  /// Pixels of the picture per cell; 0 where a map no longer follows the picture (global average).
  int64_t stride_y = 1, stride_x = 1;
  /// Side in pixels of the picture's region that one cell sees, along the path that sees most.
  int64_t field_y = 1, field_x = 1;
};

/// What a node makes of the values before it. Throws Error that names the node when it does not
/// fit.
NetworkValue check_node(const NetworkNode& node, const std::vector<NetworkValue>& values);

/// A network as data: steps in an order in which each uses only earlier ones. It holds no weights.
/// Made from ONNX by import_onnx(), stored in checkpoints as JSON (weights/FORMAT.md).
struct Network {
  std::string source;  ///< where it came from, for messages: "resnet18.onnx"
  std::string cut;     ///< the place of the source that is the result
  int64_t in_channels = 3;
  std::vector<NetworkNode> nodes;
  int output = 0;  ///< a value, see NetworkNode::inputs

  /// Throws Error that names the node unless every value is made before it is used, sizes and
  /// counts are sensible and channels agree. Returns what is known of each value, image first.
  std::vector<NetworkValue> check() const;
  /// Height and width of every value for a picture of that size; (1, 1) for rows. Error when a map
  /// becomes empty or the sizes of a sum differ.
  std::vector<std::array<int64_t, 2>> sizes(int64_t h, int64_t w) const;
  /// Index of the node with that name, or that holds a merged one of that name; -1 none. Names are
  /// compared as network_name() makes them.
  int find(const std::string& name) const;
  /// By node: whether the result of node `index` depends on it (itself included).
  std::vector<bool> ancestors(int index) const;
};

/// A name as parameters and config keys carry it: '/' at the front and end dropped, others '.';
/// spaces and what is not ASCII '_'.
std::string network_name(const std::string& source_name);
/// "conv", ..., as in the JSON.
const char* name_of(NetworkOp op);

/// JSON (weights/FORMAT.md): the same network gives the same text.
std::string to_json(const Network& network);
/// Error that begins with `name` for text that is no network; check() has passed.
Network network_from_json(const std::string& text, const std::string& name);

}  // namespace frcnn
