// Backbones as nodes: the built-in lists of layers (model/backbone.h) and networks imported from
// ONNX (model/graph/network.h). Batch norm stays a node of its own; runtimes fold it themselves.
#include <fmt/core.h>

#include "model/onnx_export/parts.h"

namespace frcnn::onnx_export {
namespace {

constexpr double kBatchNormEpsilon = kernels::BatchNormParams{}.epsilon;

Value batch_norm(Graph& g, const Parameters& parameters, const std::string& name,
                 const std::string& parameter, const Value& x, double epsilon) {
  return g.op("BatchNormalization", name,
              {x, g.parameter(parameters, parameter + ".weight"),
               g.parameter(parameters, parameter + ".bias"),
               g.parameter(parameters, parameter + ".running_mean"),
               g.parameter(parameters, parameter + ".running_var")},
              {{"epsilon", epsilon}});
}

/// Both count windows around the middle channel; of an even number ONNX takes one more behind it,
/// the model one more in front.
Value local_response(Graph& g, const std::string& name, const Value& x,
                     const kernels::LrnParams& lrn) {
  check(lrn.size % 2 == 1,
        "local response normalisation \"{}\" has a window of {} channels; ONNX's has its middle "
        "elsewhere where the number is even",
        name, lrn.size);
  return g.op("LRN", name, {x},
              {{"size", lrn.size}, {"alpha", lrn.alpha}, {"beta", lrn.beta}, {"bias", lrn.k}});
}

Value layers(Graph& g, const FasterRcnn& model, Value x) {
  const BackboneSpec& spec = model.backbone_spec();
  for (const LayerSpec& layer : spec.layers) {
    const std::string parameter = "backbone." + layer.name;
    const int64_t kernel = layer.kernel, stride = layer.stride, pad = layer.padding;
    const OnnxAttributes window = {{"kernel_shape", std::vector<int64_t>{kernel, kernel}},
                                   {"strides", std::vector<int64_t>{stride, stride}},
                                   {"pads", std::vector<int64_t>{pad, pad, pad, pad}}};
    switch (layer.type) {
      case LayerSpec::Type::conv: {
        std::vector<Value> inputs = {x, g.parameter(model.parameters(), parameter + ".weight")};
        if (!layer.batch_norm)
          inputs.push_back(g.parameter(model.parameters(), parameter + ".bias"));
        x = g.op("Conv", layer.name, inputs, window);
        if (layer.batch_norm)
          x = batch_norm(g, model.parameters(), fmt::format("{}/norm", layer.name),
                         fmt::format("{}.norm", parameter), x, kBatchNormEpsilon);
        x = g.op("Relu", fmt::format("{}/relu", layer.name), {x});
        break;
      }
      case LayerSpec::Type::max_pool: {
        OnnxAttributes attributes = window;
        attributes.emplace_back("ceil_mode", int64_t{spec.ceil_mode});
        x = g.op("MaxPool", layer.name, {x}, attributes);
        break;
      }
      case LayerSpec::Type::lrn:
        x = local_response(g, layer.name, x, layer.lrn);
        break;
    }
  }
  return x;
}

/// kernel_shape, strides and pads of an imported layer.
OnnxAttributes window_of(const NetworkNode& node, bool dilated) {
  const NetworkWindow& w = node.window;
  OnnxAttributes out = {{"kernel_shape", std::vector<int64_t>{w.kernel_h, w.kernel_w}},
                        {"strides", std::vector<int64_t>{w.stride_h, w.stride_w}}};
  if (dilated) out.emplace_back("dilations", std::vector<int64_t>{w.dilation_h, w.dilation_w});
  const Padding& p = w.padding;
  if (w.rule == NetworkWindow::Rule::given)
    out.emplace_back("pads", std::vector<int64_t>{p.top, p.left, p.bottom, p.right});
  else
    out.emplace_back(
        "auto_pad",
        std::string(w.rule == NetworkWindow::Rule::same_upper ? "SAME_UPPER" : "SAME_LOWER"));
  return out;
}

/// One node of an imported network.
class NetworkExport {
 public:
  NetworkExport(Graph& g, const Network& network, const Parameters& parameters,
                const std::string& prefix)
      : g_(g), network_(network), parameters_(parameters), prefix_(prefix) {}

  Value run(const Value& image) {
    values_ = {image};
    for (const NetworkNode& node : network_.nodes) {
      Value y = step(node);
      if (node.relu) y = g_.op("Relu", fmt::format("{}/relu", node.name), {y});
      values_.push_back(y);
    }
    return values_[static_cast<size_t>(network_.output)];
  }

 private:
  Value input(const NetworkNode& node, size_t i) const {
    return values_[static_cast<size_t>(node.inputs[i])];
  }
  Value parameter(const NetworkNode& node, const char* part) {
    return g_.parameter(parameters_, prefix_ + node.name + part);
  }
  Value same(const NetworkNode& node, const char* op, const OnnxAttributes& attributes = {}) {
    return g_.op(op, node.name, {input(node, 0)}, attributes);
  }
  Value both(const NetworkNode& node, const char* op) {
    return g_.op(op, node.name, {input(node, 0), input(node, 1)});
  }

  Value step(const NetworkNode& node);
  Value with_constant(const NetworkNode& node, const char* op);
  Value weighted(const NetworkNode& node, const char* op, const OnnxAttributes& attributes);
  Value pool(const NetworkNode& node);

  Graph& g_;
  const Network& network_;
  const Parameters& parameters_;
  std::string prefix_;
  std::vector<Value> values_;
};

Value NetworkExport::weighted(const NetworkNode& node, const char* op,
                              const OnnxAttributes& attributes) {
  std::vector<Value> inputs = {input(node, 0), parameter(node, ".weight")};
  if (node.bias) inputs.push_back(parameter(node, ".bias"));
  return g_.op(op, node.name, inputs, attributes);
}

Value NetworkExport::with_constant(const NetworkNode& node, const char* op) {
  Value constant = g_.f32(node.low);
  if (node.per_channel)
    constant = g_.op("Reshape", node.name + "/constant",
                     {parameter(node, ".constant"), g_.i64s({1, -1, 1, 1})});
  return g_.op(op, node.name, {input(node, 0), constant});
}

Value NetworkExport::pool(const NetworkNode& node) {
  OnnxAttributes attributes = window_of(node, /*dilated=*/false);
  attributes.emplace_back("ceil_mode", int64_t{node.window.ceil_mode});
  if (node.op == NetworkOp::max_pool) return same(node, "MaxPool", attributes);
  // Operators of this version do not say what a last window beyond the padding is divided by.
  check(!(node.window.ceil_mode && node.count_padding),
        "backbone.onnx: average pooling \"{}\" counts its padding and rounds sizes up, which ONNX "
        "{} leaves undefined",
        node.name, kExportOpset);
  attributes.emplace_back("count_include_pad", int64_t{node.count_padding});
  return same(node, "AveragePool", attributes);
}

Value NetworkExport::step(const NetworkNode& node) {
  switch (node.op) {
    case NetworkOp::conv: {
      OnnxAttributes attributes = window_of(node, /*dilated=*/true);
      attributes.emplace_back("group", node.groups);
      return weighted(node, "Conv", attributes);
    }
    case NetworkOp::linear:
      return weighted(node, "Gemm", {{"transB", int64_t{1}}});
    case NetworkOp::batch_norm:
      return batch_norm(g_, parameters_, node.name, prefix_ + node.name, input(node, 0),
                        node.epsilon);
    case NetworkOp::relu:
      return same(node, "Relu");
    case NetworkOp::leaky_relu:
      return same(node, "LeakyRelu", {{"alpha", node.low}});
    case NetworkOp::clip:
      return g_.op("Clip", node.name, {input(node, 0), g_.f32(node.low), g_.f32(node.high)});
    case NetworkOp::sigmoid:
      return same(node, "Sigmoid");
    case NetworkOp::max_pool:
    case NetworkOp::average_pool:
      return pool(node);
    case NetworkOp::global_average:
      return same(node, "GlobalAveragePool");
    case NetworkOp::add:
      return both(node, "Add");
    case NetworkOp::subtract:
      return both(node, "Sub");
    case NetworkOp::multiply:
      return both(node, "Mul");
    case NetworkOp::add_constant:
      return with_constant(node, "Add");
    case NetworkOp::scale:
      return with_constant(node, "Mul");
    case NetworkOp::concatenate: {
      std::vector<Value> maps;
      for (size_t i = 0; i < node.inputs.size(); ++i) maps.push_back(input(node, i));
      return g_.op("Concat", node.name, maps, {{"axis", int64_t{1}}});
    }
    case NetworkOp::pad: {
      const Padding& p = node.window.padding;
      return g_.op("Pad", node.name,
                   {input(node, 0), g_.i64s({0, 0, p.top, p.left, 0, 0, p.bottom, p.right}),
                    g_.f32(node.low)});
    }
    case NetworkOp::local_response:
      return local_response(g_, node.name, input(node, 0), node.lrn);
    case NetworkOp::flatten:
      return same(node, "Flatten");
    case NetworkOp::reshape: {
      std::vector<int64_t> shape = {0};  // as many as before
      if (node.shape.size() == 1)
        shape.push_back(-1);
      else
        shape.insert(shape.end(), node.shape.begin(), node.shape.end());
      return g_.op("Reshape", node.name, {input(node, 0), g_.i64s(shape)});
    }
  }
  fail("[onnx] node \"{}\" has an operation that does not exist", node.name);
}

}  // namespace

Value imported_network(Graph& g, const Network& network, const Parameters& parameters,
                       const std::string& prefix, const Value& input) {
  return NetworkExport(g, network, parameters, prefix).run(input);
}

Value backbone(Graph& g, const FasterRcnn& model, Value input) {
  g.enter("backbone");
  if (const auto& imported = model.backbone_spec().imported)
    return imported_network(g, imported->network, model.parameters(), "backbone.", input);
  return layers(g, model, std::move(input));
}

}  // namespace frcnn::onnx_export
