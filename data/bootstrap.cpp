#include "data/bootstrap.h"

#include <algorithm>
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

/// The precision-recall curve of a class when picture i counts weights[i] times.
std::vector<PrPoint> weighted_curve(const ClassResult& entry, const std::vector<uint16_t>& weights,
                                    int64_t objects) {
  std::vector<PrPoint> curve;
  int64_t right = 0, counted = 0;
  for (const PrPoint& point : entry.curve) {
    const int64_t weight = weights[static_cast<size_t>(point.image)];
    if (weight == 0) continue;
    counted += weight;
    if (!point.right) continue;  // between right ones precision only falls
    right += weight;
    curve.push_back({static_cast<double>(right) / static_cast<double>(objects),
                     static_cast<double>(right) / static_cast<double>(counted), point.score,
                     point.image, true});
  }
  return curve;
}

/// Values of one resample.
struct Resample {
  std::vector<double> classes;
  double map_area = kNone, map_11point = kNone, coco_ap = kNone, coco_ap50 = kNone;
};

Resample measure(const EvaluationResult& result, const std::vector<CocoClassMatches>& matches,
                 const std::vector<uint16_t>& weights) {
  Resample out;
  std::vector<double> eleven, all, half;
  for (size_t k = 0; k < matches.size(); ++k) {
    int64_t objects = 0;
    for (size_t i = 0; i < weights.size(); ++i)
      objects += int64_t{weights[i]} * matches[k].objects_of_image[i];
    if (objects == 0) {
      out.classes.push_back(kNone);
      continue;
    }
    const std::vector<PrPoint> curve = weighted_curve(result.classes[k], weights, objects);
    out.classes.push_back(area_ap(curve));
    eleven.push_back(eleven_point_ap(curve));
    for (size_t limit = 0; limit < kCocoIou.size(); ++limit)
      all.push_back(coco_average_precision(matches[k], kAreaAll, limit, weights));
    half.push_back(all[all.size() - kCocoIou.size()]);
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
  std::vector<Resample> resamples(static_cast<size_t>(options.resamples));
  kernels::parallel_for(options.resamples, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      resamples[static_cast<size_t>(r)] =
          measure(result, matches, draw(truth.images.size(), options.seed, r));
  });
  const Resample whole =
      measure(result, matches, std::vector<uint16_t>(truth.images.size(), uint16_t{1}));
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
