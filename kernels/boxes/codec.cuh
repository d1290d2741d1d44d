#pragma once

#include "kernels/boxes/codec.h"
#include "kernels/boxes/iou.cuh"

/// One box of the codec each, for the kernels that differ in where boxes come from and go to.
namespace frcnn::kernels::gpu {

/// Parameters in the type of the data.
template <typename T>
struct CodecScale {
  T mean[4], std[4];
  explicit CodecScale(const BoxCodecParams& p) {
    for (size_t k = 0; k < 4; ++k) {
      mean[k] = static_cast<T>(p.mean[k]);
      std[k] = static_cast<T>(p.std[k]);
    }
  }
};

template <typename T>
__device__ T log_scale(const CodecScale<T>& s, const Quad<T>& d, int k) {
  return add_rn(mul_rn(d.v[k], s.std[k]), s.mean[k]);
}

template <typename T>
__device__ Quad<T> decode(const CodecScale<T>& s, const Quad<T>& a, const Quad<T>& d) {
  Quad<T> b;
  for (int axis = 0; axis < 2; ++axis) {
    const T anchor_side = a.v[axis + 2] - a.v[axis];
    const T shift = add_rn(mul_rn(d.v[axis], s.std[axis]), s.mean[axis]);
    const T centre = add_rn(mul_rn(shift, anchor_side), add_rn(a.v[axis], anchor_side / 2));
    const T most = static_cast<T>(kMaxLogScale), log_side = log_scale(s, d, axis + 2);
    const T half = mul_rn(std::exp(most < log_side ? most : log_side), anchor_side) / 2;
    b.v[axis] = sub_rn(centre, half);
    b.v[axis + 2] = add_rn(centre, half);
  }
  return b;
}

template <typename T>
__device__ Quad<T> clip(const ImageLimits<T>& image, Quad<T> b) {
  for (int k = 0; k < 4; ++k) {
    const T most = k % 2 != 0 ? image.height : image.width;
    if (b.v[k] < 0) b.v[k] = 0;
    if (b.v[k] > most) b.v[k] = most;
  }
  return b;
}

/// Gradient of decode() by the deltas, from that by the box; 0 where a logarithm was cut.
template <typename T>
__device__ Quad<T> decode_gradient(const CodecScale<T>& s, const Quad<T>& a, const Quad<T>& d,
                                   const Quad<T>& g) {
  Quad<T> out;
  for (int axis = 0; axis < 2; ++axis) {
    const T side = a.v[axis + 2] - a.v[axis], log_side = log_scale(s, d, axis + 2);
    out.v[axis] = (g.v[axis] + g.v[axis + 2]) * side * s.std[axis];
    out.v[axis + 2] =
        log_side < static_cast<T>(kMaxLogScale)
            ? (g.v[axis + 2] - g.v[axis]) / 2 * std::exp(log_side) * side * s.std[axis + 2]
            : T(0);
  }
  return out;
}

}  // namespace frcnn::kernels::gpu
