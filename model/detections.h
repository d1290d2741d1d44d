#pragma once

#include <vector>

#include "model/config.h"
#include "model/roi_head.h"
#include "model/types.h"

namespace frcnn {

/// Final detections of each image: class probabilities by softmax (with roi.class_loss = "sigmoid"
/// one sigmoid per class), boxes decoded per class and clipped, scores above test.score, sides of
/// at least test.min_size original pixels, non-maximum suppression per class at test.nms_iou, the
/// test.max_detections best of all classes together, best first. rois (R, 5) as given to the head.
/// Boxes are in pixels of the network's input.
std::vector<std::vector<ScoredBox>> select_detections(const RoiOutput& output, const Tensor& rois,
                                                      const std::vector<InputSize>& sizes,
                                                      const RoiConfig& roi, const TestConfig& test,
                                                      int64_t classes);

}  // namespace frcnn
