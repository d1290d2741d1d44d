// ONNX operators on whole maps: functions of each number, sums and products, other shapes.
#include <algorithm>
#include <cmath>
#include <limits>

#include "model/graph/constant_folding.h"
#include "model/graph/translate.h"

namespace frcnn {
namespace {

constexpr double kLargest = std::numeric_limits<float>::max();

using Kind = TranslatedValue::Kind;

}  // namespace

TranslatedValue NodeTranslator::relu() {
  return finish(start(NetworkOp::relu));
}

TranslatedValue NodeTranslator::leaky_relu() {
  NetworkNode node = start(NetworkOp::leaky_relu);
  node.low = node_.number("alpha", 0.01);
  return finish(std::move(node));
}

TranslatedValue NodeTranslator::clip() {
  NetworkNode node = start(NetworkOp::clip);
  // Attributes until opset 10, inputs since; either may be left out.
  const auto bound = [&](const char* key, size_t input, double otherwise) {
    if (!has_input(input)) return node_.number(key, otherwise);
    const Tensor& value = constant(input, key);
    need(value.numel() == 1, "its {} is no number", key);
    return value.item();
  };
  node.low = std::max(-kLargest, bound("min", 1, -kLargest));
  node.high = std::min(kLargest, bound("max", 2, kLargest));
  need(node.low <= node.high, "its limits are {} and {}", node.low, node.high);
  if (node.low == 0 && node.high == kLargest) {
    node.op = NetworkOp::relu;
    node.low = node.high = 0;
  }
  return finish(std::move(node));
}

TranslatedValue NodeTranslator::sigmoid() {
  return finish(start(NetworkOp::sigmoid));
}

TranslatedValue NodeTranslator::global_average() {
  return finish(start(NetworkOp::global_average));
}

/// The mean over rows and columns, which newer exporters write instead of GlobalAveragePool.
TranslatedValue NodeTranslator::reduce_mean() {
  std::vector<int64_t> axes =
      has_input(1) ? integers_of(constant(1, "axes")) : node_.integers("axes");
  for (int64_t& axis : axes)
    if (axis < 0) axis += 4;
  std::sort(axes.begin(), axes.end());
  need(known(0).map && axes == std::vector<int64_t>{2, 3},
       "only the mean over rows and columns is supported");
  const TranslatedValue mean = finish(start(NetworkOp::global_average));
  if (node_.integer("keepdims", 1) != 0) return mean;
  NetworkNode node = start(NetworkOp::flatten);
  node.inputs = {mean.index};
  return finish(std::move(node));
}

/// Dropout does nothing outside of training, and a detector's backbone has none.
TranslatedValue NodeTranslator::same() {
  need(has_input(0), "lacks its input");
  return t_.value(node_.inputs[0]);
}

/// Sums and products of two maps of equal shape, or of one and a number for each channel of each
/// picture (squeeze and excitation).
TranslatedValue NodeTranslator::joined(NetworkOp op) {
  const bool swap =
      op != NetworkOp::subtract && known(0).map && known(0).stride_y == 0 && known(1).stride_y != 0;
  const size_t first = swap ? 1 : 0;
  NetworkNode node = start(op, first);
  node.inputs.push_back(map_input(1 - first));
  const NetworkValue &a = known(first), &b = known(1 - first);
  const bool spread = a.map && b.map && b.stride_y == 0;
  need(a.map == b.map && a.channels == b.channels &&
           (spread || (a.stride_y == b.stride_y && a.stride_x == b.stride_x)),
       "combines maps of different sizes ({} channels at stride {}, {} at {}), which is not "
       "supported",
       a.channels, a.stride_y, b.channels, b.stride_y);
  return finish(std::move(node));
}

/// A constant that spreads over a map: one number, or one for each channel.
void NodeTranslator::place_constant(NetworkNode& node, const Tensor& constant,
                                    const std::vector<double>& values) {
  if (values.size() == 1) {
    node.low = values[0];
    return;
  }
  const NetworkValue& map = t_.known_[static_cast<size_t>(node.inputs[0])];
  const int rank = constant.rank();
  const bool channels = map.map && (rank == 3 || rank == 4) &&
                        constant.dim(rank - 3) == map.channels && constant.numel() == map.channels;
  need(channels,
       "a constant of shape {} cannot be spread over a map of {} channels; supported are one "
       "number and one for each channel",
       constant.shape().string(), map.channels);
  node.per_channel = true;
  std::vector<float> numbers(values.begin(), values.end());
  keep("constant", Tensor::from({map.channels}, numbers));
}

TranslatedValue NodeTranslator::shifted(const Tensor& constant, size_t input, double factor) {
  NetworkNode node = start(NetworkOp::add_constant, input);
  std::vector<double> values = numbers_of(constant);
  for (double& value : values) value *= factor;
  place_constant(node, constant, values);
  return finish(std::move(node));
}

TranslatedValue NodeTranslator::scaled(const Tensor& constant, size_t input, bool inverse) {
  NetworkNode node = start(NetworkOp::scale, input);
  std::vector<double> values = numbers_of(constant);
  for (double& value : values) {
    need(!inverse || value != 0, "divides by zero");
    if (inverse) value = 1 / value;
  }
  place_constant(node, constant, values);
  return finish(std::move(node));
}

TranslatedValue NodeTranslator::add() {
  if (is_constant(1)) return shifted(constant(1, "b"), 0, 1);
  if (is_constant(0)) return shifted(constant(0, "a"), 1, 1);
  return joined(NetworkOp::add);
}

TranslatedValue NodeTranslator::subtract() {
  if (is_constant(1)) return shifted(constant(1, "b"), 0, -1);
  if (!is_constant(0)) return joined(NetworkOp::subtract);
  // c - x = -1 x + c
  const std::vector<float> minus_one = {-1};
  const TranslatedValue negative =
      scaled(Tensor::from({}, minus_one), /*input=*/1, /*inverse=*/false);
  NetworkNode node = start(NetworkOp::add_constant, 1);
  node.inputs = {negative.index};
  place_constant(node, constant(0, "a"), numbers_of(constant(0, "a")));
  return finish(std::move(node));
}

TranslatedValue NodeTranslator::multiply() {
  if (is_constant(1)) return scaled(constant(1, "b"), 0, false);
  if (is_constant(0)) return scaled(constant(0, "a"), 1, false);
  return joined(NetworkOp::multiply);
}

TranslatedValue NodeTranslator::divide() {
  return scaled(constant(1, "the divisor"), 0, true);
}

TranslatedValue NodeTranslator::concatenate() {
  NetworkNode node = start(NetworkOp::concatenate);
  const int64_t axis = node_.integer("axis", 1);
  need(known(0).map && (axis == 1 || axis == -3), "only channels can be joined, axis is {}", axis);
  for (size_t i = 1; i < node_.inputs.size(); ++i) node.inputs.push_back(map_input(i));
  return finish(std::move(node));
}

TranslatedValue NodeTranslator::flatten() {
  const int64_t axis = node_.integer("axis", 1);
  need(axis == 1 || axis == -3, "only axis 1 is supported, got {}", axis);
  if (!known(0).map) return t_.value(node_.inputs[0]);
  return finish(start(NetworkOp::flatten));
}

TranslatedValue NodeTranslator::reshape() {
  NetworkNode node = start(NetworkOp::reshape);
  std::vector<int64_t> shape =
      node_.has("shape") ? node_.integers("shape") : integers_of(constant(1, "the shape"));
  const auto text = Shape(shape).string();
  // The number of pictures stays: written as 0 (as before), -1, or 1 by an export for one picture.
  need((shape.size() == 2 || shape.size() == 4) && shape[0] >= -1 && shape[0] <= 1,
       "the shape {} is not supported, only (N, C, H, W) and (N, F)", text);
  const bool open = shape[0] == -1;
  shape.erase(shape.begin());
  for (const int64_t size : shape)
    need(size > 0 || (size == -1 && !open && shape.size() == 1),
         "the shape {} is not supported, only (N, C, H, W) and (N, F)", text);
  node.shape = shape;
  if (shape.size() == 1 && shape[0] == -1) {
    if (!known(0).map) return t_.value(node_.inputs[0]);
    node.op = NetworkOp::flatten;
    node.shape.clear();
  }
  return finish(std::move(node));
}

/// Kept as a note, so that a transposition back (or a network whose pictures are channels-last)
/// costs nothing.
TranslatedValue NodeTranslator::transpose() {
  need(has_input(0), "lacks its input");
  TranslatedValue value = t_.value(node_.inputs[0]);
  const std::vector<int64_t> order = node_.integers("perm");
  need(order.size() == 4 && t_.known_[static_cast<size_t>(value.index)].map,
       "only the four dimensions of a map can be exchanged");
  std::vector<int64_t> before =
      value.order.empty() ? std::vector<int64_t>{0, 1, 2, 3} : value.order;
  std::vector<int64_t> after;
  for (const int64_t axis : order) {
    need(axis >= 0 && axis < 4, "exchanges the dimension {}", axis);
    after.push_back(before[static_cast<size_t>(axis)]);
  }
  std::vector<int64_t> sorted = after;
  std::sort(sorted.begin(), sorted.end());
  need(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end(), "repeats a dimension");
  if (std::is_sorted(after.begin(), after.end())) after.clear();
  value.order = after;
  return value;
}

}  // namespace frcnn
