#include "data/evaluate.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

/// IoU with `extra` pixels added to every width and height.
double overlap(const Box& a, const Box& b, double extra) {
  const double w = double{std::min(a.x2, b.x2)} - std::max(a.x1, b.x1) + extra;
  const double h = double{std::min(a.y2, b.y2)} - std::max(a.y1, b.y1) + extra;
  if (!(w > 0 && h > 0)) return 0;
  const auto area = [extra](const Box& box) {
    return (double{box.x2} - box.x1 + extra) * (double{box.y2} - box.y1 + extra);
  };
  return w * h / (area(a) + area(b) - w * h);
}

struct Truth {
  Box box;
  bool difficult = false;
  bool matched = false;
};

/// Object that the detection overlaps most, and by how much; null when it overlaps none.
Truth* best_match(std::vector<Truth>& objects, const Box& box, double extra, double& best) {
  Truth* match = nullptr;
  best = 0;
  for (Truth& object : objects) {
    const double value = overlap(object.box, box, extra);
    if (value > best) best = value, match = &object;
  }
  return match;
}

ClassResult evaluate_class(const Dataset& truth, int label,
                           const std::vector<const Detection*>& ranked,
                           const EvaluateOptions& options) {
  ClassResult result;
  result.name = truth.class_names[static_cast<size_t>(label)];
  std::vector<std::vector<Truth>> objects(truth.images.size());
  for (size_t i = 0; i < truth.images.size(); ++i) {
    for (const Object& object : truth.images[i].objects) {
      if (object.label != label) continue;
      const bool ignored = object.difficult || object.crowd;
      objects[i].push_back({object.box, ignored, false});
      ++(ignored ? result.difficult : result.objects);
    }
  }
  result.detections = static_cast<int64_t>(ranked.size());
  for (const Detection* d : ranked) {
    double best = 0;
    Truth* match =
        best_match(objects[static_cast<size_t>(d->image)], d->box, options.plus_one ? 1 : 0, best);
    const bool hit = match != nullptr && best >= options.iou;
    if (hit && match->difficult) continue;
    const bool right = hit && !match->matched;
    if (right) match->matched = true;
    ++(right ? result.true_positives : result.false_positives);
    const auto found = static_cast<double>(result.true_positives);
    result.curve.push_back(
        {result.objects > 0 ? found / static_cast<double>(result.objects) : 0,
         found / static_cast<double>(result.true_positives + result.false_positives), d->score,
         d->image, right});
  }
  result.ap_area = result.objects > 0 ? area_ap(result.curve) : kNone;
  result.ap_11point = result.objects > 0 ? eleven_point_ap(result.curve) : kNone;
  return result;
}

}  // namespace

void check_detections(const Dataset& truth, const std::vector<Detection>& detections) {
  for (size_t i = 0; i < detections.size(); ++i) {
    const Detection& d = detections[i];
    check(d.image >= 0 && d.image < static_cast<int64_t>(truth.images.size()),
          "[evaluate] detection {}: expected a picture below {}, got {}", i, truth.images.size(),
          d.image);
    check(d.label >= 0 && d.label < static_cast<int>(truth.class_names.size()),
          "[evaluate] detection {}: expected a label below {}, got {}", i, truth.class_names.size(),
          d.label);
    check(std::isfinite(d.score) && std::isfinite(d.box.x1) && std::isfinite(d.box.y1) &&
              std::isfinite(d.box.x2) && std::isfinite(d.box.y2),
          "[evaluate] detection {}: expected finite numbers, got score {}, box ({}, {}, {}, {})", i,
          d.score, d.box.x1, d.box.y1, d.box.x2, d.box.y2);
  }
  for (const ImageRecord& image : truth.images)
    for (const Object& object : image.objects)
      check(object.label >= 0 && object.label < static_cast<int>(truth.class_names.size()),
            "[evaluate] picture {}: expected objects with a label below {}, got {}", image.id,
            truth.class_names.size(), object.label);
}

double area_ap(const std::vector<PrPoint>& curve) {
  // Interpolated precision at a recall: the best precision at that or a higher one.
  double area = 0, best = 0;
  for (size_t i = curve.size(); i-- > 0;) {
    best = std::max(best, curve[i].precision);
    area += best * (curve[i].recall - (i > 0 ? curve[i - 1].recall : 0.0));
  }
  return area;
}

double eleven_point_ap(const std::vector<PrPoint>& curve) {
  double sum = 0;
  for (int i = 0; i <= 10; ++i) {
    // As i * step in double, like the evaluators that published numbers come from: a recall of
    // exactly 0.3, 0.6 or 0.7 stays just below its threshold there.
    const double threshold = i * 0.1;
    double best = 0;
    for (const PrPoint& point : curve)
      if (point.recall >= threshold) best = std::max(best, point.precision);
    sum += best;
  }
  return sum / 11;
}

EvaluationResult evaluate_voc(const Dataset& truth, const std::vector<Detection>& detections,
                              const EvaluateOptions& options) {
  check(options.iou > 0 && options.iou <= 1, "[evaluate] expected an IoU limit in (0, 1], got {}",
        options.iou);
  check_detections(truth, detections);
  std::vector<std::vector<const Detection*>> ranked(truth.class_names.size());
  for (const Detection& d : detections) ranked[static_cast<size_t>(d.label)].push_back(&d);
  EvaluationResult result;
  result.iou = options.iou;
  int64_t counted = 0;
  for (size_t label = 0; label < ranked.size(); ++label) {
    std::stable_sort(ranked[label].begin(), ranked[label].end(),
                     [](const Detection* a, const Detection* b) { return a->score > b->score; });
    result.classes.push_back(
        evaluate_class(truth, static_cast<int>(label), ranked[label], options));
    const ClassResult& entry = result.classes.back();
    if (entry.objects == 0) continue;
    ++counted;
    result.map_area += entry.ap_area;
    result.map_11point += entry.ap_11point;
  }
  result.map_area = counted > 0 ? result.map_area / static_cast<double>(counted) : kNone;
  result.map_11point = counted > 0 ? result.map_11point / static_cast<double>(counted) : kNone;
  return result;
}

}  // namespace frcnn
