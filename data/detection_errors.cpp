#include "data/detection_errors.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

using Wide = BasicBox<double>;

Wide wide(const Box& box) {
  return {box.x1, box.y1, box.x2, box.y2};
}

/// Share of `box` that lies in `region`.
double share_inside(const Wide& box, const Wide& region) {
  const double w = std::min(box.x2, region.x2) - std::max(box.x1, region.x1);
  const double h = std::min(box.y2, region.y2) - std::max(box.y1, region.y1);
  return w > 0 && h > 0 ? w * h / box.area() : 0;
}

/// A detection after it was judged, and what correcting it makes of it.
struct Judged {
  int label = 0;
  float score = 0;
  bool right = false;
  ErrorKind kind = ErrorKind::background;  ///< where it is wrong
  int corrected_label = -1;                ///< class in which it becomes right; -1: it vanishes
};

struct Target {
  Wide box;
  int label = 0;
  int64_t place = 0;         ///< in ImageRecord::objects
  bool found = false;        ///< by a right detection
  bool correctable = false;  ///< by correcting an error
};

/// Judges one picture after the other.
class Judge {
 public:
  Judge(const Dataset& truth, const std::vector<Detection>& detections, const ErrorOptions& options,
        ErrorResult& out)
      : truth_(truth), detections_(detections), options_(options), out_(out) {
    objects.resize(truth.class_names.size());
    missed.resize(truth.class_names.size());
    not_found.resize(truth.class_names.size());
  }

  void picture(int64_t image, std::vector<int64_t> found) {
    split(truth_.images[static_cast<size_t>(image)]);
    std::stable_sort(found.begin(), found.end(),
                     [&](int64_t a, int64_t b) { return detection(a).score > detection(b).score; });
    if (options_.most > 0 && found.size() > static_cast<size_t>(options_.most))
      found.resize(static_cast<size_t>(options_.most));
    const std::vector<bool> right = take(found);
    for (size_t d = 0; d < found.size(); ++d) {
      const Detection& it = detection(found[d]);
      if (right[d])
        judged.push_back({it.label, it.score, true, {}, -1});
      else if (!ignored(it))
        judge_wrong(image, found[d], d);
    }
    for (const Target& target : targets_) {
      const auto label = static_cast<size_t>(target.label);
      if (target.found) continue;
      ++not_found[label];
      if (target.correctable) continue;
      ++missed[label];
      add(ErrorKind::missed, image, -1, target.place);
    }
  }

  std::vector<Judged> judged;                       ///< those that count
  std::vector<int64_t> objects, missed, not_found;  ///< by class

 private:
  const Detection& detection(int64_t i) const { return detections_[static_cast<size_t>(i)]; }

  void split(const ImageRecord& image) {
    targets_.clear();
    regions_.clear();
    for (size_t i = 0; i < image.objects.size(); ++i) {
      const Object& object = image.objects[i];
      if (object.difficult || object.crowd) {
        regions_.push_back(&object);
        continue;
      }
      ++objects[static_cast<size_t>(object.label)];
      targets_.push_back({wide(object.box), object.label, static_cast<int64_t>(i), false, false});
    }
  }

  /// Best first, each takes the free object of its class that it overlaps most.
  std::vector<bool> take(const std::vector<int64_t>& found) {
    std::vector<bool> right;
    ious_.clear();
    for (const int64_t i : found) {
      double best = 0;
      Target* taken = nullptr;
      for (Target& target : targets_) {
        const double value = iou(wide(detection(i).box), target.box);
        ious_.push_back(value);
        if (target.label != detection(i).label || target.found || value <= best) continue;
        best = value, taken = &target;
      }
      right.push_back(best >= options_.right);
      if (right.back()) taken->found = true;
    }
    return right;
  }

  bool ignored(const Detection& it) const {
    const Wide box = wide(it.box);
    return std::any_of(regions_.begin(), regions_.end(), [&](const Object* region) {
      if (region->label != it.label) return false;
      return region->crowd ? share_inside(box, wide(region->box)) > options_.right
                           : iou(box, wide(region->box)) >= options_.right;
    });
  }

  /// Greatest overlap of detection number `d` of the picture with the targets that `fits`.
  template <typename Fits>
  double best(size_t d, Target*& target, const Fits& fits) {
    double most = 0;
    target = nullptr;
    for (size_t g = 0; g < targets_.size(); ++g) {
      const double value = ious_[d * targets_.size() + g];
      if (!fits(targets_[g]) || value <= most) continue;
      most = value, target = &targets_[g];
    }
    return most;
  }

  void judge_wrong(int64_t image, int64_t index, size_t d) {
    const Detection& it = detection(index);
    const auto same = [&](const Target& t) { return t.label == it.label; };
    Target* target = nullptr;
    const double at_own = best(d, target, same);
    if (target != nullptr && at_own >= options_.background && at_own <= options_.right)
      return wrong(ErrorKind::localisation, image, index, target);
    if (best(d, target, [&](const Target& t) { return !same(t); }) >= options_.right)
      return wrong(ErrorKind::classification, image, index, target);
    if (best(d, target, [&](const Target& t) { return same(t) && t.found; }) >= options_.right)
      return wrong(ErrorKind::duplicate, image, index, target);
    const bool nothing = best(d, target, [](const Target&) { return true; }) <= options_.background;
    wrong(nothing ? ErrorKind::background : ErrorKind::both, image, index,
          nothing ? nullptr : target);
  }

  void wrong(ErrorKind kind, int64_t image, int64_t index, Target* target) {
    Judged entry{detection(index).label, detection(index).score, false, kind, -1};
    const bool corrects = kind == ErrorKind::localisation || kind == ErrorKind::classification;
    // The best error of an object comes first and is the one that gets it.
    if (corrects && !target->found && !target->correctable) {
      target->correctable = true;
      entry.corrected_label = target->label;
    }
    judged.push_back(entry);
    add(kind, image, index, target != nullptr ? target->place : -1);
  }

  void add(ErrorKind kind, int64_t image, int64_t index, int64_t object) {
    ++out_.kinds[static_cast<size_t>(kind)].count;
    out_.errors.push_back({kind, image, index, object});
  }

  const Dataset& truth_;
  const std::vector<Detection>& detections_;
  const ErrorOptions options_;
  ErrorResult& out_;
  std::vector<Target> targets_;
  std::vector<const Object*> regions_;
  std::vector<double> ious_;  // (detections of the picture, targets)
};

struct Ranked {
  float score = 0;
  bool right = false;
};

double average_precision(std::vector<Ranked> ranked, int64_t objects) {
  if (objects <= 0) return 0;
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const Ranked& a, const Ranked& b) { return a.score > b.score; });
  std::vector<PrPoint> points;  // at the right ones; between them precision only falls
  int64_t right = 0;
  for (size_t i = 0; i < ranked.size(); ++i) {
    if (!ranked[i].right) continue;
    ++right;
    points.push_back({static_cast<double>(right) / static_cast<double>(objects),
                      static_cast<double>(right) / static_cast<double>(i + 1), 0});
  }
  for (size_t i = points.size(); i-- > 1;)
    points[i - 1].precision = std::max(points[i - 1].precision, points[i].precision);
  double sum = 0;
  size_t at = 0;
  for (int i = 0; i <= 100; ++i) {
    while (at < points.size() && points[at].recall < i / 100.0) ++at;
    if (at == points.size()) break;
    sum += points[at].precision;
  }
  return sum / 101;
}

/// Mean AP over the classes with objects or detections, of the lists by class.
double mean_ap(const std::vector<std::vector<Ranked>>& lists, const std::vector<int64_t>& objects) {
  double sum = 0;
  int64_t classes = 0;
  for (size_t label = 0; label < lists.size(); ++label) {
    if (lists[label].empty() && objects[label] == 0) continue;
    sum += average_precision(lists[label], objects[label]);
    ++classes;
  }
  return classes > 0 ? sum / static_cast<double>(classes)
                     : std::numeric_limits<double>::quiet_NaN();
}

/// The same with errors of one kind corrected; kErrorKinds: none.
double corrected_ap(const Judge& judge, size_t kind) {
  std::vector<std::vector<Ranked>> lists(judge.objects.size());
  for (const Judged& it : judge.judged) {
    const bool corrected = !it.right && static_cast<size_t>(it.kind) == kind;
    if (!corrected)
      lists[static_cast<size_t>(it.label)].push_back({it.score, it.right});
    else if (it.corrected_label >= 0)
      lists[static_cast<size_t>(it.corrected_label)].push_back({it.score, true});
  }
  std::vector<int64_t> objects = judge.objects;
  if (kind == static_cast<size_t>(ErrorKind::missed))
    for (size_t label = 0; label < objects.size(); ++label) objects[label] -= judge.missed[label];
  return mean_ap(lists, objects);
}

/// With right detections ranked before all others.
double ranked_ap(const Judge& judge) {
  std::vector<std::vector<Ranked>> lists(judge.objects.size());
  for (const Judged& it : judge.judged)
    lists[static_cast<size_t>(it.label)].push_back({it.right ? 1.0F : 0.0F, it.right});
  return mean_ap(lists, judge.objects);
}

/// Without the objects that were not found.
double found_ap(const Judge& judge) {
  std::vector<std::vector<Ranked>> lists(judge.objects.size());
  for (const Judged& it : judge.judged)
    lists[static_cast<size_t>(it.label)].push_back({it.score, it.right});
  std::vector<int64_t> objects = judge.objects;
  for (size_t label = 0; label < objects.size(); ++label) objects[label] -= judge.not_found[label];
  return mean_ap(lists, objects);
}

}  // namespace

const char* error_kind_name(ErrorKind kind) {
  static constexpr std::array<const char*, kErrorKinds> kNames = {
      "classification", "localisation", "both", "duplicate", "background", "missed"};
  return kNames[static_cast<size_t>(kind)];
}

ErrorResult detection_errors(const Dataset& truth, const std::vector<Detection>& detections,
                             const ErrorOptions& options) {
  check(options.background > 0 && options.background < options.right && options.right <= 1,
        "[detection errors] expected 0 < background < right <= 1, got {} and {}",
        options.background, options.right);
  check_detections(truth, detections);
  std::vector<std::vector<int64_t>> found(truth.images.size());
  for (size_t i = 0; i < detections.size(); ++i)
    found[static_cast<size_t>(detections[i].image)].push_back(static_cast<int64_t>(i));
  ErrorResult out;
  out.options = options;
  Judge judge(truth, detections, options, out);
  for (size_t i = 0; i < found.size(); ++i)
    judge.picture(static_cast<int64_t>(i), std::move(found[i]));
  out.map = corrected_ap(judge, kErrorKinds);
  for (size_t kind = 0; kind < kErrorKinds; ++kind)
    if (out.kinds[kind].count > 0)
      out.kinds[kind].gain = std::max(0.0, corrected_ap(judge, kind) - out.map);
  out.false_positive_gain = ranked_ap(judge) - out.map;
  out.false_negative_gain = found_ap(judge) - out.map;
  return out;
}

}  // namespace frcnn
