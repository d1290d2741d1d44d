#include "kernels/boxes/codec.h"

#include <algorithm>
#include <cmath>

#include "kernels/launch/parallel.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr int64_t kGrain = 4096;

/// Parameters in the type of the data.
template <typename T>
struct Scale {
  T mean[4], std[4];
  explicit Scale(const BoxCodecParams& p) {
    for (size_t k = 0; k < 4; ++k) {
      mean[k] = static_cast<T>(p.mean[k]);
      std[k] = static_cast<T>(p.std[k]);
    }
  }
};

}  // namespace

template <typename T>
void encode_boxes(const BoxCodecParams& params, int64_t count, const T* anchors, const T* boxes,
                  T* deltas) {
  const Scale<T> s(params);
  parallel_for(count, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T *a = anchors + 4 * i, *b = boxes + 4 * i;
      T* d = deltas + 4 * i;
      const T wa = a[2] - a[0], ha = a[3] - a[1], w = b[2] - b[0], h = b[3] - b[1];
      d[0] = ((b[0] + w / 2 - (a[0] + wa / 2)) / wa - s.mean[0]) / s.std[0];
      d[1] = ((b[1] + h / 2 - (a[1] + ha / 2)) / ha - s.mean[1]) / s.std[1];
      d[2] = (std::log(w / wa) - s.mean[2]) / s.std[2];
      d[3] = (std::log(h / ha) - s.mean[3]) / s.std[3];
    }
  });
}

template <typename T>
void decode_boxes(const BoxCodecParams& params, int64_t count, const T* anchors, const T* deltas,
                  int64_t delta_stride, T* boxes) {
  const Scale<T> s(params);
  const T limit = static_cast<T>(kMaxLogScale);
  parallel_for(count, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T *a = anchors + 4 * i, *d = deltas + delta_stride * i;
      T* b = boxes + 4 * i;
      const T wa = a[2] - a[0], ha = a[3] - a[1];
      const T x = (d[0] * s.std[0] + s.mean[0]) * wa + (a[0] + wa / 2);
      const T y = (d[1] * s.std[1] + s.mean[1]) * ha + (a[1] + ha / 2);
      const T w = std::exp(std::min(d[2] * s.std[2] + s.mean[2], limit)) * wa;
      const T h = std::exp(std::min(d[3] * s.std[3] + s.mean[3], limit)) * ha;
      b[0] = x - w / 2;
      b[1] = y - h / 2;
      b[2] = x + w / 2;
      b[3] = y + h / 2;
    }
  });
}

template <typename T>
void decode_boxes_backward(const BoxCodecParams& params, int64_t count, const T* anchors,
                           const T* deltas, const T* dboxes, T* ddeltas) {
  const Scale<T> s(params);
  const T limit = static_cast<T>(kMaxLogScale);
  parallel_for(count, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T *a = anchors + 4 * i, *d = deltas + 4 * i, *g = dboxes + 4 * i;
      T* out = ddeltas + 4 * i;
      for (int axis = 0; axis < 2; ++axis) {
        const T side = a[axis + 2] - a[axis];
        const T log_scale = d[axis + 2] * s.std[axis + 2] + s.mean[axis + 2];
        out[axis] = (g[axis] + g[axis + 2]) * side * s.std[axis];
        out[axis + 2] = log_scale < limit ? (g[axis + 2] - g[axis]) / 2 * std::exp(log_scale) *
                                                side * s.std[axis + 2]
                                          : T(0);
      }
    }
  });
}

template <typename T>
void clip_boxes(int64_t count, double height, double width, T* boxes) {
  const T limit[2] = {static_cast<T>(width), static_cast<T>(height)};
  for (int64_t i = 0; i < 4 * count; ++i) {
    T& v = boxes[i];
    if (v < 0) v = 0;
    if (v > limit[i % 2]) v = limit[i % 2];
  }
}

template <typename T>
void boxes_large_enough(int64_t count, double min_h, double min_w, const T* boxes, uint8_t* keep) {
  const T h = static_cast<T>(min_h), w = static_cast<T>(min_w);
  for (int64_t i = 0; i < count; ++i) {
    const T* b = boxes + 4 * i;
    keep[i] = b[2] - b[0] >= w && b[3] - b[1] >= h;
  }
}

#define FRCNN_INSTANTIATE(T)                                                                      \
  template void encode_boxes<T>(const BoxCodecParams&, int64_t, const T*, const T*, T*);          \
  template void decode_boxes<T>(const BoxCodecParams&, int64_t, const T*, const T*, int64_t, T*); \
  template void decode_boxes_backward<T>(const BoxCodecParams&, int64_t, const T*, const T*,      \
                                         const T*, T*);                                           \
  template void clip_boxes<T>(int64_t, double, double, T*);                                       \
  template void boxes_large_enough<T>(int64_t, double, double, const T*, uint8_t*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
