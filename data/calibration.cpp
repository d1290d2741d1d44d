#include "data/calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/launch/check.h"

namespace frcnn {

CalibrationResult calibration(const EvaluationResult& result, int bins) {
  check(bins > 0, "[calibration] expected at least one bin, got {}", bins);
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  CalibrationResult out;
  out.iou = result.iou;
  for (int i = 0; i < bins; ++i)
    out.bins.push_back({double(i) / bins, double(i + 1) / bins, 0, 0, 0});
  for (const ClassResult& entry : result.classes)
    for (const PrPoint& point : entry.curve) {
      const auto place = static_cast<int>(std::floor(double{point.score} * bins));
      CalibrationBin& bin = out.bins[static_cast<size_t>(std::clamp(place, 0, bins - 1))];
      ++bin.count;
      bin.mean_score += double{point.score};
      bin.precision += point.right ? 1 : 0;
      ++out.count;
    }
  for (CalibrationBin& bin : out.bins) {
    const auto count = static_cast<double>(bin.count);
    bin.mean_score = bin.count > 0 ? bin.mean_score / count : kNone;
    bin.precision = bin.count > 0 ? bin.precision / count : kNone;
    if (bin.count == 0) continue;
    const double apart = std::abs(bin.precision - bin.mean_score);
    out.expected_error += apart * count / static_cast<double>(out.count);
    out.largest_error = std::max(out.largest_error, apart);
  }
  if (out.count == 0) out.expected_error = out.largest_error = kNone;
  return out;
}

}  // namespace frcnn
