#include "model/weight_names.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

namespace frcnn {
namespace {

constexpr const char* kClassifier = "classification layer, a detector has its own";
constexpr const char* kTraining = "state of the training";

bool all_digits(const std::string& text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// What wrappers of PyTorch models and their checkpoints put in front of every name.
std::string without_wrapper(std::string name) {
  for (bool again = true; again;) {
    again = false;
    for (const char* prefix : {"module.", "state_dict.", "model_state_dict.", "model.",
                               "state_dict/", "model_state_dict/", "model/"})
      if (name.starts_with(prefix)) {
        name = name.substr(std::string(prefix).size());
        again = true;
      }
  }
  return name;
}

/// Layers of the file that Keras numbered by class, in their order: conv2d, conv2d_1, ...
std::vector<std::string> numbered_layers(const WeightFile& file, const std::string& kind) {
  std::vector<std::string> layers;
  for (const WeightEntry& entry : file.entries()) {
    const std::string layer = split_name(entry.name).layer;
    const bool is_kind = layer == kind || (layer.starts_with(kind + "_") &&
                                           all_digits(layer.substr(kind.size() + 1)));
    if (is_kind && std::find(layers.begin(), layers.end(), layer) == layers.end())
      layers.push_back(layer);
  }
  return layers;
}

/// Position of every convolution in torchvision's Sequential: convolution, batch norm if there is
/// one, and ReLU take a place each, a pooling layer one.
std::vector<std::pair<int, const LayerSpec*>> sequence(const BackboneSpec& backbone) {
  std::vector<std::pair<int, const LayerSpec*>> places;
  int at = 0;
  for (const LayerSpec& layer : backbone.layers) {
    if (layer.type != LayerSpec::Type::conv) {
      ++at;
      continue;
    }
    places.emplace_back(at, &layer);
    at += layer.batch_norm ? 3 : 2;
  }
  return places;
}

}  // namespace

const char* name_of(NameScheme scheme) {
  constexpr std::array kNames = {"frcnn", "Keras", "torchvision", "torchvision Faster R-CNN",
                                 "Caffe"};
  return kNames[static_cast<size_t>(scheme)];
}

SplitName split_name(const std::string& entry) {
  constexpr std::pair<const char*, const char*> kArrays[] = {{"weight", "weight"},
                                                             {"kernel", "weight"},
                                                             {"gamma", "weight"},
                                                             {"bias", "bias"},
                                                             {"beta", "bias"},
                                                             {"running_mean", "running_mean"},
                                                             {"moving_mean", "running_mean"},
                                                             {"running_var", "running_var"},
                                                             {"moving_variance", "running_var"}};
  const size_t at = entry.find_last_of("./");
  if (at == std::string::npos) return {entry, ""};
  const std::string tail = entry.substr(at + 1);
  for (const auto& [theirs, ours] : kArrays)
    if (tail == theirs) return {entry.substr(0, at), ours};
  return {entry, ""};
}

NameScheme recognise_names(const WeightFile& file) {
  if (file.order() == WeightOrder::keras) return NameScheme::keras;
  bool features = false, detector = false, kernels = false;
  for (const WeightEntry& entry : file.entries()) {
    const std::string name = without_wrapper(entry.name);
    detector = detector || name.starts_with("roi_heads.") || name.starts_with("rpn.head.");
    features = features || (name.starts_with("features.") && name.size() > 9 &&
                            all_digits(name.substr(9, name.find('.', 9) - 9)));
    kernels = kernels || name.ends_with("/kernel");
  }
  if (detector) return NameScheme::torchvision_detector;
  if (features) return NameScheme::torchvision;
  if (kernels) return NameScheme::keras;
  return file.format().starts_with("Caffe") ? NameScheme::caffe : NameScheme::own;
}

NameTable::NameTable(const WeightFile& file, NameScheme scheme, const BackboneSpec& backbone,
                     int hidden)
    : scheme_(scheme) {
  add_backbone(file, backbone);
  add_head(file, backbone, hidden);
}

void NameTable::add_backbone(const WeightFile& file, const BackboneSpec& backbone) {
  const auto convs = sequence(backbone);
  for (const auto& [index, layer] : convs) {
    const std::string ours = "backbone." + layer->name;
    if (scheme_ == NameScheme::torchvision || scheme_ == NameScheme::torchvision_detector) {
      const auto prefixes = scheme_ == NameScheme::torchvision
                                ? std::vector<std::string>{"features."}
                                : std::vector<std::string>{"backbone.", "backbone.features.",
                                                           "backbone.body.", "backbone.0."};
      for (const std::string& prefix : prefixes) {
        layers_[prefix + std::to_string(index)] = ours;
        if (layer->batch_norm) layers_[prefix + std::to_string(index + 1)] = ours + ".norm";
      }
      continue;
    }
    layers_[layer->name] = ours;
    if (scheme_ != NameScheme::keras) continue;
    const size_t line = layer->name.find('_');  // conv4_2 is Keras's block4_conv2
    if (line != std::string::npos && layer->name.starts_with("conv"))
      layers_["block" + layer->name.substr(4, line - 4) + "_conv" + layer->name.substr(line + 1)] =
          ours;
    for (const std::string& norm :
         {layer->name + "_bn", layer->name + "_norm", "bn_" + layer->name, layer->name + "/norm"})
      layers_[norm] = ours + ".norm";
  }
  if (scheme_ != NameScheme::keras) return;
  const auto numbered = numbered_layers(file, "conv2d");
  const auto norms = numbered_layers(file, "batch_normalization");
  if (numbered.size() != convs.size()) return;
  for (size_t i = 0; i < convs.size(); ++i) {
    layers_[numbered[i]] = "backbone." + convs[i].second->name;
    if (norms.size() == convs.size())
      layers_[norms[i]] = "backbone." + convs[i].second->name + ".norm";
  }
}

void NameTable::add_head(const WeightFile& file, const BackboneSpec& backbone, int hidden) {
  const auto dense = [](int i) { return "head.fc" + std::to_string(6 + i); };
  switch (scheme_) {
    case NameScheme::own:
      break;
    case NameScheme::keras: {
      const auto numbered = numbered_layers(file, "dense");
      for (int i = 0; i < static_cast<int>(numbered.size()); ++i)
        layers_[numbered[static_cast<size_t>(i)]] = i < hidden ? dense(i) : "";
      for (int i = 0; i < hidden; ++i)
        layers_["fc" + std::to_string(1 + i)] = layers_["fc" + std::to_string(6 + i)] = dense(i);
      for (const char* last : {"predictions", "fc3", "fc8", "fc1000", "probs"})
        layers_.try_emplace(last, "");
      break;
    }
    case NameScheme::torchvision: {
      // Dropout stands before the first dense layer of AlexNet, after that of VGG.
      const bool dropout_first = backbone.name == "alexnet";
      const std::array places = dropout_first ? std::array{1, 4, 6} : std::array{0, 3, 6};
      for (int i = 0; i < 3; ++i)
        layers_["classifier." + std::to_string(places[static_cast<size_t>(i)])] =
            i < 2 && i < hidden ? dense(i) : "";
      break;
    }
    case NameScheme::torchvision_detector:
      layers_["rpn.head.conv"] = layers_["rpn.head.conv.0.0"] = "rpn.conv";
      layers_["rpn.head.cls_logits"] = "rpn.cls";
      layers_["rpn.head.bbox_pred"] = "rpn.box";
      for (int i = 0; i < hidden; ++i)
        layers_["roi_heads.box_head.fc" + std::to_string(6 + i)] = dense(i);
      // The classifier of VGG16 or AlexNet as the head's hidden layers.
      layers_["roi_heads.box_head.0"] = layers_["roi_heads.box_head.1"] = dense(0);
      layers_["roi_heads.box_head.3"] = layers_["roi_heads.box_head.4"] = dense(1);
      layers_["roi_heads.box_predictor.cls_score"] = "head.cls";
      layers_["roi_heads.box_predictor.bbox_pred"] = "head.box";
      break;
    case NameScheme::caffe:
      for (int i = 0; i < hidden; ++i) layers_["fc" + std::to_string(6 + i)] = dense(i);
      // The window layer is called rpn_conv/3x3 in VGG16's definition, rpn_conv1 in ZF's.
      layers_["rpn_conv/3x3"] = layers_["rpn_conv1"] = layers_["rpn_conv"] = "rpn.conv";
      layers_["rpn_cls_score"] = "rpn.cls";
      layers_["rpn_bbox_pred"] = "rpn.box";
      layers_["cls_score"] = "head.cls";
      layers_["bbox_pred"] = "head.box";
      layers_["fc8"] = "";
      break;
  }
}

std::optional<NameTable::Place> NameTable::find(const std::string& entry) const {
  const std::string name = without_wrapper(entry);
  if (name.ends_with("num_batches_tracked") || name.starts_with("optimizer") ||
      name.starts_with("moment"))
    return Place{"", kTraining};
  if (scheme_ == NameScheme::own)
    for (const char* part : {"backbone.", "rpn.", "head."})
      if (name.starts_with(part)) return Place{name, ""};
  const SplitName split = split_name(name);
  const auto at = layers_.find(split.layer);
  if (at == layers_.end() || split.array.empty()) {
    if (scheme_ == NameScheme::caffe && name.starts_with("fc8")) return Place{"", kClassifier};
    return std::nullopt;
  }
  if (at->second.empty()) return Place{"", kClassifier};
  return Place{at->second + "." + split.array, ""};
}

}  // namespace frcnn
