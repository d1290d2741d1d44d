#include "apps/overfit.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "apps/batches.h"
#include "apps/stop_signal.h"
#include "apps/terminal.h"
#include "apps/training_log.h"
#include "data/evaluate.h"
#include "data/loader.h"
#include "kernels/launch/check.h"
#include "model/trainer.h"

namespace frcnn::apps {
namespace {

bool counts(const Object& object, const Config& config) {
  return config.data.use_difficult || !object.difficult;
}

bool usable(const ImageRecord& image, const Config& config) {
  const double smallest = std::max(config.model.rpn.test.min_size, config.model.test.min_size);
  size_t objects = 0;
  for (size_t i = 0; i < image.objects.size(); ++i) {
    const Object& a = image.objects[i];
    if (!counts(a, config)) continue;
    ++objects;
    if (std::min(a.box.x2 - a.box.x1, a.box.y2 - a.box.y1) < smallest) return false;
    for (size_t k = 0; k < i; ++k) {
      const Object& b = image.objects[k];
      if (counts(b, config) && b.label == a.label && iou(a.box, b.box) > config.model.test.nms_iou)
        return false;
    }
  }
  return objects > 0;
}

/// Divides the first layer's weights by the size of its inputs. Initialisers count on inputs of
/// about 1, pictures in the range of Caffe's weights have 70: everything behind would be as much
/// too large.
double scale_first_layer(FasterRcnn& model, const ModelInput& input) {
  double squares = 0;
  for (const float x : input.images.span<float>()) squares += double(x) * double(x);
  const double size = std::sqrt(squares / static_cast<double>(input.images.numel()));
  if (size < 2) return 1;
  for (const Parameter& p : model.parameters().all()) {
    if (p.kind != ParameterKind::weight) continue;
    Tensor weight = p.tensor;
    std::vector<float> values = weight.to_vector<float>();
    for (float& w : values) w = static_cast<float>(w / size);
    weight.copy_from(Tensor::from(weight.shape(), values));
    weight.bump_version();
    return size;
  }
  return 1;
}

/// Objects that no detection of their class hits.
std::vector<std::string> missed(const Dataset& pictures, const std::vector<Detection>& found,
                                const Config& config) {
  std::vector<std::string> lines;
  for (size_t n = 0; n < pictures.images.size(); ++n)
    for (const Object& object : pictures.images[n].objects) {
      if (!counts(object, config)) continue;
      double best = 0;
      float score = 0;
      for (const Detection& d : found)
        if (d.image == static_cast<int64_t>(n) && d.label == object.label &&
            iou(d.box, object.box) > best) {
          best = iou(d.box, object.box);
          score = d.score;
        }
      if (best < 0.5)
        lines.push_back(fmt::format(
            "missed: {} at ({:.0f}, {:.0f}, {:.0f}, {:.0f}) of {}; nearest detection of its class: "
            "IoU {:.2f}, score {:.2f}",
            pictures.class_names[static_cast<size_t>(object.label)], object.box.x1, object.box.y1,
            object.box.x2, object.box.y2, pictures.images[n].id, best, score));
    }
  if (lines.size() > 8) lines.resize(8);
  return lines;
}

void add_hints(OverfitResult& result, const StepStats& round, bool weights) {
  const double rpn = round.rpn_class + round.rpn_box, roi = round.roi_class + round.roi_box;
  if (result.loss > 0.5 * result.first_loss)
    result.hints.push_back(fmt::format(
        "the loss hardly falls: try {} optimizer.lr, or look whether the layers are frozen "
        "(backbone.frozen_until)",
        weights ? "a larger or smaller" : "another"));
  if (rpn > 0.3 && rpn > roi)
    result.hints.emplace_back(
        "most of the loss is the RPN's: compare anchors.sizes and anchors.ratios with the objects "
        "(the coverage that `frcnn train` prints)");
  if (roi > 0.3 && roi >= rpn)
    result.hints.emplace_back(
        "most of the loss is the detection head's: look at the boxes and classes of these pictures "
        "(`frcnn inspect --data`), and at roi.box_std and roi.init");
  if (result.hints.empty())
    result.hints.emplace_back(
        "the losses are small but objects are missed: look at test.score, test.nms_iou and "
        "rpn.test, or give more --overfit-steps");
}

}  // namespace

Config overfit_config(const Config& config, std::vector<std::string>& changes) {
  Config c = config;
  c.train.epochs = 0;
  c.train.iter_size = 1;
  c.train.ema = 0;
  c.data.flip = false;
  c.data.augment = {};
  c.data.balance = 0;
  c.model.roi.dropout = 0;
  c.model.preprocess.train_shorter_sides.clear();
  c.optimizer.schedule = "constant";
  for (OptimizerOverride* own : {&c.optimizer.backbone, &c.optimizer.rpn, &c.optimizer.detector}) {
    own->schedule.reset();
    own->lr_steps.reset();
  }
  changes.emplace_back(
      "no mirroring or other augmentation, one scale, no dropout, no moving average of weights, "
      "one pass per step, "
      "constant learning rates");
  if (!c.model.backbone.weights.empty() || c.model.backbone.name == "onnx") return c;
  c.optimizer.backbone = c.optimizer.rpn = c.optimizer.detector = {};
  c.optimizer.method = "adam";
  // A step of Adam moves every weight by about lr, and a unit by lr times its number of inputs:
  // 25,088 for VGG16's fc6, against some hundred in a tiny network.
  c.optimizer.lr = c.model.backbone.name == "tiny" ? 2e-3 : 3e-5;
  c.optimizer.weight_decay = 0;
  c.optimizer.bias_lr_factor = 1;
  c.optimizer.clip_norm = 10;
  c.optimizer.warmup_steps = 20;
  changes.push_back(
      fmt::format("no backbone.weights: adam, lr {:g} after {} steps of warm-up, gradients clipped "
                  "at {:g}, in place of the optimiser for fine-tuning",
                  c.optimizer.lr, c.optimizer.warmup_steps, c.optimizer.clip_norm));
  return c;
}

Dataset overfit_pictures(const Dataset& training, const Config& config, int64_t count) {
  Dataset chosen;
  chosen.name = training.name;
  chosen.root = training.root;
  chosen.class_names = training.class_names;
  for (const int64_t index :
       epoch_order(static_cast<int64_t>(training.images.size()), config.train.seed, 0)) {
    if (static_cast<int64_t>(chosen.images.size()) == count) break;
    const ImageRecord& image = training.images[static_cast<size_t>(index)];
    if (usable(image, config)) chosen.images.push_back(image);
  }
  check(static_cast<int64_t>(chosen.images.size()) == count,
        "--overfit {}: {} has only {} pictures on which mAP 1 can be reached; the others have no "
        "objects, objects below rpn.test.min_size, or objects of one class that overlap by more "
        "than test.nms_iou",
        count, training.name, chosen.images.size());
  return chosen;
}

OverfitResult overfit(const Config& given, const Dataset& training, int64_t count,
                      int64_t most_steps, Device device) {
  OverfitResult result;
  const Dataset pictures = overfit_pictures(training, given, count);
  for (const ImageRecord& image : pictures.images) result.pictures.push_back(image.id);
  Config config = overfit_config(given, result.changes);
  config.train.batch = static_cast<int>(std::min<int64_t>(config.train.batch, count));
  config.train.steps = most_steps;
  const bool weights = !config.model.backbone.weights.empty();
  Trainer trainer(config, pictures.class_names, most_steps, device);
  Loader loader(pictures, training_settings(config));
  const int64_t round_steps = (count + config.train.batch - 1) / config.train.batch;
  // At least ten updates: single rounds over few pictures jump.
  const int64_t window = round_steps * std::max<int64_t>(1, 10 / round_steps);
  LogWindow round;
  Progress progress("overfit", most_steps);
  StepStats mean;
  while (trainer.steps() < most_steps && !stop_requested()) {
    const Batch batch = loader.next();
    const ModelInput input = to_model_input(batch.samples);
    if (trainer.steps() == 0 && !weights && config.model.backbone.name != "onnx") {
      const double size = scale_first_layer(trainer.model(), input);
      if (size > 1)
        result.changes.push_back(fmt::format(
            "no backbone.weights: the first layer's weights divided by {:.1f}, the size of the "
            "pixels",
            size));
      for (const std::string& change : result.changes)
        std::fprintf(stderr, "overfit    %s\n", change.c_str());
    }
    trainer.accumulate(input, to_ground_truth(batch.samples, config.data.use_difficult));
    const StepStats stats = trainer.update();
    round.add(stats.updates > 0 ? stats : trainer.collect());
    const int64_t step = trainer.steps();
    progress.update(
        step, fmt::format("loss {:.4f} (rpn {:.3f} + {:.3f}, roi {:.3f} + {:.3f})", mean.total,
                          mean.rpn_class, mean.rpn_box, mean.roi_class, mean.roi_box));
    if (step % window != 0 && step != most_steps) continue;
    mean = round.mean();
    round = LogWindow();
    if (result.first_loss == 0) result.first_loss = mean.total;
    result.loss = mean.total;
    result.steps = step;
    if (result.loss > std::max(0.1, 0.05 * result.first_loss) && step != most_steps) continue;
    progress.finish();
    const auto found = detect_all(trainer.model(), pictures, config.model.preprocess, config.data);
    if (stop_requested()) break;
    result.mean_ap = evaluate_voc(pictures, found).map_area;
    std::fprintf(stderr, "step %ld: loss %.4f, mAP %.4f on the same pictures\n",
                 static_cast<long>(step), result.loss, result.mean_ap);
    result.passed =
        result.mean_ap > 0.9999 && result.loss <= std::max(0.1, 0.05 * result.first_loss);
    if (result.passed) return result;
    if (step == most_steps) {
      add_hints(result, mean, weights);
      for (std::string& line : missed(pictures, found, config))
        result.hints.push_back(std::move(line));
    }
  }
  return result;
}

std::string verdict(const OverfitResult& result) {
  return fmt::format("overfit: {} mAP {:.3f} on {} pictures after {} steps, loss {:.3g} -> {:.3g}",
                     result.passed ? "PASS" : "FAIL", result.mean_ap, result.pictures.size(),
                     result.steps, result.first_loss, result.loss);
}

}  // namespace frcnn::apps
