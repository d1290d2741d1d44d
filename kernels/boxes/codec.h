#pragma once

#include <array>
#include <cstdint>

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
}  // namespace frcnn::kernels
