#include "model/import_setup.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <nlohmann/json.hpp>

#include "kernels/launch/check.h"
#include "model/options.h"

namespace frcnn {
namespace {

/// The settings in a file of this program, with an imported backbone's definition.
std::optional<Config> own_config(const WeightFile& file) {
  const auto text = [&](const char* key) {
    const auto at = file.metadata().find(key);
    return at == file.metadata().end() ? std::string() : at->second;
  };
  if (text("format") != "frcnn" || text("config").empty()) return std::nullopt;
  const std::string name = file.path().string();
  Config config = parse_config(text("config"), name + " (config)");
  if (config.model.backbone.name == "onnx" && !text("network").empty())
    config.model.backbone.network =
        std::make_shared<const Network>(network_from_json(text("network"), name));
  return config;
}

/// Means and deviations that `frcnn export` noted for torchvision.
void set_noted_pictures(PreprocessConfig& p, const WeightFile& file) {
  const auto at = file.metadata().find("torchvision");
  if (at == file.metadata().end()) return;
  const auto json = nlohmann::json::parse(at->second, nullptr, /*allow_exceptions=*/false);
  const auto read = [&](const char* key, std::vector<double>& out) {
    if (!json.is_object() || !json.contains(key) || !json[key].is_array()) return;
    std::vector<double> values;
    for (const auto& value : json[key])
      if (value.is_number()) values.push_back(value.get<double>());
    if (values.size() == 3) out = values;
  };
  read("image_mean", p.mean);
  read("image_std", p.stddev);
}

const std::vector<std::string>& voc_names() {
  static const std::vector<std::string> kNames = {
      "aeroplane", "bicycle",     "bird",  "boat",        "bottle", "bus",      "car",
      "cat",       "chair",       "cow",   "diningtable", "dog",    "horse",    "motorbike",
      "person",    "pottedplant", "sheep", "sofa",        "train",  "tvmonitor"};
  return kNames;
}

/// Shape in our order: (out, in, height, width), (out, in).
std::vector<int64_t> own_shape(const WeightEntry& entry, WeightOrder order) {
  const Shape& s = entry.shape;
  if (order == WeightOrder::keras || entry.name.ends_with("/kernel")) {
    if (s.rank() == 4) return {s[3], s[2], s[0], s[1]};
    if (s.rank() == 2) return {s[1], s[0]};
  }
  std::vector<int64_t> dims(s.dims().begin(), s.dims().end());
  while (dims.size() > 2 && dims.front() == 1) dims.erase(dims.begin());  // old Caffe files
  return dims;
}

/// Shapes of the file's arrays under the names of our parameters.
class Shapes {
 public:
  Shapes(const WeightFile& file, NameScheme scheme, const BackboneSpec& backbone) {
    constexpr int kMostHidden = 2;  // as many dense layers as the imported nets have
    const NameTable table(file, scheme, backbone, kMostHidden);
    for (const WeightEntry& entry : file.entries())
      if (const auto place = table.find(entry.name); place && !place->parameter.empty())
        shapes_.emplace(place->parameter, own_shape(entry, file.order()));
  }
  /// nullptr when there is none of that name or rank.
  const std::vector<int64_t>* find(const std::string& name, size_t least_rank) const {
    const auto at = shapes_.find(name);
    return at == shapes_.end() || at->second.size() < least_rank ? nullptr : &at->second;
  }
  /// Whether every convolution of the backbone is there with its size.
  int64_t fitting(const BackboneSpec& backbone) const {
    int64_t in = 3, count = 0;
    for (const LayerSpec& layer : backbone.layers) {
      if (layer.type != LayerSpec::Type::conv) continue;
      const auto* shape = find("backbone." + layer.name + ".weight", 4);
      if (shape && *shape == std::vector<int64_t>{layer.channels, in, layer.kernel, layer.kernel})
        ++count;
      in = layer.channels;
    }
    return count;
  }

 private:
  std::map<std::string, std::vector<int64_t>> shapes_;
};

BackboneSpec spec_of(const std::string& network) {
  BackboneConfig config;
  config.name = network;
  config.frozen_until = "";
  return backbone_spec(config);
}

/// The built-in network most of whose convolutions the file has.
std::string guess_network(const WeightFile& file, NameScheme scheme) {
  std::string best;
  int64_t most = 0;
  for (const char* name : {"vgg16", "zf", "alexnet"}) {
    const BackboneSpec spec = spec_of(name);
    const int64_t count = Shapes(file, scheme, spec).fitting(spec);
    if (count > most) {
      most = count;
      best = name;
    }
  }
  check(!file.format().starts_with("ONNX"),
        "{}: a network in ONNX becomes a backbone as a whole: set backbone.name = \"onnx\" and "
        "backbone.onnx (docs/backbones.md)",
        file.path().string());
  check(!best.empty(),
        "{}: no convolution of vgg16, zf or alexnet was found in it by name and size; give the "
        "network with --config, and names with --map",
        file.path().string());
  return best;
}

/// Rules of torchvision's detectors (FasterRCNN's defaults).
void set_torchvision_rules(ModelConfig& model) {
  model.preprocess.shorter_side = 800;
  model.preprocess.longer_side = 1333;
  model.preprocess.rounding = "floor";
  model.preprocess.pad_multiple = 32;
  model.anchors.rounding = "torchvision";
  model.anchors.centre = "corner";
  model.anchors.stride_rule = "map";
  model.rpn.objectness = "sigmoid";
  model.rpn.only_inside = false;
  model.rpn.size_filter = "after";
  model.rpn.train = {2000, 2000, 0.7, 0.001};
  model.rpn.test = {1000, 1000, 0.7, 0.001};
  model.roi.layer = "roi_align_legacy";
  model.roi.sampling_ratio = 2;
  model.roi.batch = 512;
  model.test = {0.05, 0.5, 100, 0.01};
}

void set_anchors(AnchorConfig& anchors, int64_t per_cell, const std::string& file) {
  if (per_cell == static_cast<int64_t>(anchors.sizes.size() * anchors.ratios.size())) return;
  check(per_cell % 3 == 0,
        "{}: the RPN has {} anchors per cell; give their sizes and ratios with --config", file,
        per_cell);
  // Powers of two that end at 512, as the usual sets do.
  anchors.sizes.clear();
  for (int64_t i = per_cell / 3; i > 0; --i) anchors.sizes.push_back(std::ldexp(1024, -int(i)));
}

}  // namespace

std::optional<PreprocessConfig> preprocess_of(const WeightFile& file, NameScheme scheme,
                                              const std::string& backbone) {
  if (const auto config = own_config(file)) return config->model.preprocess;
  PreprocessConfig p;
  switch (scheme) {
    case NameScheme::own:
      return std::nullopt;
    case NameScheme::keras:
      if (backbone != "vgg16") return std::nullopt;
      p.mean = {103.939, 116.779, 123.68};
      return p;
    case NameScheme::torchvision:
    case NameScheme::torchvision_detector:
      p.channels = "rgb";
      p.scale = 1.0 / 255;
      p.mean = {0.485, 0.456, 0.406};
      p.stddev = {0.229, 0.224, 0.225};
      set_noted_pictures(p, file);
      return p;
    case NameScheme::caffe:
      return p;
  }
  return std::nullopt;
}

namespace {

/// Settings that follow from the shapes in the file and from the program that made it.
void derive_config(ModelConfig& model, const WeightFile& file, NameScheme scheme,
                   const BackboneSpec& spec, const Shapes& shapes, bool detector) {
  if (const auto p = preprocess_of(file, scheme, spec.name)) {
    model.preprocess.channels = p->channels;
    model.preprocess.scale = p->scale;
    model.preprocess.mean = p->mean;
    model.preprocess.stddev = p->stddev;
  }
  model.backbone.ceil_mode = scheme == NameScheme::caffe;
  if (const auto* fc6 = shapes.find("head.fc6.weight", 2)) {
    const auto* fc7 = shapes.find("head.fc7.weight", 2);
    model.roi.hidden = {static_cast<int>((*fc6)[0])};
    if (fc7) model.roi.hidden.push_back(static_cast<int>((*fc7)[0]));
    int64_t inputs = 1;
    for (size_t i = 1; i < fc6->size(); ++i) inputs *= (*fc6)[i];
    const int64_t cells = inputs / spec.out_channels();
    const auto side = std::llround(std::sqrt(static_cast<double>(cells)));
    if (side > 0 && side <= 64 && side * side * spec.out_channels() == inputs)
      model.roi.pooled_height = model.roi.pooled_width = static_cast<int>(side);
  }
  if (!detector) return;
  if (scheme == NameScheme::torchvision_detector) set_torchvision_rules(model);
  const auto* rpn = shapes.find("rpn.conv.weight", 4);
  const auto* box = shapes.find("head.box.weight", 2);
  const auto* cls = shapes.find("head.cls.weight", 2);
  model.rpn.channels = static_cast<int>((*rpn)[0]);
  model.rpn.window = static_cast<int>((*rpn)[2]);
  model.roi.class_agnostic = (*box)[0] == 4 && (*cls)[0] > 1;
  set_anchors(model.anchors, (*shapes.find("rpn.box.weight", 2))[0] / 4, file.path().string());
}

/// Names of the classes: given, those of the file, or made up for as many as are scored.
void name_classes(ImportSetup& setup, const WeightFile& file, const Shapes& shapes,
                  const std::vector<std::string>& classes) {
  const int64_t scored = setup.detector ? (*shapes.find("head.cls.weight", 2))[0] - 1 : 0;
  const auto stored = file.metadata().find("classes");
  if (!classes.empty()) {
    setup.classes = classes;
  } else if (stored != file.metadata().end() && !stored->second.empty()) {
    const std::string& names = stored->second;
    for (size_t at = 0; at <= names.size();) {
      const size_t end = std::min(names.find('\n', at), names.size());
      setup.classes.push_back(names.substr(at, end - at));
      at = end + 1;
    }
  } else if (scored > 0) {
    setup.made_names = true;
    if (scored == static_cast<int64_t>(voc_names().size()))
      setup.classes = voc_names();
    else
      for (int64_t i = 1; i <= scored; ++i) setup.classes.push_back(fmt::format("class{}", i));
  }
  if (!setup.detector) return;
  check(scored == static_cast<int64_t>(setup.classes.size()),
        "{}: scores {} classes and the background, {} names were given", file.path().string(),
        scored, setup.classes.size());
  setup.config.data.classes = setup.classes;
}

ImportSetup complete(Config config, const WeightFile& file, NameScheme scheme, bool derive,
                     const std::vector<std::string>& classes) {
  ImportSetup setup;
  setup.config = std::move(config);
  const BackboneSpec spec = backbone_spec(setup.config.model.backbone);
  const Shapes shapes(file, scheme, spec);
  setup.detector = shapes.find("head.cls.weight", 2) && shapes.find("head.box.weight", 2) &&
                   shapes.find("rpn.conv.weight", 4) && shapes.find("rpn.box.weight", 2);
  if (derive) derive_config(setup.config.model, file, scheme, spec, shapes, setup.detector);
  name_classes(setup, file, shapes, classes);
  check_config(setup.config, file.path().string());
  return setup;
}

}  // namespace

ImportSetup setup_for(const WeightFile& file, const std::string& network,
                      const std::vector<std::string>& classes) {
  const NameScheme scheme = recognise_names(file);
  if (auto own = own_config(file)) {
    check(network.empty() || network == own->model.backbone.name,
          "{}: is of a {} network, which cannot be loaded as {}", file.path().string(),
          own->model.backbone.name, network);
    return complete(std::move(*own), file, scheme, /*derive=*/false, classes);
  }
  Config config;
  config.model.backbone.name = network.empty() ? guess_network(file, scheme) : network;
  // The default names a layer of VGG16; of ZF the paper trains all.
  if (config.model.backbone.name != "vgg16") config.model.backbone.frozen_until = "";
  return complete(std::move(config), file, scheme, /*derive=*/true, classes);
}

ImportSetup setup_for(const WeightFile& file, const Config& config,
                      const std::vector<std::string>& classes) {
  return complete(config, file, recognise_names(file), /*derive=*/false, classes);
}

}  // namespace frcnn
