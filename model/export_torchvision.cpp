#include <algorithm>
#include <nlohmann/json.hpp>

#include "kernels/boxes/anchors.h"
#include "kernels/launch/check.h"
#include "model/export_safetensors.h"
#include "model/options.h"

namespace frcnn {
namespace {

using Json = nlohmann::ordered_json;

/// Collects the tensors and the description while it walks the model.
class Converter {
 public:
  Converter(const FasterRcnn& model, const Config& config) : model_(model), config_(config) {}

  TorchvisionModel take(const std::vector<std::string>& classes,
                        const std::string& program_version) {
    check_model();
    backbone();
    rpn();
    head();
    pictures();
    find_differences();
    std::string names;
    for (const std::string& name : classes) names += (names.empty() ? "" : "\n") + name;
    out_.metadata = {{"format", "pt"},
                     {"frcnn_version", program_version},
                     {"frcnn_config", to_toml(config_)},
                     {"classes", names},
                     {"torchvision", json_.dump()}};
    return std::move(out_);
  }

 private:
  const ModelConfig& settings() const { return config_.model; }
  const BackboneSpec& spec() const { return model_.backbone_spec(); }

  void check_model() const;
  void backbone();
  void conv(const LayerSpec& layer, int64_t in_channels);
  void rpn();
  void head();
  void pictures();
  void find_differences();

  /// A parameter on the host in row-major order.
  std::vector<float> values(const std::string& name) const {
    const Parameter* p = model_.parameters().find(name);
    FRCNN_INVARIANT(p != nullptr);
    return p->tensor.to_vector<float>();
  }
  const Shape& shape(const std::string& name) const {
    return model_.parameters().find(name)->tensor.shape();
  }
  void put(const std::string& name, const Shape& shape, const std::vector<float>& values) {
    out_.tensors.emplace_back(name, Tensor::from(shape, values));
  }
  /// As it is, under another name.
  void copy(const std::string& name, const std::string& ours) {
    put(name, shape(ours), values(ours));
  }
  void differs(std::string sentence) { out_.differences.push_back(std::move(sentence)); }

  const FasterRcnn& model_;
  const Config& config_;
  TorchvisionModel out_;
  Json json_;
};

void Converter::check_model() const {
  const ModelConfig& m = settings();
  constexpr const char* kAdvice = "export it as --format safetensors or onnx instead";
  check(!spec().imported, "backbone.name = \"{}\": torchvision has no class for this backbone; {}",
        m.backbone.name, kAdvice);
  check(m.preprocess.keep_aspect,
        "preprocess.keep_aspect = false: torchvision keeps the picture's shape; {}", kAdvice);
  check(m.anchors.unit == "pixels" && m.anchors.combine == "all",
        "anchors.unit = \"{}\", anchors.combine = \"{}\": torchvision has every size with every "
        "ratio, in pixels; {}",
        m.anchors.unit, m.anchors.combine, kAdvice);
  const int64_t map = spec().out_channels();
  const int64_t window = shape("rpn.conv.weight")[0];
  check(m.rpn.window == 3 && window == map,
        "rpn.window = {}, rpn.channels = {}: torchvision's RPN has a window of 3 and the width of "
        "the map, {}; {}",
        m.rpn.window, window, map, kAdvice);
  check(m.roi.hidden.size() == 2 && m.roi.hidden[0] == m.roi.hidden[1],
        "roi.hidden: torchvision's head has two hidden layers of one width; {}", kAdvice);
  check(m.roi.class_loss != "sigmoid",
        "roi.class_loss = \"sigmoid\": torchvision's head takes scores by softmax; {}", kAdvice);
}

void Converter::conv(const LayerSpec& layer, int64_t in_channels) {
  const std::string ours = "backbone." + layer.name;
  const std::string theirs = fmt::format("backbone.{}.", json_["backbone"].size());
  std::vector<float> weight = values(ours + ".weight");
  if (in_channels == 3 && settings().preprocess.channels == "bgr" && out_.tensors.empty()) {
    const auto area = static_cast<ptrdiff_t>(layer.kernel) * layer.kernel;
    for (auto filter = weight.begin(); filter != weight.end(); filter += 3 * area)
      std::swap_ranges(filter, filter + area, filter + 2 * area);
  }
  put(theirs + "weight", shape(ours + ".weight"), weight);
  if (!layer.batch_norm) copy(theirs + "bias", ours + ".bias");
  json_["backbone"].push_back({{"layer", "Conv2d"},
                               {"in_channels", in_channels},
                               {"out_channels", layer.channels},
                               {"kernel_size", layer.kernel},
                               {"stride", layer.stride},
                               {"padding", layer.padding},
                               {"bias", !layer.batch_norm}});
  if (!layer.batch_norm) return;
  const std::string norm = fmt::format("backbone.{}.", json_["backbone"].size());
  for (const char* part : {"weight", "bias", "running_mean", "running_var"})
    copy(norm + part, ours + ".norm." + part);
  // Counts batches for an average that nobody asked for; a state_dict() has it all the same.
  out_.tensors.emplace_back(norm + "num_batches_tracked",
                            Tensor::from(Shape{}, std::vector<int64_t>{0}));
  json_["backbone"].push_back({{"layer", "BatchNorm2d"},
                               {"num_features", layer.channels},
                               {"eps", kernels::BatchNormParams{}.epsilon}});
}

void Converter::backbone() {
  json_["backbone"] = Json::array();
  int64_t channels = 3;
  for (const LayerSpec& layer : spec().layers) {
    switch (layer.type) {
      case LayerSpec::Type::conv:
        conv(layer, channels);
        channels = layer.channels;
        json_["backbone"].push_back({{"layer", "ReLU"}});
        break;
      case LayerSpec::Type::max_pool:
        json_["backbone"].push_back({{"layer", "MaxPool2d"},
                                     {"kernel_size", layer.kernel},
                                     {"stride", layer.stride},
                                     {"padding", layer.padding},
                                     {"ceil_mode", spec().ceil_mode}});
        break;
      case LayerSpec::Type::lrn:
        json_["backbone"].push_back({{"layer", "LocalResponseNorm"},
                                     {"size", layer.lrn.size},
                                     {"alpha", layer.lrn.alpha},
                                     {"beta", layer.lrn.beta},
                                     {"k", layer.lrn.k}});
        break;
    }
  }
  json_["out_channels"] = channels;
}

void Converter::rpn() {
  const ModelConfig& m = settings();
  copy("rpn.head.conv.0.0.weight", "rpn.conv.weight");
  copy("rpn.head.conv.0.0.bias", "rpn.conv.bias");
  if (m.rpn.objectness == "sigmoid") {
    copy("rpn.head.cls_logits.weight", "rpn.cls.weight");
    copy("rpn.head.cls_logits.bias", "rpn.cls.bias");
  } else {
    // Outputs 2 a and 2 a + 1 are background and object of anchor a.
    for (const char* part : {"weight", "bias"}) {
      const std::string ours = fmt::format("rpn.cls.{}", part);
      const std::vector<float> both = values(ours);
      const int64_t anchors = shape(ours)[0] / 2;
      const size_t row = both.size() / static_cast<size_t>(2 * anchors);
      std::vector<float> object(both.size() / 2);
      for (size_t i = 0; i < object.size(); ++i) {
        const size_t background = 2 * (i / row) * row + i % row;
        object[i] = both[background + row] - both[background];
      }
      std::vector<int64_t> sizes(shape(ours).dims().begin(), shape(ours).dims().end());
      sizes[0] = anchors;
      put(fmt::format("rpn.head.cls_logits.{}", part), Shape(sizes), object);
    }
  }
  copy("rpn.head.bbox_pred.weight", "rpn.box.weight");
  copy("rpn.head.bbox_pred.bias", "rpn.box.bias");

  kernels::AnchorParams anchors;
  anchors.sizes = m.anchors.sizes;
  anchors.ratios = m.anchors.ratios;
  anchors.rounding = m.anchors.rounding == "torchvision" ? kernels::AnchorRounding::torchvision
                     : m.anchors.rounding == "none"      ? kernels::AnchorRounding::none
                                                         : kernels::AnchorRounding::paper;
  std::vector<double> boxes = kernels::base_anchors(anchors);
  // torchvision centres them on a cell's first corner.
  if (m.anchors.centre == "cell")
    for (size_t i = 0; i < boxes.size(); ++i)
      boxes[i] += static_cast<double>(spec().strides()[i % 2 ? 0 : 1]) / 2;
  Json list = Json::array();
  for (size_t i = 0; i < boxes.size(); i += 4)
    list.push_back({boxes[i], boxes[i + 1], boxes[i + 2], boxes[i + 3]});
  json_["cell_anchors"] = list;
  json_["anchor_sizes"] = m.anchors.sizes;
  json_["anchor_ratios"] = m.anchors.ratios;
  json_["rpn_pre_nms_top_n_test"] = m.rpn.test.pre_nms;
  json_["rpn_post_nms_top_n_test"] = m.rpn.test.post_nms;
  json_["rpn_nms_thresh"] = m.rpn.test.nms_iou;
}

void Converter::head() {
  const RoiConfig& roi = settings().roi;
  const int64_t classes = model_.classes();
  for (const char* part : {"weight", "bias"}) {
    copy(fmt::format("roi_heads.box_head.fc6.{}", part), fmt::format("head.fc6.{}", part));
    copy(fmt::format("roi_heads.box_head.fc7.{}", part), fmt::format("head.fc7.{}", part));
    copy(fmt::format("roi_heads.box_predictor.cls_score.{}", part),
         fmt::format("head.cls.{}", part));
  }
  std::vector<float> weight = values("head.box.weight"), bias = values("head.box.bias");
  const int64_t inputs = shape("head.box.weight")[1];
  if (roi.class_agnostic) {
    const std::vector<float> one_weight = weight, one_bias = bias;
    for (int64_t k = 0; k < classes; ++k) {
      weight.insert(weight.end(), one_weight.begin(), one_weight.end());
      bias.insert(bias.end(), one_bias.begin(), one_bias.end());
    }
  }
  // t * std + mean = (t + mean / std) * std
  for (size_t i = 0; i < bias.size(); ++i)
    bias[i] += static_cast<float>(roi.box_mean[i % 4] / roi.box_std[i % 4]);
  put("roi_heads.box_predictor.bbox_pred.weight", {4 * (classes + 1), inputs}, weight);
  put("roi_heads.box_predictor.bbox_pred.bias", {4 * (classes + 1)}, bias);

  std::vector<double> reg_weights;
  for (const double std : roi.box_std) reg_weights.push_back(1 / std);
  json_["num_classes"] = classes + 1;
  json_["representation_size"] = roi.hidden[0];
  json_["bbox_reg_weights"] = reg_weights;
  json_["roi_layer"] = roi.layer;
  json_["output_size"] = {roi.pooled_height, roi.pooled_width};
  json_["sampling_ratio"] = roi.sampling_ratio;
  json_["spatial_scale"] = 1 / static_cast<double>(spec().stride());
  json_["box_score_thresh"] = settings().test.score;
  json_["box_nms_thresh"] = settings().test.nms_iou;
  json_["box_detections_per_img"] = settings().test.max_detections;
}

void Converter::pictures() {
  const PreprocessConfig& p = settings().preprocess;
  // (v scale - mean) / std of values 0 .. 255 is (v / 255 - mean') / std'.
  std::vector<double> mean, deviation;
  for (size_t i = 0; i < 3; ++i) {
    mean.push_back(p.mean[i] / (255 * p.scale));
    deviation.push_back(p.stddev[i] / (255 * p.scale));
  }
  if (p.channels == "bgr") {
    std::reverse(mean.begin(), mean.end());
    std::reverse(deviation.begin(), deviation.end());
  }
  json_["image_mean"] = mean;
  json_["image_std"] = deviation;
  json_["min_size"] = p.shorter_side;
  json_["max_size"] = p.longer_side;
  json_["size_divisible"] = p.pad_multiple;
}

void Converter::find_differences() {
  const ModelConfig& m = settings();
  if (m.preprocess.rounding != "floor")
    differs(
        fmt::format("preprocess.rounding = \"{}\": torchvision rounds the size of pictures "
                    "down, which can make them a pixel smaller",
                    m.preprocess.rounding));
  if (m.rpn.test.min_size > 0)
    differs(fmt::format("rpn.test.min_size = {}: torchvision keeps small proposals",
                        m.rpn.test.min_size));
  if (m.test.min_size > 0)
    differs(fmt::format("test.min_size = {}: torchvision keeps small detections", m.test.min_size));
  // torchvision's stride is the picture's size divided by the map's, rounded down.
  const int64_t stride = spec().stride(), pad = m.preprocess.pad_multiple;
  int64_t odd = 0;
  for (int64_t side = (m.preprocess.shorter_side + pad - 1) / pad * pad;
       side < m.preprocess.longer_side + pad && odd == 0; side += pad)
    if (const int64_t map = spec().map_size(side); map < 1 || side / map != stride) odd = side;
  // What it does, stride_rule = "map" does too, if the centres don't depend on the stride.
  const bool same_rule = m.anchors.stride_rule == "map" && m.anchors.centre == "corner";
  if (m.anchors.stride_rule == "exact" || (odd > 0 && !same_rule))
    differs(
        fmt::format("anchors.stride_rule = \"{}\", anchors.centre = \"{}\": torchvision takes "
                    "whole pixels, and "
                    "for pictures of some sizes (a side of {}) another stride than {} (the same as "
                    "stride_rule = \"map\" with centre = \"corner\")",
                    m.anchors.stride_rule, m.anchors.centre,
                    odd > 0 ? odd : m.preprocess.shorter_side, stride));
}

}  // namespace

TorchvisionModel torchvision_model(const FasterRcnn& model, const Config& config,
                                   const std::vector<std::string>& classes,
                                   const std::string& program_version) {
  return Converter(model, config).take(classes, program_version);
}

}  // namespace frcnn
