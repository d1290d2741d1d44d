#pragma once

#include <array>
#include <cstdint>

#include "kernels/boxes/batch.h"
#include "kernels/launch/gpu.h"

namespace frcnn::kernels {

/// Box regression by centres (Ren et al., equation 2), with anchor (xa, ya, wa, ha) and box (x, y,
/// w, h):
///   tx = (x - xa) / wa,  ty = (y - ya) / ha,  tw = log(w / wa),  th = log(h / ha),
/// then (t - mean) / std per coordinate. The detection head uses std 0.1 0.1 0.2 0.2 (torchvision's
/// weights 10 10 5 5), the RPN none.
struct BoxCodecParams {
  std::array<double, 4> mean = {0, 0, 0, 0};
  std::array<double, 4> std = {1, 1, 1, 1};
};

/// Decoding cuts tw and th at log(1000 / 16): sides grow at most 62.5-fold and exp cannot overflow.
inline constexpr double kMaxLogScale = 4.135166556742356;

namespace cpu {

/// deltas[i] = encode(boxes[i], anchors[i]); sides must be positive.
template <typename T>
void encode_boxes(const BoxCodecParams& params, int64_t count,
                  const T* anchors,  // (count, 4)
                  const T* boxes,    // (count, 4)
                  T* deltas);        // (count, 4)

/// boxes[i] = decode(deltas[i], anchors[i]). Rows of `deltas` are `delta_stride` apart, so that one
/// class of a (R, 4 K) array can be decoded. boxes may be anchors.
template <typename T>
void decode_boxes(const BoxCodecParams& params, int64_t count,
                  const T* anchors,  // (count, 4)
                  const T* deltas,   // count rows of 4
                  int64_t delta_stride,
                  T* boxes);  // (count, 4)

/// Gradient of decode_boxes() with respect to deltas; 0 where tw or th was cut.
template <typename T>
void decode_boxes_backward(const BoxCodecParams& params, int64_t count,
                           const T* anchors,  // (count, 4)
                           const T* deltas,   // (count, 4)
                           const T* dboxes,   // (count, 4)
                           T* ddeltas);       // (count, 4)

/// Moves every corner into [0, width] x [0, height]. In place. NaN stays NaN.
template <typename T>
void clip_boxes(int64_t count, double height, double width, T* boxes);  // (count, 4)

/// keep[i] = 1 when box i is at least min_w wide and min_h high (NaN: 0), else 0.
template <typename T>
void boxes_large_enough(int64_t count, double min_h, double min_w,
                        const T* boxes,  // (count, 4)
                        uint8_t* keep);  // (count)

}  // namespace cpu

/// The same on a GPU. Products and sums are rounded one by one; exp and log may differ from the
/// CPU's in the last bits, and with them boxes and deltas. Arrays of boxes begin at multiples of 16
/// bytes.
enum class DecodeVersion : uint8_t { naive, fused };
inline constexpr gpu::KernelVersion kDecodeVersions[] = {
    {"naive", "decode, clip and filter are three passes over the boxes"},
    {"fused", "one pass: the boxes stay in registers between the three"},
};

namespace gpu {

template <Backend backend, typename T>
void encode_boxes(Stream stream, const BoxCodecParams& params, int64_t count, const T* anchors,
                  const T* boxes, T* deltas);
template <Backend backend, typename T>
void decode_boxes(Stream stream, const BoxCodecParams& params, int64_t count, const T* anchors,
                  const T* deltas, int64_t delta_stride, T* boxes);
template <Backend backend, typename T>
void decode_boxes_backward(Stream stream, const BoxCodecParams& params, int64_t count,
                           const T* anchors, const T* deltas, const T* dboxes, T* ddeltas);
/// Boxes of a batch, each image with its own limits.
template <Backend backend, typename T>
void clip_boxes(Stream stream, int64_t images, int64_t count,
                const ImageLimits<T>* limits,  // (images)
                T* boxes);                     // (images, count, 4)
template <Backend backend, typename T>
void boxes_large_enough(Stream stream, int64_t images, int64_t count,
                        const ImageLimits<T>* limits,  // (images)
                        const T* boxes,                // (images, count, 4)
                        uint8_t* keep);                // (images, count)

/// First half of the proposal layer: decodes every anchor of every image, clips to the image, and
/// tells which boxes are large enough. All versions give the same bits.
template <Backend backend, typename T>
void decode_proposals(Stream stream, const BoxCodecParams& params, int64_t images, int64_t count,
                      const T* anchors,              // (count, 4), the same for all images
                      const T* deltas,               // (images, count, 4)
                      const ImageLimits<T>* limits,  // (images)
                      T* boxes,                      // (images, count, 4)
                      uint8_t* keep,                 // (images, count)
                      DecodeVersion version = DecodeVersion::fused);

/// First half of detection: the box of every class (background, class 0, left out) for every RoI,
/// decoded and clipped to the image that the RoI names. keep is 1 where the score is above `score`
/// and the box large enough. RoIs with a negative image number are unused: their boxes are 0 and
/// not kept. With `groups` 1 all classes share four columns of deltas.
template <Backend backend, typename T>
void decode_detections(Stream stream, const BoxCodecParams& params, int64_t rois, int64_t classes,
                       int64_t groups, double score,
                       const T* roi_rows,             // (rois, 5) image, x1, y1, x2, y2
                       const T* deltas,               // (rois, 4 groups), groups = classes + 1 or 1
                       const T* probabilities,        // (rois, classes + 1)
                       const ImageLimits<T>* limits,  // (images)
                       T* boxes,                      // (rois, classes, 4)
                       T* scores,                     // (rois, classes)
                       uint8_t* keep);                // (rois, classes)

/// What boxes with a positive label should regress to: deltas[n, i] = encode(object that box i of
/// image n matched, box i), 0 elsewhere. With classes, also target_labels: class of the object + 1
/// where the label is positive, the label itself elsewhere.
template <Backend backend, typename T>
void encode_matched(Stream stream, const BoxCodecParams& params, int64_t images, int64_t count,
                    int64_t objects, bool shared_boxes,
                    const T* boxes,         // (images, count, 4), shared_boxes: (count, 4)
                    const T* truth,         // (images, objects, 4)
                    const int32_t* labels,  // (images, count)
                    const int32_t* index,   // (images, count) of the object, from iou_best()
                    T* deltas,              // (images, count, 4)
                    const int32_t* classes = nullptr,   // (images, objects), or nullptr
                    int32_t* target_labels = nullptr);  // (images, count), may be labels

}  // namespace gpu
}  // namespace frcnn::kernels
