#include "model/quantize.h"

#include <algorithm>
#include <cmath>

#include "kernels/launch/check.h"
#include "kernels/quant/quantize.h"
#include "weights/tensor_file_read.h"

namespace frcnn {
namespace {

constexpr const char* kPredictors[] = {"rpn.cls.weight", "rpn.box.weight", "head.cls.weight",
                                       "head.box.weight"};
constexpr const char* kSuffix = ".weight";

std::string layer_of(const std::string& weight) {
  return weight.substr(0, weight.size() - std::string(kSuffix).size());
}

/// The weights of the convolutions that read the picture.
std::vector<std::string> first_layers(const BackboneSpec& spec) {
  std::vector<std::string> names;
  if (spec.imported) {
    for (const NetworkNode& node : spec.imported->network.nodes)
      if (node.op == NetworkOp::conv && node.inputs[0] == 0)
        names.push_back("backbone." + node.name + kSuffix);
    if (!names.empty()) return names;
    for (const NetworkNode& node : spec.imported->network.nodes)
      if (node.op == NetworkOp::conv) return {"backbone." + node.name + kSuffix};
    return names;
  }
  for (const LayerSpec& layer : spec.layers)
    if (layer.type == LayerSpec::Type::conv) return {"backbone." + layer.name + kSuffix};
  return names;
}

bool fits(const std::string& layer, const std::string& pattern) {
  if (pattern.ends_with('*')) return layer.starts_with(pattern.substr(0, pattern.size() - 1));
  return layer == pattern;
}

std::string scales_name(const std::string& weight) {
  return weight + ".scales";
}
std::string input_name(const std::string& weight) {
  return weight + ".input";
}

Int8Weights quantized(const std::string& name, const Tensor& weight, const ValueHistogram& range,
                      const RangeRule& rule) {
  const bool is_signed = range.has_negative();
  const int levels =
      kernels::largest_integer(is_signed ? kernels::LayerNumber::i8 : kernels::LayerNumber::u8);
  const double limit = range.limit(rule, levels);
  check(limit > 0,
        "{}: its input was {} on all pictures, so that it has no range; calibrate with other "
        "pictures or --keep {}",
        name, range.count() == 0 ? "not computed" : "zero", layer_of(name));
  const int64_t outputs = weight.dim(0);
  Tensor values = Tensor::empty(weight.shape(), DType::i8);
  Tensor scales = Tensor::empty({outputs});
  kernels::cpu::quantize_weights(outputs, weight.numel() / outputs, weight.data<float>(),
                                 values.data<int8_t>(), scales.data<float>());
  return {values, scales, static_cast<float>(limit / levels), is_signed};
}

}  // namespace

std::vector<std::string> int8_layers(const FasterRcnn& model,
                                     const std::vector<std::string>& keep) {
  std::vector<std::string> kept = first_layers(model.backbone_spec());
  kept.insert(kept.end(), std::begin(kPredictors), std::end(kPredictors));
  std::vector<std::string> layers;
  std::vector<bool> used(keep.size(), false);
  for (const Parameter& p : model.parameters().all()) {
    if (!model.parameters().reduced_layers().contains(p.name)) continue;
    bool named = false;
    for (size_t i = 0; i < keep.size(); ++i)
      if (fits(layer_of(p.name), keep[i])) named = used[i] = true;
    if (!named && std::find(kept.begin(), kept.end(), p.name) == kept.end())
      layers.push_back(p.name);
  }
  for (size_t i = 0; i < keep.size(); ++i)
    if (!used[i])
      throw UsageError(fmt::format(
          "--keep {}: no layer has this name; `frcnn inspect MODEL --tensors` lists the weights",
          keep[i]));
  return layers;
}

Calibration::Calibration(const FasterRcnn& model, const std::vector<std::string>& layers)
    : model_(model) {
  const auto& all = model.parameters().reduced_layers();
  for (const std::string& name : layers) {
    ReducedLayer& layer = *all.at(name);
    check(!layer.active(), "[quantize] {} is of reduced precision already", name);
    ValueHistogram& range = ranges_[name];
    layer.watch(
        [&range](const Tensor& x) { range.add(x.span<float>(), x.stored_elements() - x.numel()); });
  }
}

Calibration::~Calibration() {
  for (const auto& [name, range] : ranges_)
    model_.parameters().reduced_layers().at(name)->watch({});
}

Checkpoint quantize(const Checkpoint& checkpoint, const Calibration& calibration,
                    const RangeRule& rule, int64_t pictures) {
  Checkpoint out = checkpoint;
  out.optimizer.clear();
  out.averages.clear();
  out.training.clear();
  for (const auto& [name, tensor] : checkpoint.averages) out.parameters[name] = tensor;
  out.int8.attributes = {{"range", rule.string()}, {"pictures", pictures}};
  for (const auto& [name, range] : calibration.ranges()) {
    const Int8Weights weights = quantized(name, out.parameters.at(name), range, rule);
    out.parameters[name] = weights.values;
    out.int8.tensors[scales_name(name)] = weights.scales;
    out.int8.tensors[input_name(name)] = Tensor::from(
        {2}, std::vector<double>{weights.input_scale, weights.input_signed ? 1.0 : 0.0});
  }
  return out;
}

void use_int8(const FasterRcnn& model, const Calibration& calibration, const RangeRule& rule) {
  const Parameters& parameters = model.parameters();
  for (const auto& [name, range] : calibration.ranges())
    parameters.reduced_layers().at(name)->use_int8(
        quantized(name, parameters.find(name)->tensor, range, rule));
}

void use_bf16(const FasterRcnn& model) {
  for (const std::string& name : int8_layers(model, {}))
    model.parameters().reduced_layers().at(name)->use_bf16();
}

bool is_int8(const Checkpoint& checkpoint) {
  return !checkpoint.int8.tensors.empty();
}

std::string int8_text(const Checkpoint& checkpoint) {
  if (!is_int8(checkpoint)) return "";
  const TensorGroup& int8 = checkpoint.int8;
  return fmt::format("int8 ({} of {} layers; {} over {} pictures)", int8.tensors.size() / 2,
                     std::count_if(checkpoint.parameters.begin(), checkpoint.parameters.end(),
                                   [](const auto& p) {
                                     return p.second.rank() >= 2 && p.first.ends_with(kSuffix);
                                   }),
                     attribute_of<std::string>(int8, "range", "int8"),
                     attribute_of<int64_t>(int8, "pictures", "int8"));
}

void require_float(const Checkpoint& checkpoint, const std::string& name, const std::string& what) {
  check(!is_int8(checkpoint),
        "{}: holds 8-bit weights for inference (`frcnn quantize`) and cannot {}; take the model "
        "that it was made from",
        name, what);
}

Int8Weights int8_weights(const Checkpoint& checkpoint, const std::string& weight,
                         const std::string& file) {
  const auto part = [&](const std::string& name, DType dtype) {
    const auto found = checkpoint.int8.tensors.find(name);
    check(found != checkpoint.int8.tensors.end() && found->second.dtype() == dtype,
          "{}: int8/{} is missing or not of type {}", file, name, name_of(dtype));
    return found->second;
  };
  const Tensor input = part(input_name(weight), DType::f64);
  check(input.shape() == Shape{2}, "{}: int8/{} has shape {}, expected (2)", file,
        input_name(weight), input.shape().string());
  const double* numbers = input.data<double>();
  Int8Weights weights{checkpoint.parameters.at(weight), part(scales_name(weight), DType::f32),
                      static_cast<float>(numbers[0]), numbers[1] != 0};
  check(std::isfinite(weights.input_scale) && weights.input_scale > 0,
        "{}: int8/{}: expected a scale above 0, got {}", file, input_name(weight), numbers[0]);
  check(weights.scales.shape() == Shape{weights.values.dim(0)},
        "{}: int8/{} has shape {}, expected one scale for each of {} outputs", file,
        scales_name(weight), weights.scales.shape().string(), weights.values.dim(0));
  return weights;
}

void take_int8(FasterRcnn& model, Checkpoint& checkpoint, const std::string& file, bool as_float) {
  for (auto& [name, tensor] : checkpoint.parameters) {
    if (tensor.dtype() != DType::i8) continue;
    const Int8Weights weights = int8_weights(checkpoint, name, file);
    const Parameter* parameter = model.parameters().find(name);
    const auto& layers = model.parameters().reduced_layers();
    check(parameter && layers.contains(name), "{}: 8-bit weight {} has no place in the model", file,
          name);
    check(parameter->tensor.shape() == tensor.shape(), "{}: {} has shape {}, the model needs {}",
          file, name, tensor.shape().string(), parameter->tensor.shape().string());
    if (as_float || model.device().is_gpu())
      tensor = dequantized(weights);
    else
      layers.at(name)->use_int8(weights);
  }
}

Tensor dequantized(const Int8Weights& weights) {
  Tensor plain = Tensor::empty(weights.values.shape());
  const int64_t outputs = plain.dim(0);
  kernels::cpu::dequantize_weights(outputs, plain.numel() / outputs, weights.values.data<int8_t>(),
                                   weights.scales.data<float>(), plain.data<float>());
  return plain;
}

}  // namespace frcnn
