#include "data/confusion.h"

#include <algorithm>
#include <tuple>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

struct Pair {
  float iou = 0;
  bool same = false;
  float score = 0;
  size_t detection = 0, object = 0;
};

bool on_ignored(const Detection& found, const ImageRecord& image, double limit) {
  return std::any_of(image.objects.begin(), image.objects.end(), [&](const Object& object) {
    if (object.crowd) {
      const Box &a = found.box, &b = object.box;
      const Box common = {std::max(a.x1, b.x1), std::max(a.y1, b.y1), std::min(a.x2, b.x2),
                          std::min(a.y2, b.y2)};
      return common.width() > 0 && common.height() > 0 && common.area() >= limit * a.area();
    }
    return object.difficult && double{iou(found.box, object.box)} >= limit;
  });
}

void add_picture(const ImageRecord& image, const std::vector<const Detection*>& found,
                 ConfusionMatrix& out) {
  const size_t background = out.class_names.size();
  std::vector<Pair> pairs;
  for (size_t d = 0; d < found.size(); ++d)
    for (size_t g = 0; g < image.objects.size(); ++g) {
      const Object& object = image.objects[g];
      if (object.difficult || object.crowd) continue;
      const float value = iou(found[d]->box, object.box);
      if (double{value} >= out.options.iou)
        pairs.push_back({value, object.label == found[d]->label, found[d]->score, d, g});
    }
  std::stable_sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) {
    return std::tie(a.iou, a.same, a.score) > std::tie(b.iou, b.same, b.score);
  });
  std::vector<bool> used(found.size()), matched(image.objects.size());
  for (const Pair& pair : pairs) {
    if (used[pair.detection] || matched[pair.object]) continue;
    used[pair.detection] = matched[pair.object] = true;
    ++out.counts[static_cast<size_t>(image.objects[pair.object].label)]
                [static_cast<size_t>(found[pair.detection]->label)];
  }
  for (size_t d = 0; d < found.size(); ++d)
    if (!used[d] && !on_ignored(*found[d], image, out.options.iou))
      ++out.counts[background][static_cast<size_t>(found[d]->label)];
  for (size_t g = 0; g < matched.size(); ++g) {
    const Object& object = image.objects[g];
    if (!matched[g] && !object.difficult && !object.crowd)
      ++out.counts[static_cast<size_t>(object.label)][background];
  }
}

}  // namespace

ConfusionMatrix confusion_matrix(const Dataset& truth, const std::vector<Detection>& detections,
                                 const ConfusionOptions& options) {
  check(options.iou > 0 && options.iou <= 1, "[confusion] expected an IoU limit in (0, 1], got {}",
        options.iou);
  check_detections(truth, detections);
  ConfusionMatrix out{options, truth.class_names, {}};
  const size_t size = truth.class_names.size() + 1;
  out.counts.assign(size, std::vector<int64_t>(size, 0));
  std::vector<std::vector<const Detection*>> found(truth.images.size());
  for (const Detection& d : detections)
    if (double{d.score} >= options.score) found[static_cast<size_t>(d.image)].push_back(&d);
  for (size_t i = 0; i < found.size(); ++i) add_picture(truth.images[i], found[i], out);
  return out;
}

}  // namespace frcnn
