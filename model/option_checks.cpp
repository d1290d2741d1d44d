#include <algorithm>
#include <set>

#include "kernels/launch/check.h"
#include "model/options.h"

namespace frcnn {
namespace {

template <typename... Args>
void require(bool condition, const std::string& name, fmt::format_string<Args...> format,
             Args&&... args) {
  if (!condition) throw UsageError(name + ": " + fmt::format(format, std::forward<Args>(args)...));
}

void check_model(const ModelConfig& model, const std::string& name) {
  const auto& pre = model.preprocess;
  require(pre.shorter_side <= pre.longer_side, name,
          "preprocess.shorter_side = {} must not be above preprocess.longer_side = {}",
          pre.shorter_side, pre.longer_side);
  const auto& backbone = model.backbone;
  require(backbone.tiny_channels.size() == backbone.tiny_strides.size(), name,
          "backbone.tiny_channels has {} values but backbone.tiny_strides has {}",
          backbone.tiny_channels.size(), backbone.tiny_strides.size());
  require(backbone.name == "onnx" || (backbone.onnx.empty() && backbone.cut.empty()), name,
          "backbone.onnx and backbone.cut are for backbone.name = \"onnx\", not for \"{}\"",
          backbone.name);
  require(backbone.name != "onnx" || !backbone.onnx.empty() || backbone.network, name,
          "backbone.name = \"onnx\" needs backbone.onnx, the file of the network");
  const auto& rpn = model.rpn;
  require(rpn.window % 2 == 1, name, "rpn.window = {} must be odd", rpn.window);
  require(rpn.negative_iou <= rpn.positive_iou, name,
          "rpn.negative_iou = {} must not be above rpn.positive_iou = {}", rpn.negative_iou,
          rpn.positive_iou);
  const auto& roi = model.roi;
  require(roi.background_low <= roi.background_high, name,
          "roi.background_low = {} must not be above roi.background_high = {}", roi.background_low,
          roi.background_high);
  require(roi.background_high <= roi.foreground_iou, name,
          "roi.background_high = {} must not be above roi.foreground_iou = {}", roi.background_high,
          roi.foreground_iou);
}

void check_steps(const std::vector<double>& steps, const std::string& key,
                 const std::string& name) {
  require(std::is_sorted(steps.begin(), steps.end()), name, "{} must be in ascending order", key);
}

void check_training(const Config& config, const std::string& name) {
  const OptimizerConfig& optimizer = config.optimizer;
  check_steps(optimizer.lr_steps, "optimizer.lr_steps", name);
  for (const auto& [part, key] : {std::pair(&optimizer.backbone, "optimizer.backbone.lr_steps"),
                                  std::pair(&optimizer.rpn, "optimizer.rpn.lr_steps"),
                                  std::pair(&optimizer.detector, "optimizer.detector.lr_steps")})
    if (part->lr_steps) check_steps(*part->lr_steps, key, name);
  require(config.train.steps > 0 || config.train.epochs > 0, name,
          "train.steps or train.epochs must be above 0");
}

void check_data(const DataConfig& data, const std::string& name) {
  require(!data.train_split.empty(), name, "data.train_split must not be empty");
  std::set<std::string> seen;
  for (const std::string& label : data.classes) {
    require(!label.empty(), name, "data.classes has an empty name");
    require(label != "background" && label != "__background__", name,
            "data.classes must not name the background ('{}'); it is always there", label);
    require(seen.insert(label).second, name, "data.classes has '{}' twice", label);
  }
}

}  // namespace

void check_config(const Config& config, const std::string& name) {
  check_model(config.model, name);
  check_training(config, name);
  check_data(config.data, name);
}

}  // namespace frcnn
