#include "data/coco_evaluate.h"

#include <algorithm>

#include "data/coco_matching.h"
#include "kernels/launch/parallel.h"

namespace frcnn {
namespace {

constexpr size_t kLimits = kCocoIou.size();
constexpr std::array<int, 3> kMost = {1, 10, kCocoMostDetections};

/// AP and AR of one class at every limit and area; all -1 where no object counts.
struct Table {
  std::array<std::array<double, kLimits>, kCocoAreas> precision{}, recall{};
  std::array<std::array<double, kLimits>, kMost.size()> recall_of_best{};  ///< all areas
};

Table measure(const CocoClassMatches& matches) {
  Table table;
  for (size_t limit = 0; limit < kLimits; ++limit) {
    for (size_t a = 0; a < kCocoAreas; ++a) {
      const auto area = static_cast<CocoArea>(a);
      table.precision[a][limit] = coco_average_precision(matches, area, limit);
      table.recall[a][limit] = coco_recall(matches, area, limit, kCocoMostDetections);
    }
    for (size_t m = 0; m < kMost.size(); ++m)
      table.recall_of_best[m][limit] = coco_recall(matches, kAreaAll, limit, kMost[m]);
  }
  return table;
}

/// Mean of the values that are defined; -1 when none is.
class Mean {
 public:
  void add(double value) {
    if (value < 0) return;
    sum_ += value;
    ++count_;
  }
  void add(const std::array<double, kLimits>& values) {
    for (const double value : values) add(value);
  }
  double value() const { return count_ > 0 ? sum_ / static_cast<double>(count_) : -1; }

 private:
  double sum_ = 0;
  int64_t count_ = 0;
};

CocoNumbers summarise(const Table* tables, size_t count) {
  const auto mean = [&](const auto& row_of) {
    Mean out;
    for (size_t i = 0; i < count; ++i) out.add(row_of(tables[i]));
    return out.value();
  };
  const auto precision = [&](CocoArea area) {
    return mean([area](const Table& t) { return t.precision[area]; });
  };
  const auto recall = [&](CocoArea area) {
    return mean([area](const Table& t) { return t.recall[area]; });
  };
  const auto best = [&](size_t m) {
    return mean([m](const Table& t) { return t.recall_of_best[m]; });
  };
  CocoNumbers out;
  out.ap = precision(kAreaAll);
  out.ap50 = mean([](const Table& t) { return t.precision[kAreaAll][0]; });
  out.ap75 = mean([](const Table& t) { return t.precision[kAreaAll][5]; });
  out.ap_small = precision(kAreaSmall);
  out.ap_medium = precision(kAreaMedium);
  out.ap_large = precision(kAreaLarge);
  out.ar1 = best(0);
  out.ar10 = best(1);
  out.ar100 = best(2);
  out.ar_small = recall(kAreaSmall);
  out.ar_medium = recall(kAreaMedium);
  out.ar_large = recall(kAreaLarge);
  return out;
}

}  // namespace

const std::array<CocoNumberName, 12>& coco_number_names() {
  static constexpr std::array<CocoNumberName, 12> kNames = {{
      {"ap", "AP, mean over IoU 0.50:0.95", &CocoNumbers::ap},
      {"ap50", "AP at IoU 0.50", &CocoNumbers::ap50},
      {"ap75", "AP at IoU 0.75", &CocoNumbers::ap75},
      {"ap_small", "AP of objects up to 32 x 32 pixels", &CocoNumbers::ap_small},
      {"ap_medium", "AP of objects of 32 x 32 to 96 x 96 pixels", &CocoNumbers::ap_medium},
      {"ap_large", "AP of objects from 96 x 96 pixels", &CocoNumbers::ap_large},
      {"ar1", "AR of the best detection per picture and class", &CocoNumbers::ar1},
      {"ar10", "AR of the best 10 detections per picture and class", &CocoNumbers::ar10},
      {"ar100", "AR of the best 100 detections per picture and class", &CocoNumbers::ar100},
      {"ar_small", "AR of objects up to 32 x 32 pixels", &CocoNumbers::ar_small},
      {"ar_medium", "AR of objects of 32 x 32 to 96 x 96 pixels", &CocoNumbers::ar_medium},
      {"ar_large", "AR of objects from 96 x 96 pixels", &CocoNumbers::ar_large},
  }};
  return kNames;
}

CocoResult evaluate_coco(const Dataset& truth, const std::vector<Detection>& detections) {
  const std::vector<CocoClassMatches> matches = match_coco(truth, detections);
  std::vector<Table> tables(matches.size());
  kernels::parallel_for(static_cast<int64_t>(matches.size()), 1, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
      tables[i] = measure(matches[i]);
  });
  CocoResult result;
  result.numbers = summarise(tables.data(), tables.size());
  for (size_t i = 0; i < matches.size(); ++i)
    result.classes.push_back({truth.class_names[i], summarise(&tables[i], 1),
                              matches[i].objects[kAreaAll], matches[i].ignored_objects});
  return result;
}

}  // namespace frcnn
