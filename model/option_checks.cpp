#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

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
  for (const int side : pre.train_shorter_sides)
    require(
        side <= pre.longer_side, name,
        "preprocess.train_shorter_sides has {}, which must not be above preprocess.longer_side = "
        "{}",
        side, pre.longer_side);
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
  // The samplers' own rounding (model/targets.h).
  require(static_cast<int64_t>(rpn.batch * rpn.positive_fraction) >= 1, name,
          "rpn.positive_fraction = {} of rpn.batch = {} anchors leaves no positive one; it must be "
          "{:.4g} to 1",
          rpn.positive_fraction, rpn.batch, 1.0 / rpn.batch);
  require(std::llround(roi.batch * roi.foreground_fraction) >= 1, name,
          "roi.foreground_fraction = {} of roi.batch = {} RoIs leaves no foreground; it must be "
          "{:.4g} to 1",
          roi.foreground_fraction, roi.batch, 1.0 / roi.batch);
}

/// Settings of one branch with the common ones where it has none. `section` is "optimizer" or
/// "optimizer.rpn", ...: a message names the key that was written.
void check_optimizer(const OptimizerConfig& common, const OptimizerOverride& own,
                     const std::string& section, const std::string& name) {
  const auto key = [&](bool has_own, const char* field) {
    return fmt::format("{}.{}", has_own ? section : "optimizer", field);
  };
  const std::string method = own.method.value_or(common.method);
  const double lr = own.lr.value_or(common.lr), momentum = own.momentum.value_or(common.momentum);
  require(!method.starts_with("adam") || lr <= 1, name,
          "{} = {} must be 0 to 1 with method \"{}\", whose steps are about lr for every weight; "
          "0.0001 to 0.001 is usual",
          key(own.lr.has_value(), "lr"), lr, method);
  require(method != "nesterov" || momentum > 0, name,
          "{} = {} must be above 0 with method \"nesterov\"; plain descent is \"sgd\"",
          key(own.momentum.has_value(), "momentum"), momentum);
  const std::vector<double>& steps = own.lr_steps ? *own.lr_steps : common.lr_steps;
  require(std::is_sorted(steps.begin(), steps.end()), name, "{} = [{}] must be in ascending order",
          key(own.lr_steps.has_value(), "lr_steps"), fmt::join(steps, ", "));
}

/// A branch's number that its schedule or method does not use is a mistake.
void check_used(const OptimizerConfig& common, const OptimizerOverride& own,
                const std::string& section, const std::string& name) {
  const std::string schedule = own.schedule.value_or(common.schedule);
  const std::string method = own.method.value_or(common.method);
  const bool falls = schedule == "cosine" || schedule == "polynomial";
  const std::tuple<const char*, bool, bool> fields[] = {
      {"lr_steps", own.lr_steps.has_value(), schedule == "step"},
      {"gamma", own.gamma.has_value(), schedule == "step"},
      {"final_share", own.final_share.has_value(), falls},
      {"power", own.power.has_value(), schedule == "polynomial"},
      {"beta2", own.beta2.has_value(), method.starts_with("adam")},
      {"epsilon", own.epsilon.has_value(), method.starts_with("adam")}};
  for (const auto& [field, given, used] : fields)
    require(!given || used, name,
            "{}.{} has no effect with method \"{}\" and schedule \"{}\"; remove it or set "
            "{}.method or {}.schedule",
            section, field, method, schedule, section, section);
}

void check_training(const Config& config, const std::string& name) {
  const OptimizerConfig& optimizer = config.optimizer;
  check_optimizer(optimizer, {}, "optimizer", name);
  for (const auto& [own, section] : {std::pair(&optimizer.backbone, "optimizer.backbone"),
                                     std::pair(&optimizer.rpn, "optimizer.rpn"),
                                     std::pair(&optimizer.detector, "optimizer.detector")}) {
    check_optimizer(optimizer, *own, section, name);
    check_used(optimizer, *own, section, name);
  }
  const TrainConfig& train = config.train;
  require(train.steps > 0 || train.epochs > 0, name, "train.steps or train.epochs must be above 0");
  const bool alternating = train.scheme == "alternating";
  require(
      train.stage_steps.empty() || (alternating && train.stage_steps.size() == 4), name,
      "train.stage_steps has {} values, expected 4 with train.scheme = \"alternating\" and none "
      "otherwise",
      train.stage_steps.size());
  require(train.stage_backbone_lr.empty() || (alternating && train.stage_backbone_lr.size() == 2),
          name,
          "train.stage_backbone_lr has {} values, expected 2 with train.scheme = \"alternating\" "
          "and none otherwise",
          train.stage_backbone_lr.size());
  require(train.scheme != "non_approximate_joint" || config.model.roi.layer != "roi_pool", name,
          "train.scheme = \"non_approximate_joint\" needs roi.layer \"precise_roi\", "
          "\"roi_align\" or \"roi_align_legacy\": \"roi_pool\" has no gradient in the proposals' "
          "coordinates");
  require(
      !config.model.rpn.tiles || train.scheme == "rpn_only", name,
      "rpn.tiles = true is for train.scheme = \"rpn_only\", not for \"{}\", whose proposals come "
      "from the whole map",
      train.scheme);
  const bool given = train.scheme == "detector_only";
  require(!given || !config.data.proposals.empty(), name,
          "train.scheme = \"detector_only\" needs data.proposals, a file of `frcnn propose`");
  require(given || config.data.proposals.empty(), name,
          "data.proposals is for train.scheme = \"detector_only\", not for \"{}\"", train.scheme);
  require(given || config.data.val_proposals.empty(), name,
          "data.val_proposals is for train.scheme = \"detector_only\", not for \"{}\"",
          train.scheme);
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
  for (const auto& [from, to] : data.class_map) {
    require(!from.empty() && !to.empty(), name, "data.class_map has an empty name");
    require(data.classes.empty() || seen.count(to) != 0, name,
            "data.class_map renames '{}' to '{}', which data.classes does not have", from, to);
  }
}

/// Proposals that are kept in files lie on the pictures as they are.
void check_augmentation(const Config& config, const std::string& name) {
  const AugmentConfig& a = config.data.augment;
  const std::string& scheme = config.train.scheme;
  if (scheme != "alternating" && scheme != "detector_only") return;
  for (const auto& [key, share] :
       {std::pair("crop", a.crop), std::pair("rotate", a.rotate), std::pair("mosaic", a.mosaic)})
    require(share == 0, name,
            "data.augment.{} = {} must be 0 with train.scheme = \"{}\", whose proposals are made "
            "once for the pictures as they are; colours, data.flip and "
            "preprocess.train_shorter_sides may be changed",
            key, share, scheme);
}

}  // namespace

void check_config(const Config& config, const std::string& name) {
  check_model(config.model, name);
  check_training(config, name);
  check_data(config.data, name);
  check_augmentation(config, name);
}

}  // namespace frcnn
