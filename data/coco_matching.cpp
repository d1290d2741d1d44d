#include "data/coco_matching.h"

#include <algorithm>
#include <numeric>

#include "kernels/launch/parallel.h"

namespace frcnn {
namespace {

/// A box as COCO has it.
struct CornerSize {
  double x = 0, y = 0, w = 0, h = 0;

  explicit CornerSize(const Box& box)
      : x(box.x1), y(box.y1), w(double{box.x2} - box.x1), h(double{box.y2} - box.y1) {}
  double area() const { return w * h; }
};

struct Truth {
  CornerSize box;
  double area = 0;
  bool crowd = false, ignored = false;
};

/// Intersection over union; over the detection's own area where the object is a crowd.
double overlap(const CornerSize& found, const Truth& object) {
  const CornerSize& box = object.box;
  const double w = std::min(found.w + found.x, box.w + box.x) - std::max(found.x, box.x);
  if (w <= 0) return 0;
  const double h = std::min(found.h + found.y, box.h + box.y) - std::max(found.y, box.y);
  if (h <= 0) return 0;
  const double inter = w * h;
  return inter / (object.crowd ? found.area() : found.area() + box.area() - inter);
}

bool outside(double area, CocoArea range) {
  return area < kCocoAreaRanges[range][0] || area > kCocoAreaRanges[range][1];
}

/// Objects and detections of one class in one picture, best detections first.
class PictureMatcher {
 public:
  void match(const std::vector<Truth>& objects, std::span<const Detection* const> found,
             std::span<CocoMatch> out) {
    ious_.resize(objects.size() * found.size());
    areas_.clear();
    for (size_t d = 0; d < found.size(); ++d) {
      const CornerSize box(found[d]->box);
      areas_.push_back(box.area());
      for (size_t g = 0; g < objects.size(); ++g)
        ious_[d * objects.size() + g] = overlap(box, objects[g]);
    }
    for (size_t range = 0; range < kCocoAreas; ++range)
      match_range(objects, static_cast<CocoArea>(range), out);
  }

 private:
  void match_range(const std::vector<Truth>& objects, CocoArea range, std::span<CocoMatch> out) {
    // Objects that count come first, so that none of the others takes a detection from them.
    order_.resize(objects.size());
    std::iota(order_.begin(), order_.end(), size_t{0});
    const auto counts = [&](size_t g) {
      return !objects[g].ignored && !outside(objects[g].area, range);
    };
    const auto middle = std::stable_partition(order_.begin(), order_.end(), counts);
    const auto counting = static_cast<size_t>(middle - order_.begin());
    for (size_t limit = 0; limit < kCocoIou.size(); ++limit) {
      taken_.assign(objects.size(), false);
      for (size_t d = 0; d < out.size(); ++d) {
        const size_t place = best(objects, counting, d, kCocoIou[limit]);
        const auto bit = static_cast<uint16_t>(1U << limit);
        if (place == objects.size()) {
          if (outside(areas_[d], range)) out[d].ignored[range] |= bit;
          continue;
        }
        taken_[place] = true;
        (place < counting ? out[d].right : out[d].ignored)[range] |= bit;
      }
    }
  }

  /// Place in order_ of the object that detection `d` takes; their number when there is none. Of
  /// equal overlaps the last object wins; one that doesn't count only when no other fits.
  size_t best(const std::vector<Truth>& objects, size_t counting, size_t d, double limit) const {
    size_t match = objects.size();
    double most = limit;
    for (size_t place = 0; place < objects.size(); ++place) {
      const size_t g = order_[place];
      if (taken_[place] && !objects[g].crowd) continue;
      if (match < counting && place >= counting) break;
      const double iou = ious_[d * objects.size() + g];
      if (iou < most) continue;
      most = iou;
      match = place;
    }
    return match;
  }

  std::vector<double> ious_, areas_;
  std::vector<size_t> order_;
  std::vector<bool> taken_;
};

/// Positions of the pictures in the order that breaks ties: by COCO id where all have one.
std::vector<int32_t> places_of_pictures(const Dataset& truth) {
  std::vector<int32_t> order(truth.images.size()), places(truth.images.size());
  std::iota(order.begin(), order.end(), 0);
  const auto number = [&](int32_t i) { return truth.images[static_cast<size_t>(i)].number; };
  if (std::all_of(order.begin(), order.end(), [&](int32_t i) { return number(i) >= 0; }))
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t a, int32_t b) { return number(a) < number(b); });
  for (size_t i = 0; i < order.size(); ++i)
    places[static_cast<size_t>(order[i])] = static_cast<int32_t>(i);
  return places;
}

/// Objects of one class, by picture.
using Objects = std::vector<std::vector<Truth>>;

CocoClassMatches match_class(const Objects& objects, const std::vector<int32_t>& places,
                             std::vector<const Detection*> found) {
  CocoClassMatches out;
  for (const auto& picture : objects) {
    int32_t counted = 0;
    for (const Truth& object : picture) {
      if (object.ignored) ++out.ignored_objects;
      if (object.ignored) continue;
      ++counted;
      for (size_t range = 0; range < kCocoAreas; ++range)
        if (!outside(object.area, static_cast<CocoArea>(range))) ++out.objects[range];
    }
    out.objects_of_image.push_back(counted);
  }
  const auto place = [&](const Detection* d) { return places[static_cast<size_t>(d->image)]; };
  std::stable_sort(found.begin(), found.end(), [&](const Detection* a, const Detection* b) {
    return place(a) != place(b) ? place(a) < place(b) : a->score > b->score;
  });
  PictureMatcher matcher;
  for (size_t begin = 0, end = 0; begin < found.size(); begin = end) {
    while (end < found.size() && found[end]->image == found[begin]->image) ++end;
    const size_t kept = std::min<size_t>(end - begin, kCocoMostDetections);
    const size_t first = out.ranked.size();
    for (size_t i = 0; i < kept; ++i) {
      const Detection& d = *found[begin + i];
      out.ranked.push_back(
          {static_cast<int32_t>(d.image), static_cast<int32_t>(i), d.score, {}, {}});
    }
    matcher.match(objects[static_cast<size_t>(found[begin]->image)],
                  std::span(found).subspan(begin, kept), std::span(out.ranked).subspan(first));
  }
  std::stable_sort(out.ranked.begin(), out.ranked.end(),
                   [](const CocoMatch& a, const CocoMatch& b) { return a.score > b.score; });
  return out;
}

}  // namespace

std::vector<CocoClassMatches> match_coco(const Dataset& truth,
                                         const std::vector<Detection>& detections) {
  check_detections(truth, detections);
  const size_t classes = truth.class_names.size();
  std::vector<Objects> objects(classes, Objects(truth.images.size()));
  for (size_t i = 0; i < truth.images.size(); ++i)
    for (const Object& object : truth.images[i].objects) {
      const CornerSize box(object.box);
      objects[static_cast<size_t>(object.label)][i].push_back(
          {box, object.area >= 0 ? object.area : box.area(), object.crowd,
           object.crowd || object.difficult});
    }
  std::vector<std::vector<const Detection*>> found(classes);
  for (const Detection& d : detections) found[static_cast<size_t>(d.label)].push_back(&d);
  const std::vector<int32_t> places = places_of_pictures(truth);
  std::vector<CocoClassMatches> out(classes);
  // Largest and smallest classes in turn, so that every thread gets about as much to do.
  std::vector<size_t> by_size(classes), order;
  std::iota(by_size.begin(), by_size.end(), size_t{0});
  std::stable_sort(by_size.begin(), by_size.end(),
                   [&](size_t a, size_t b) { return found[a].size() > found[b].size(); });
  const auto threads = static_cast<size_t>(std::max(1, kernels::num_threads()));
  for (size_t first = 0; first < threads; ++first)
    for (size_t i = first; i < classes; i += threads) order.push_back(by_size[i]);
  kernels::parallel_for(static_cast<int64_t>(classes), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const size_t label = order[static_cast<size_t>(i)];
      out[label] = match_class(objects[label], places, std::move(found[label]));
    }
  });
  return out;
}

double coco_average_precision(std::span<CocoPoint> points) {
  for (size_t i = points.size(); i-- > 1;)
    points[i - 1].precision = std::max(points[i - 1].precision, points[i].precision);
  double sum = 0;
  size_t at = 0;
  for (int i = 0; i <= 100; ++i) {
    while (at < points.size() && points[at].recall < i * 0.01) ++at;
    if (at == points.size()) break;
    sum += points[at].precision;
  }
  return sum / 101;
}

double coco_average_precision(const CocoClassMatches& matches, CocoArea area, size_t limit) {
  const int64_t objects = matches.objects[area];
  if (objects == 0) return -1;
  // Precision and recall change for the better only at a right detection: others need no entry.
  std::vector<CocoPoint> points;
  const unsigned bit = 1U << limit;
  int64_t right = 0, counted = 0;
  for (const CocoMatch& m : matches.ranked) {
    if (m.ignored[area] & bit) continue;
    ++counted;
    if (m.right[area] & bit) points.push_back(coco_point(++right, counted, objects));
  }
  return coco_average_precision(points);
}

double coco_recall(const CocoClassMatches& matches, CocoArea area, size_t limit, int most) {
  if (matches.objects[area] == 0) return -1;
  const auto found = std::count_if(
      matches.ranked.begin(), matches.ranked.end(),
      [&](const CocoMatch& m) { return m.rank < most && (m.right[area] & 1U << limit) != 0; });
  return static_cast<double>(found) / static_cast<double>(matches.objects[area]);
}

}  // namespace frcnn
