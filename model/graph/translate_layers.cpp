// ONNX operators with weights, windows or borders (github.com/onnx/onnx, docs/Operators.md).
#include <algorithm>
#include <cmath>

#include "model/graph/constant_folding.h"
#include "model/graph/translate.h"

namespace frcnn {
namespace {

/// The two sizes of an attribute such as strides; 1 x 1 when it is absent. Anything but two leaves
/// an empty list.
std::vector<int64_t> pair_of(const OnnxNode& node, const char* key) {
  std::vector<int64_t> values = node.integers(key);
  if (values.empty()) return {1, 1};
  if (values.size() != 2) values.clear();
  return values;
}

bool odd(int64_t value) {
  return value % 2 != 0;
}

/// Rows and columns swapped.
Tensor transposed(const Tensor& matrix) {
  const int64_t rows = matrix.dim(0), columns = matrix.dim(1);
  Tensor out = Tensor::empty({columns, rows});
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      out.data<float>()[j * rows + i] = matrix.data<float>()[i * columns + j];
  return out;
}

Tensor times(const Tensor& values, double factor) {
  if (factor == 1) return values;
  Tensor out = values.clone();
  for (float& value : out.span<float>()) value = static_cast<float>(value * factor);
  return out;
}

}  // namespace

NetworkWindow NodeTranslator::window(const std::vector<int64_t>& kernel) {
  const auto strides = pair_of(node_, "strides"), dilations = pair_of(node_, "dilations");
  need(kernel.size() == 2 && strides.size() == 2 && dilations.size() == 2,
       "only windows of two dimensions are supported");
  NetworkWindow w;
  w.kernel_h = kernel[0];
  w.kernel_w = kernel[1];
  w.stride_h = strides[0];
  w.stride_w = strides[1];
  w.dilation_h = dilations[0];
  w.dilation_w = dilations[1];
  w.ceil_mode = node_.integer("ceil_mode", 0) != 0;
  const std::string rule = node_.text("auto_pad", "NOTSET");
  const auto pads = node_.integers("pads");
  if (rule == "SAME_UPPER")
    w.rule = NetworkWindow::Rule::same_upper;
  else if (rule == "SAME_LOWER")
    w.rule = NetworkWindow::Rule::same_lower;
  else
    need(rule == "NOTSET" || rule == "VALID", "auto_pad \"{}\" is not known", rule);
  if (rule == "NOTSET" && !pads.empty()) {
    need(pads.size() == 4, "pads has {} values, expected 4", pads.size());
    w.padding = {pads[0], pads[1], pads[2], pads[3]};
  }
  const bool even = w.padding.top == w.padding.bottom && w.padding.left == w.padding.right;
  need(!w.ceil_mode || (even && w.rule == NetworkWindow::Rule::given),
       "ceil_mode needs the same padding on both sides");
  return w;
}

TranslatedValue NodeTranslator::conv() {
  NetworkNode node = start(NetworkOp::conv);
  const Tensor& weight = constant(1, "the kernel");
  need(weight.rank() == 4, "only convolutions of two dimensions are supported, this has {}",
       weight.rank() - 2);
  const auto declared = node_.integers("kernel_shape");
  need(declared.empty() || declared == std::vector<int64_t>{weight.dim(2), weight.dim(3)},
       "kernel_shape differs from the kernel's shape {}", weight.shape().string());
  node.window = window({weight.dim(2), weight.dim(3)});
  node.channels = weight.dim(0);
  node.groups = node_.integer("group", 1);
  need(node.groups > 0 && weight.dim(1) == known(0).channels / node.groups &&
           known(0).channels % node.groups == 0,
       "a kernel {} in {} groups does not fit a map of {} channels", weight.shape().string(),
       node.groups, known(0).channels);
  keep("weight", weight);
  if (has_input(2)) {
    const Tensor& bias = constant(2, "the bias");
    need(bias.numel() == node.channels, "{} biases for {} channels", bias.numel(), node.channels);
    node.bias = true;
    keep("bias", bias);
  }
  return finish(std::move(node));
}

TranslatedValue NodeTranslator::batch_norm() {
  NetworkNode node = start(NetworkOp::batch_norm);
  need(node_.integer("spatial", 1) == 1, "statistics per position are not supported");
  node.epsilon = node_.number("epsilon", 1e-5);
  node.momentum = 1 - node_.number("momentum", 0.9);  // ONNX: the share that is kept
  need(node.epsilon >= 0 && node.momentum >= 0 && node.momentum <= 1,
       "epsilon or momentum is out of range");
  constexpr const char* kParts[] = {"weight", "bias", "running_mean", "running_var"};
  for (size_t i = 0; i < 4; ++i) {
    const Tensor& values = constant(i + 1, kParts[i]);
    need(values.numel() == known(0).channels, "its {} has {} values for {} channels", kParts[i],
         values.numel(), known(0).channels);
    keep(kParts[i], values);
  }
  return finish(std::move(node));
}

TranslatedValue NodeTranslator::max_pool() {
  NetworkNode node = start(NetworkOp::max_pool);
  node.window = window(node_.integers("kernel_shape"));
  need(node.window.dilation_h == 1 && node.window.dilation_w == 1,
       "dilated pooling is not supported");
  return finish(std::move(node));
}

TranslatedValue NodeTranslator::average_pool() {
  NetworkNode node = start(NetworkOp::average_pool);
  NetworkWindow& w = node.window;
  w = window(node_.integers("kernel_shape"));
  node.count_padding = node_.integer("count_include_pad", 0) != 0;
  need(w.dilation_h == 1 && w.dilation_w == 1, "dilated pooling is not supported");
  // The same padding whatever the map's size:
  if (w.rule != NetworkWindow::Rule::given && w.stride_h == 1 && w.stride_w == 1 &&
      odd(w.kernel_h) && odd(w.kernel_w)) {
    w.rule = NetworkWindow::Rule::given;
    w.padding = {w.kernel_h / 2, w.kernel_w / 2, w.kernel_h / 2, w.kernel_w / 2};
  }
  const bool even = w.rule == NetworkWindow::Rule::given && w.padding.top == w.padding.bottom &&
                    w.padding.left == w.padding.right;
  need(node.count_padding || even,
       "an average that leaves out a padding that differs between the sides is not supported");
  return finish(std::move(node));
}

TranslatedValue NodeTranslator::gemm() {
  NetworkNode node = start(NetworkOp::linear);
  need(node_.integer("transA", 0) == 0, "transA is not supported");
  const double alpha = node_.number("alpha", 1), beta = node_.number("beta", 1);
  const Tensor& given = constant(1, "the matrix");
  need(given.rank() == 2 && given.dtype() == DType::f32, "needs a matrix, got {}",
       given.shape().string());
  const Tensor weight = node_.integer("transB", 0) != 0 ? given : transposed(given);
  node.channels = weight.dim(0);
  node.features = weight.dim(1);
  keep("weight", times(weight, alpha));
  if (has_input(2)) {
    const Tensor& bias = constant(2, "the bias");
    need(bias.numel() == node.channels && bias.dtype() == DType::f32,
         "a bias {} for {} outputs is not supported", bias.shape().string(), node.channels);
    node.bias = true;
    keep("bias", times(bias.view({node.channels}), beta));
  }
  return finish(std::move(node));
}

TranslatedValue NodeTranslator::mat_mul() {
  NetworkNode node = start(NetworkOp::linear);
  const Tensor& given = constant(1, "the matrix");
  need(given.rank() == 2 && given.dtype() == DType::f32, "needs a matrix, got {}",
       given.shape().string());
  node.channels = given.dim(1);
  node.features = given.dim(0);
  keep("weight", transposed(given));
  return finish(std::move(node));
}

TranslatedValue NodeTranslator::local_response() {
  NetworkNode node = start(NetworkOp::local_response);
  node.lrn.size = node_.integer("size", 0);
  node.lrn.alpha = node_.number("alpha", 1e-4);
  node.lrn.beta = node_.number("beta", 0.75);
  node.lrn.k = node_.number("bias", 1.0);
  need(odd(node.lrn.size), "a window of {} channels has no middle", node.lrn.size);
  return finish(std::move(node));
}

TranslatedValue NodeTranslator::pad() {
  NetworkNode node = start(NetworkOp::pad);
  const std::string mode = node_.text("mode", "constant");
  need(mode == "constant", "the mode \"{}\" is not supported, only constant values", mode);
  // (begin of each axis..., end of each axis...), as attribute until opset 10.
  std::vector<int64_t> pads =
      node_.has("pads") ? node_.integers("pads") : integers_of(constant(1, "pads"));
  std::vector<int64_t> axes = {0, 1, 2, 3};
  if (has_input(3)) axes = integers_of(constant(3, "axes"));
  need(pads.size() == 2 * axes.size(), "{} pads for {} axes", pads.size(), axes.size());
  Padding& p = node.window.padding;
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = axes[i] < 0 ? axes[i] + 4 : axes[i];
    const int64_t before = pads[i], after = pads[i + axes.size()];
    need(axis == 2 || axis == 3 || (before == 0 && after == 0),
         "only rows and columns can be padded");
    need(before >= 0 && after >= 0, "cutting rows or columns off is not supported");
    if (axis == 2) {
      p.top = before;
      p.bottom = after;
    } else if (axis == 3) {
      p.left = before;
      p.right = after;
    }
  }
  node.low = node_.number("value", 0);
  if (has_input(2)) node.low = constant(2, "the value").item();
  return finish(std::move(node));
}

}  // namespace frcnn
