#include "model/detections.h"

#include <algorithm>

#include "engine/dispatch.h"
#include "kernels/boxes/codec.h"
#include "kernels/boxes/nms.h"
#include "kernels/boxes/topk.h"
#include "kernels/losses/cross_entropy.h"
#include "model/detection_candidates.h"

namespace frcnn {

template <typename T>
std::vector<T> class_probabilities(const RoiOutput& output, const RoiConfig& roi, int64_t classes) {
  const int64_t rows = output.logits.dim(0);
  std::vector<T> p(static_cast<size_t>(rows * (classes + 1)));
  if (roi.class_loss == "sigmoid")
    kernels::cpu::sigmoid<T>(rows * (classes + 1), output.logits.data<T>(), p.data());
  else
    kernels::cpu::softmax<T>(rows, classes + 1, output.logits.data<T>(), p.data());
  return p;
}

template <typename T>
DetectionCandidates<T> detection_candidates(const T* probabilities, const T* deltas, const T* rois,
                                            int64_t first, int64_t last, const InputSize& size,
                                            const RoiConfig& roi, const TestConfig& test,
                                            int64_t classes) {
  namespace cpu = kernels::cpu;
  kernels::BoxCodecParams codec;
  std::copy_n(roi.box_mean.begin(), 4, codec.mean.begin());
  std::copy_n(roi.box_std.begin(), 4, codec.std.begin());
  const int64_t groups = roi.class_agnostic ? 1 : classes + 1;
  DetectionCandidates<T> out;
  for (int64_t r = first; r < last; ++r)
    for (int64_t k = 1; k <= classes; ++k) {
      const T score = probabilities[r * (classes + 1) + k];
      if (!(static_cast<double>(score) > test.score)) continue;
      T box[4];
      cpu::decode_boxes<T>(codec, 1, rois + 5 * r + 1,
                           deltas + (r * groups + (groups > 1 ? k : 0)) * 4, 4, box);
      cpu::clip_boxes<T>(1, static_cast<double>(size.height), static_cast<double>(size.width), box);
      uint8_t large = 0;
      cpu::boxes_large_enough<T>(1, test.min_size * size.scale_y, test.min_size * size.scale_x, box,
                                 &large);
      if (!large) continue;
      out.boxes.insert(out.boxes.end(), box, box + 4);
      out.scores.push_back(score);
      out.labels.push_back(static_cast<int32_t>(k - 1));
      out.sources.push_back(r * classes + k - 1);
    }
  return out;
}

template <typename T>
std::vector<int64_t> kept_candidates(const DetectionCandidates<T>& found, double nms_iou,
                                     int64_t most) {
  namespace cpu = kernels::cpu;
  const auto count = static_cast<int64_t>(found.scores.size());
  std::vector<int64_t> order(static_cast<size_t>(count)), kept(static_cast<size_t>(count));
  cpu::top_k<T>(count, count, found.scores.data(), nullptr, order.data());
  std::vector<T> boxes;
  std::vector<int32_t> labels;
  for (const int64_t i : order) {
    boxes.insert(boxes.end(), found.boxes.begin() + 4 * i, found.boxes.begin() + 4 * i + 4);
    labels.push_back(found.labels[static_cast<size_t>(i)]);
  }
  // Boxes are in order of score over all classes: stopping at `most` keeps the best of all.
  kept.resize(static_cast<size_t>(
      cpu::nms_sorted<T>(count, nms_iou, most, boxes.data(), labels.data(), kept.data())));
  for (int64_t& at : kept) at = order[static_cast<size_t>(at)];
  return kept;
}

#define FRCNN_INSTANTIATE(T)                                                                   \
  template std::vector<T> class_probabilities<T>(const RoiOutput&, const RoiConfig&, int64_t); \
  template DetectionCandidates<T> detection_candidates<T>(                                     \
      const T*, const T*, const T*, int64_t, int64_t, const InputSize&, const RoiConfig&,      \
      const TestConfig&, int64_t);                                                             \
  template std::vector<int64_t> kept_candidates<T>(const DetectionCandidates<T>&, double, int64_t);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

namespace {

template <typename T>
std::vector<ScoredBox> suppress(const DetectionCandidates<T>& found, const TestConfig& test) {
  std::vector<ScoredBox> out;
  for (const int64_t i : kept_candidates(found, test.nms_iou, test.max_detections)) {
    const auto at = static_cast<size_t>(i);
    const T* b = found.boxes.data() + 4 * at;
    out.push_back({{static_cast<float>(b[0]), static_cast<float>(b[1]), static_cast<float>(b[2]),
                    static_cast<float>(b[3])},
                   found.labels[at],
                   static_cast<float>(found.scores[at])});
  }
  return out;
}

}  // namespace

std::vector<std::vector<ScoredBox>> select_detections(const RoiOutput& output, const Tensor& rois,
                                                      const std::vector<InputSize>& sizes,
                                                      const RoiConfig& roi, const TestConfig& test,
                                                      int64_t classes) {
  std::vector<std::vector<ScoredBox>> result(sizes.size());
  with_float(rois.dtype(), "detections", [&](auto t) {
    using T = decltype(t);
    const int64_t rows = rois.dim(0);
    const std::vector<T> p = class_probabilities<T>(output, roi, classes);
    const T* roi_rows = rois.data<T>();
    int64_t first = 0;
    for (size_t image = 0; image < sizes.size(); ++image) {  // RoIs lie in order of their images
      int64_t last = first;
      while (last < rows && roi_rows[5 * last] == static_cast<T>(image)) ++last;
      result[image] =
          suppress(detection_candidates<T>(p.data(), output.deltas.data<T>(), roi_rows, first, last,
                                           sizes[image], roi, test, classes),
                   test);
      first = last;
    }
  });
  return result;
}

}  // namespace frcnn
