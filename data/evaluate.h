#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace frcnn {

/// One detected object, in pixels of the picture.
struct Detection {
  int64_t image = 0;  ///< position in Dataset::images
  int label = 0;
  float score = 0;
  Box box;
};

struct EvaluateOptions {
  double iou = 0.5;  ///< a detection is right when its IoU is at least this
  /// Adds 1 to every width and height, as the devkit does with boxes that name their first and last
  /// pixel. Boxes of a VOC set were converted to continuous ones when read, so their plain IoU *is*
  /// the devkit's; only for boxes given as raw inclusive pixels (text files) is this to be set.
  bool plus_one = false;
};

/// The state after one more detection was counted.
struct PrPoint {
  double recall = 0, precision = 0;
  float score = 0;
  int64_t image = 0;   ///< of the detection
  bool right = false;  ///< it is a true positive
};

struct ClassResult {
  std::string name;
  double ap_area = 0;     ///< VOC 2010 and later: area under the interpolated curve
  double ap_11point = 0;  ///< VOC 2007: mean of interpolated precision at recall 0, 0.1 .. 1
  int64_t objects = 0;    ///< without the next ones
  int64_t difficult = 0;  ///< difficult objects and crowds
  int64_t detections = 0;
  int64_t true_positives = 0, false_positives = 0;  ///< the rest hit difficult ones: ignored
  std::vector<PrPoint> curve;                       ///< one point per counted detection
};

struct EvaluationResult {
  double iou = 0.5;
  /// Means over the classes that have objects; NaN when none has.
  double map_area = 0, map_11point = 0;
  std::vector<ClassResult> classes;
};

/// Average precision as the VOC devkit computes it. Detections of a class are taken by falling
/// score (equal scores: in the order given). Each is matched to the object of its picture and class
/// that it overlaps most; with IoU >= options.iou it is a true positive if that object was not
/// matched before, else a false positive; if the object is difficult, or a crowd, which the devkit
/// doesn't know, the detection is not counted. Classes
/// without objects have AP NaN and don't enter the means. Throws Error for a detection with a label
/// or picture out of range, or a score or coordinate that is not finite.
EvaluationResult evaluate_voc(const Dataset& truth, const std::vector<Detection>& detections,
                              const EvaluateOptions& options = {});

/// Throws Error for a detection with a label or picture out of range, or a score or coordinate that
/// is not finite, and for an object with a label out of range.
void check_detections(const Dataset& truth, const std::vector<Detection>& detections);

/// Area and 11-point AP of one precision-recall curve (recall not falling).
double area_ap(const std::vector<PrPoint>& curve);
double eleven_point_ap(const std::vector<PrPoint>& curve);

}  // namespace frcnn
