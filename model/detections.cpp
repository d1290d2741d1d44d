#include "model/detections.h"

#include <algorithm>

#include "engine/dispatch.h"
#include "kernels/boxes/codec.h"
#include "kernels/boxes/nms.h"
#include "kernels/boxes/topk.h"
#include "kernels/losses/cross_entropy.h"

namespace frcnn {
namespace {

/// Scores and boxes of one image that passed the thresholds.
template <typename T>
struct Candidates {
  std::vector<T> boxes, scores;
  std::vector<int32_t> labels;
};

/// Decodes the boxes of every class for the RoIs [first, last) of one image and keeps those that
/// pass.
template <typename T>
Candidates<T> candidates(const T* probabilities, const T* deltas, const T* rois, int64_t first,
                         int64_t last, const InputSize& size, const RoiConfig& roi,
                         const TestConfig& test, int64_t classes) {
  namespace cpu = kernels::cpu;
  kernels::BoxCodecParams codec;
  std::copy_n(roi.box_mean.begin(), 4, codec.mean.begin());
  std::copy_n(roi.box_std.begin(), 4, codec.std.begin());
  const int64_t groups = roi.class_agnostic ? 1 : classes + 1;
  Candidates<T> out;
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
    }
  return out;
}

template <typename T>
std::vector<ScoredBox> suppress(const Candidates<T>& found, const TestConfig& test) {
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
  // Boxes are in order of score over all classes: stopping at max_detections keeps the best of all.
  const int64_t n = cpu::nms_sorted<T>(count, test.nms_iou, test.max_detections, boxes.data(),
                                       labels.data(), kept.data());
  std::vector<ScoredBox> out;
  for (int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<size_t>(kept[static_cast<size_t>(i)]);
    const T* b = boxes.data() + 4 * at;
    out.push_back({{static_cast<float>(b[0]), static_cast<float>(b[1]), static_cast<float>(b[2]),
                    static_cast<float>(b[3])},
                   labels[at],
                   static_cast<float>(found.scores[static_cast<size_t>(order[at])])});
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
    std::vector<T> p(static_cast<size_t>(rows * (classes + 1)));
    if (roi.class_loss == "sigmoid")
      kernels::cpu::sigmoid<T>(rows * (classes + 1), output.logits.data<T>(), p.data());
    else
      kernels::cpu::softmax<T>(rows, classes + 1, output.logits.data<T>(), p.data());
    const T* roi_rows = rois.data<T>();
    int64_t first = 0;
    for (size_t image = 0; image < sizes.size(); ++image) {  // RoIs lie in order of their images
      int64_t last = first;
      while (last < rows && roi_rows[5 * last] == static_cast<T>(image)) ++last;
      result[image] = suppress(candidates<T>(p.data(), output.deltas.data<T>(), roi_rows, first,
                                             last, sizes[image], roi, test, classes),
                               test);
      first = last;
    }
  });
  return result;
}

}  // namespace frcnn
