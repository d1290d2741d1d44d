#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "data/evaluate.h"

namespace frcnn {

/// The ten IoU limits of COCO, 0.5 to 0.95. These are the doubles of numpy.linspace(0.5, 0.95, 10),
/// with which published numbers are computed: the ninth is the one below 0.9.
inline constexpr std::array<double, 10> kCocoIou = {
    0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.8999999999999999, 0.95};

/// Area ranges in pixels; both ends belong to a range.
enum CocoArea : size_t { kAreaAll, kAreaSmall, kAreaMedium, kAreaLarge, kCocoAreas };
inline constexpr std::array<std::array<double, 2>, kCocoAreas> kCocoAreaRanges = {
    {{0, 1e10}, {0, 1024}, {1024, 9216}, {9216, 1e10}}};

/// Detections of one picture and class that count at all: the best ones.
inline constexpr int kCocoMostDetections = 100;

/// One detection after matching. Bit t of the masks belongs to kCocoIou[t].
struct CocoMatch {
  int32_t image = 0;  ///< position in Dataset::images
  int32_t rank = 0;   ///< among the detections of its picture and class, 0: the best
  float score = 0;
  std::array<uint16_t, kCocoAreas> right{};    ///< found an object that counts
  std::array<uint16_t, kCocoAreas> ignored{};  ///< neither right nor wrong
};

/// All detections of one class.
struct CocoClassMatches {
  std::vector<CocoMatch> ranked;  ///< by falling score; ties by picture, then in the order given
  std::array<int64_t, kCocoAreas> objects{};  ///< objects that count
  int64_t ignored_objects = 0;                ///< crowds and difficult ones
  std::vector<int32_t> objects_of_image;      ///< those that count (all areas) per picture
};

/// Matches detections to objects by COCO's rules (see data/coco_evaluate.h), classes in parallel.
/// Throws Error as evaluate_voc() does.
std::vector<CocoClassMatches> match_coco(const Dataset& truth,
                                         const std::vector<Detection>& detections);

/// Recall and precision where a right detection has been counted.
struct CocoPoint {
  double recall = 0, precision = 0;
};
/// `right` of `objects` found among `counted` detections.
inline CocoPoint coco_point(int64_t right, int64_t counted, int64_t objects) {
  // The epsilon is the published evaluator's; it keeps every digit equal.
  return {static_cast<double>(right) / static_cast<double>(objects),
          static_cast<double>(right) / (static_cast<double>(counted) + 0x1p-52)};
}
/// Mean of the interpolated precision at the recalls 0, 0.01 .. 1 of points of rising recall, whose
/// precisions are overwritten.
double coco_average_precision(std::span<CocoPoint> points);

/// Average precision at IoU limit number `limit`. -1 without objects.
double coco_average_precision(const CocoClassMatches& matches, CocoArea area, size_t limit);

/// Share of the objects found at IoU limit `limit` by the best `most` detections of each picture;
/// -1 without objects.
double coco_recall(const CocoClassMatches& matches, CocoArea area, size_t limit, int most);

}  // namespace frcnn
