#include "data/bootstrap.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "data/coco_matching.h"
#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"
#include "kernels/random/philox.h"

namespace frcnn {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

/// How often each picture was drawn.
std::vector<uint16_t> draw(size_t pictures, uint64_t seed, int64_t resample) {
  const kernels::RandomKey key{seed, kernels::kStreamBootstrap, static_cast<uint64_t>(resample)};
  std::vector<uint16_t> weights(pictures, 0);
  for (size_t i = 0; i < pictures; ++i)
    ++weights[kernels::random_below(key, i, static_cast<uint32_t>(pictures))];
  return weights;
}

/// Mean of the values that are not NaN; NaN when none is.
double mean(const std::vector<double>& values) {
  double sum = 0;
  int64_t count = 0;
  for (const double value : values)
    if (!std::isnan(value)) sum += value, ++count;
  return count > 0 ? sum / static_cast<double>(count) : kNone;
}

/// A detection that is more than one of the counted: right or left out at some limit.
struct Event {
  int32_t detection = 0;            ///< position in Ranking::images
  uint16_t right = 0, ignored = 0;  ///< a bit for each limit
};

/// Detections in their order, as a resample needs them: all are counted, few are more than that.
struct Ranking {
  std::vector<int32_t> images;  ///< the picture of each
  std::vector<Event> events;

  void add(int64_t image, uint16_t right, uint16_t ignored) {
    if (right != 0 || ignored != 0)
      events.push_back({static_cast<int32_t>(images.size()), right, ignored});
    images.push_back(static_cast<int32_t>(image));
  }
};

/// What resamples need of a class.
struct ClassData {
  Ranking voc, coco;
  std::vector<std::pair<int32_t, int32_t>> objects;  ///< pictures with objects, and how many
};

ClassData class_data(const ClassResult& voc, const CocoClassMatches& coco) {
  ClassData data;
  for (const PrPoint& point : voc.curve) data.voc.add(point.image, point.right ? 1 : 0, 0);
  for (const CocoMatch& m : coco.ranked)
    data.coco.add(m.image, m.right[kAreaAll], m.ignored[kAreaAll]);
  for (size_t i = 0; i < coco.objects_of_image.size(); ++i)
    if (coco.objects_of_image[i] > 0)
      data.objects.emplace_back(static_cast<int32_t>(i), coco.objects_of_image[i]);
  return data;
}

/// Walks through a ranking when picture i counts weights[i] times: calls at(event, weight, counted)
/// for the events of pictures that were drawn, `counted` being the weight of all detections so far.
template <typename At>
void walk(const Ranking& ranking, const std::vector<uint16_t>& weights, const At& at) {
  int64_t counted = 0;
  int32_t next = 0;
  for (const Event& event : ranking.events) {
    for (; next <= event.detection; ++next)
      counted += weights[static_cast<size_t>(ranking.images[static_cast<size_t>(next)])];
    const auto image = ranking.images[static_cast<size_t>(event.detection)];
    if (const int64_t weight = weights[static_cast<size_t>(image)]; weight > 0)
      at(event, weight, counted);
  }
}

/// The precision-recall curve of a class: between right detections precision only falls.
std::vector<PrPoint> weighted_curve(const Ranking& ranking, const std::vector<uint16_t>& weights,
                                    int64_t objects) {
  std::vector<PrPoint> curve;
  int64_t right = 0;
  walk(ranking, weights, [&](const Event&, int64_t weight, int64_t counted) {
    right += weight;
    curve.push_back({static_cast<double>(right) / static_cast<double>(objects),
                     static_cast<double>(right) / static_cast<double>(counted), 0, 0, true});
  });
  return curve;
}

/// COCO's average precision at every limit, in one walk.
std::array<double, kCocoIou.size()> coco_precisions(const Ranking& ranking,
                                                    const std::vector<uint16_t>& weights,
                                                    int64_t objects) {
  std::array<std::vector<CocoPoint>, kCocoIou.size()> points;
  std::array<int64_t, kCocoIou.size()> right{}, ignored{};
  walk(ranking, weights, [&](const Event& event, int64_t weight, int64_t counted) {
    for (size_t limit = 0; limit < kCocoIou.size(); ++limit) {
      const unsigned bit = 1U << limit;
      if (event.ignored & bit) {
        ignored[limit] += weight;
      } else if (event.right & bit) {
        right[limit] += weight;
        points[limit].push_back(coco_point(right[limit], counted - ignored[limit], objects));
      }
    }
  });
  std::array<double, kCocoIou.size()> precisions{};
  for (size_t limit = 0; limit < kCocoIou.size(); ++limit)
    precisions[limit] = coco_average_precision(points[limit]);
  return precisions;
}

/// Values of one resample.
struct Resample {
  std::vector<double> classes;
  double map_area = kNone, map_11point = kNone, coco_ap = kNone, coco_ap50 = kNone;
};

Resample measure(const std::vector<ClassData>& classes, const std::vector<uint16_t>& weights) {
  Resample out;
  std::vector<double> eleven, all, half;
  for (const ClassData& data : classes) {
    int64_t objects = 0;
    for (const auto& [image, count] : data.objects)
      objects += int64_t{weights[static_cast<size_t>(image)]} * count;
    if (objects == 0) {
      out.classes.push_back(kNone);
      continue;
    }
    const std::vector<PrPoint> curve = weighted_curve(data.voc, weights, objects);
    out.classes.push_back(area_ap(curve));
    eleven.push_back(eleven_point_ap(curve));
    const auto precisions = coco_precisions(data.coco, weights, objects);
    all.insert(all.end(), precisions.begin(), precisions.end());
    half.push_back(precisions[0]);
  }
  out.map_area = mean(out.classes);
  out.map_11point = mean(eleven);
  out.coco_ap = mean(all);
  out.coco_ap50 = mean(half);
  return out;
}

double quantile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

template <typename Value>
Interval interval(const std::string& name, double value, const std::vector<Resample>& resamples,
                  double level, const Value& value_of) {
  std::vector<double> values;
  for (const Resample& resample : resamples)
    if (const double v = value_of(resample); !std::isnan(v)) values.push_back(v);
  if (values.empty() || std::isnan(value)) return {name, kNone, kNone, kNone};
  std::sort(values.begin(), values.end());
  return {name, value, quantile(values, (1 - level) / 2), quantile(values, (1 + level) / 2)};
}

}  // namespace

BootstrapResult bootstrap(const Dataset& truth, const std::vector<Detection>& detections,
                          const EvaluationResult& result, const BootstrapOptions& options) {
  check(options.resamples > 1, "[bootstrap] expected at least 2 resamples, got {}",
        options.resamples);
  check(options.level > 0 && options.level < 1, "[bootstrap] expected a level in (0, 1), got {}",
        options.level);
  check(!truth.images.empty(), "[bootstrap] expected a data set with pictures, got none");
  const std::vector<CocoClassMatches> matches = match_coco(truth, detections);
  check(matches.size() == result.classes.size(),
        "[bootstrap] expected the VOC result of the same classes ({}), got {}", matches.size(),
        result.classes.size());
  std::vector<ClassData> classes;
  for (size_t k = 0; k < matches.size(); ++k)
    classes.push_back(class_data(result.classes[k], matches[k]));
  std::vector<Resample> resamples(static_cast<size_t>(options.resamples));
  kernels::parallel_for(options.resamples, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      resamples[static_cast<size_t>(r)] =
          measure(classes, draw(truth.images.size(), options.seed, r));
  });
  const Resample whole = measure(classes, std::vector<uint16_t>(truth.images.size(), uint16_t{1}));
  BootstrapResult out;
  out.options = options;
  out.pictures = static_cast<int64_t>(truth.images.size());
  const auto of = [&](const char* name, double value, double Resample::*field) {
    return interval(name, value, resamples, options.level,
                    [field](const Resample& r) { return r.*field; });
  };
  out.map_area = of("map_area", result.map_area, &Resample::map_area);
  out.map_11point = of("map_voc07_11point", result.map_11point, &Resample::map_11point);
  out.coco_ap = of("coco_ap", whole.coco_ap, &Resample::coco_ap);
  out.coco_ap50 = of("coco_ap50", whole.coco_ap50, &Resample::coco_ap50);
  for (size_t k = 0; k < result.classes.size(); ++k)
    out.classes.push_back(interval(result.classes[k].name, result.classes[k].ap_area, resamples,
                                   options.level, [k](const Resample& r) { return r.classes[k]; }));
  return out;
}

}  // namespace frcnn
