#include "data/picture_scores.h"

#include <algorithm>
#include <tuple>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

/// Judges the detections `found` (positions, best first) of one picture.
PictureScore judge(const ImageRecord& image, const std::vector<Detection>& detections,
                   const std::vector<int64_t>& found, double least_iou) {
  PictureScore out;
  std::vector<bool> taken(image.objects.size());
  for (const int64_t index : found) {
    const Detection& d = detections[static_cast<size_t>(index)];
    double most = 0;
    size_t match = image.objects.size();
    for (size_t g = 0; g < image.objects.size(); ++g) {
      const double value = iou(d.box, image.objects[g].box);
      if (image.objects[g].label == d.label && value > most) most = value, match = g;
    }
    const bool hit = match < image.objects.size() && most >= least_iou;
    if (hit && (image.objects[match].difficult || image.objects[match].crowd)) continue;
    const bool right = hit && !taken[match];
    ++(right ? out.right : out.wrong);
    if (!right) continue;
    taken[match] = true;
    out.right_detections.push_back(index);
    out.found_objects.push_back(static_cast<int64_t>(match));
  }
  for (size_t g = 0; g < taken.size(); ++g)
    if (!taken[g] && !image.objects[g].difficult && !image.objects[g].crowd) ++out.missed;
  const auto right = static_cast<double>(2 * out.right);
  out.f1 = right / std::max(1.0, right + static_cast<double>(out.wrong + out.missed));
  return out;
}

}  // namespace

std::vector<PictureScore> picture_scores(const Dataset& truth,
                                         const std::vector<Detection>& detections, double score,
                                         double least_iou) {
  check(least_iou > 0 && least_iou <= 1, "[picture scores] expected an IoU in (0, 1], got {}",
        least_iou);
  check_detections(truth, detections);
  std::vector<std::vector<int64_t>> found(truth.images.size());
  for (size_t i = 0; i < detections.size(); ++i)
    if (double{detections[i].score} >= score)
      found[static_cast<size_t>(detections[i].image)].push_back(static_cast<int64_t>(i));
  std::vector<PictureScore> out;
  for (size_t i = 0; i < found.size(); ++i) {
    std::stable_sort(found[i].begin(), found[i].end(), [&](int64_t a, int64_t b) {
      return detections[static_cast<size_t>(a)].score > detections[static_cast<size_t>(b)].score;
    });
    PictureScore entry = judge(truth.images[i], detections, found[i], least_iou);
    entry.image = static_cast<int64_t>(i);
    if (entry.right + entry.wrong + entry.missed > 0) out.push_back(std::move(entry));
  }
  std::stable_sort(out.begin(), out.end(), [](const PictureScore& a, const PictureScore& b) {
    return std::make_tuple(a.f1, a.right, -a.wrong - a.missed) >
           std::make_tuple(b.f1, b.right, -b.wrong - b.missed);
  });
  return out;
}

}  // namespace frcnn
