#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "engine/device.h"
#include "model/config.h"

namespace frcnn::apps {

/// `frcnn train --overfit N`, a test of a set-up before days are spent on it: can the detector
/// learn N pictures by heart? It trains on them alone, without mirroring, multi-scale and dropout,
/// at constant learning rates, and measures mAP on the same pictures. Annotations that are read
/// wrongly, anchors that don't fit, a loss that does not reach the weights or a rate far off all
/// show as a FAIL within minutes.
struct OverfitResult {
  bool passed = false;
  int64_t steps = 0;
  double first_loss = 0, loss = 0;  ///< means of the first and the last round over the pictures
  double mean_ap = 0;               ///< area under the curve, at IoU 0.5
  std::vector<std::string> pictures;
  /// What was changed in the settings, one line each; then, for a FAIL, where to look.
  std::vector<std::string> changes, hints;
};

/// The settings with which it trains. Without backbone.weights the rates of a fine-tuning do not
/// fit: Adam with a warm-up then takes the place of the optimiser. Each change adds a line.
Config overfit_config(const Config& config, std::vector<std::string>& changes);

/// The first `count` usable pictures in the order of the seed's first epoch. Not usable are
/// pictures on which no detector of these settings can reach mAP 1: without an object that counts,
/// with objects of one class that overlap by more than test.nms_iou, or smaller than
/// rpn.test.min_size or test.min_size. Error when there are fewer.
Dataset overfit_pictures(const Dataset& training, const Config& config, int64_t count);

/// Trains until the mean loss of a round is below 5 % of the first one's (or 0.1) and mAP is 1, at
/// most `most_steps` updates. Prints progress.
OverfitResult overfit(const Config& config, const Dataset& training, int64_t count,
                      int64_t most_steps, Device device);

/// "overfit: PASS mAP 1.000 on 4 pictures after 240 steps, loss 4.21 -> 0.06".
std::string verdict(const OverfitResult& result);

}  // namespace frcnn::apps
