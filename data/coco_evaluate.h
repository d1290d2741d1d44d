#pragma once

#include <array>
#include <string>
#include <vector>

#include "data/evaluate.h"

namespace frcnn {

/// The twelve numbers of the COCO benchmark for boxes; -1 where no object counts.
struct CocoNumbers {
  double ap = -1, ap50 = -1, ap75 = -1;
  double ap_small = -1, ap_medium = -1, ap_large = -1;
  double ar1 = -1, ar10 = -1, ar100 = -1;
  double ar_small = -1, ar_medium = -1, ar_large = -1;
};

/// Name, definition and place of one of them.
struct CocoNumberName {
  const char* name;        ///< as in JSON: "ap", "ap50" ...
  const char* definition;  ///< half a sentence
  double CocoNumbers::*value;
};
/// In the order in which they are published.
const std::array<CocoNumberName, 12>& coco_number_names();

struct CocoClassResult {
  std::string name;
  CocoNumbers numbers;
  int64_t objects = 0, ignored_objects = 0;  ///< ignored: crowds and difficult ones
};

struct CocoResult {
  CocoNumbers numbers;  ///< means over the classes that have objects
  std::vector<CocoClassResult> classes;
};

/// The COCO metric (cocodataset.org, "Detection evaluation"), with the rules of its published
/// program pycocotools, whose numbers these are:
/// - Of a picture and class the 100 detections of highest score count.
/// - They take, best first, the free object of their class with the greatest IoU >= the limit; of
///   equal ones the last. A crowd can be taken by many; the IoU with it is the intersection over
///   the detection's area.
/// - A detection that took a crowd or an object outside the area range is neither right nor wrong,
///   nor is one that took nothing and lies outside the range itself. Object.area, or the box's area
///   without one, decides.
/// - Of equal scores the picture with the smaller COCO id comes first (position in the set where
///   pictures have no ids), within a picture the detection that was given first.
/// - AP is the mean of the interpolated precision at the recalls 0, 0.01 .. 1, AR the greatest
///   recall; both are means over classes and, where no limit is named, over IoU 0.5, 0.55 .. 0.95.
/// Difficult objects, which COCO doesn't know, are ignored like one outside the area range.
/// Coordinates and scores are float32: an IoU within 1e-7 of a limit may fall on its other side.
/// Throws Error as evaluate_voc() does.
CocoResult evaluate_coco(const Dataset& truth, const std::vector<Detection>& detections);

}  // namespace frcnn
