#pragma once

#include <cmath>

#include "kernels/launch/host_device.h"
#include "kernels/losses/giou.h"

/// One row of the GIoU loss, for the CPU's and the GPU's loops.
namespace frcnn::kernels {

/// Along one axis, in the anchor's frame.
struct Interval {
  double low, high;
  FRCNN_HOST_DEVICE double length() const { return high - low; }
};

/// What two intervals have in common and the smallest one around both, with their slopes in the
/// edges of `a`.
struct Overlap {
  double common, hull;
  double common_low, common_high, hull_low, hull_high;

  FRCNN_HOST_DEVICE Overlap(const Interval& a, const Interval& b) {
    // 1 where the edge of a decides, 0 where that of b does, half each where they coincide.
    const double low = a.low > b.low ? 1 : a.low < b.low ? 0 : 0.5;
    const double high = a.high < b.high ? 1 : a.high > b.high ? 0 : 0.5;
    common = (high > 0.5 ? a.high : b.high) - (low > 0.5 ? a.low : b.low);
    hull = (high < 0.5 ? a.high : b.high) - (low < 0.5 ? a.low : b.low);
    const bool meet = common > 0;
    if (!meet) common = 0;
    common_low = meet ? -low : 0;
    common_high = meet ? high : 0;
    hull_low = low - 1;
    hull_high = 1 - high;
  }
};

/// Decodes (t, log side) of one axis: `axis` 0 is x, 1 is y. `cut` tells that the side was cut.
template <typename T>
FRCNN_HOST_DEVICE Interval decoded(const BoxCodecParams& codec, const T* delta, int axis,
                                   bool limit, bool* cut) {
  const double centre = static_cast<double>(delta[axis]) * codec.std[static_cast<size_t>(axis)] +
                        codec.mean[static_cast<size_t>(axis)];
  double log_side =
      static_cast<double>(delta[axis + 2]) * codec.std[static_cast<size_t>(axis) + 2] +
      codec.mean[static_cast<size_t>(axis) + 2];
  *cut = limit && log_side > kMaxLogScale;
  if (*cut) log_side = kMaxLogScale;
  const double half = 0.5 * std::exp(log_side);
  return {centre - half, centre + half};
}

/// 1 - GIoU of a prediction and a target, four deltas each. With `gradient` (four numbers) the
/// derivatives with respect to the prediction.
template <typename T>
FRCNN_HOST_DEVICE double giou_loss_of(const BoxCodecParams& codec, const T* prediction,
                                      const T* target, double* gradient) {
  bool cut[2], unused;
  const Interval p[2] = {decoded(codec, prediction, 0, true, &cut[0]),
                         decoded(codec, prediction, 1, true, &cut[1])};
  const Interval t[2] = {decoded(codec, target, 0, false, &unused),
                         decoded(codec, target, 1, false, &unused)};
  const Overlap x(p[0], t[0]), y(p[1], t[1]);
  const double own = p[0].length() * p[1].length();
  const double common = x.common * y.common, hull = x.hull * y.hull;
  const double joint = own + t[0].length() * t[1].length() - common;
  if (gradient != nullptr) {
    // loss = 2 - I / U - U / C with U = A + B - I: its slopes in I, A and C.
    const double by_common = -1 / joint - common / (joint * joint) + 1 / hull;
    const double by_own = common / (joint * joint) - 1 / hull;
    const double by_hull = joint / (hull * hull);
    const Overlap* along[2] = {&x, &y};
    for (int axis = 0; axis < 2; ++axis) {
      const Overlap &here = *along[axis], &across = *along[1 - axis];
      const double side = p[axis].length(), other = p[1 - axis].length();
      const double low = by_common * here.common_low * across.common - by_own * other +
                         by_hull * here.hull_low * across.hull;
      const double high = by_common * here.common_high * across.common + by_own * other +
                          by_hull * here.hull_high * across.hull;
      gradient[axis] = (low + high) * codec.std[static_cast<size_t>(axis)];
      gradient[axis + 2] =
          cut[axis] ? 0 : 0.5 * (high - low) * side * codec.std[static_cast<size_t>(axis) + 2];
    }
  }
  return 2 - common / joint - joint / hull;
}

}  // namespace frcnn::kernels
