#include "kernels/boxes/codec.h"

#include "kernels/boxes/codec.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;

// One box each; kernels below differ in where boxes come from and go to.

template <typename T>
__device__ Quad<T> encode(const CodecScale<T>& s, const Quad<T>& a, const Quad<T>& b) {
  Quad<T> d;
  for (int axis = 0; axis < 2; ++axis) {
    const T anchor_side = a.v[axis + 2] - a.v[axis], side = b.v[axis + 2] - b.v[axis];
    const T centre = add_rn(b.v[axis], side / 2);
    const T anchor_centre = add_rn(a.v[axis], anchor_side / 2);
    d.v[axis] = ((centre - anchor_centre) / anchor_side - s.mean[axis]) / s.std[axis];
    d.v[axis + 2] = (std::log(side / anchor_side) - s.mean[axis + 2]) / s.std[axis + 2];
  }
  return d;
}

template <typename T>
__device__ bool large_enough(const ImageLimits<T>& image, const Quad<T>& b) {
  return b.v[2] - b.v[0] >= image.min_w && b.v[3] - b.v[1] >= image.min_h;
}

template <typename T>
__global__ void encode_kernel(const CodecScale<T> s, int64_t count, const T* anchors,
                              const T* boxes, T* deltas) {
  for (int64_t i = grid_first(); i < count; i += grid_step())
    store_quad(deltas + 4 * i, encode(s, load_quad(anchors + 4 * i), load_quad(boxes + 4 * i)));
}

/// `anchor_count` anchors serve all rows in turn. Deltas need not be aligned.
template <typename T>
__global__ void decode_kernel(const CodecScale<T> s, int64_t count, int64_t anchor_count,
                              const T* anchors, const T* deltas, int64_t delta_stride, T* boxes) {
  for (int64_t i = grid_first(); i < count; i += grid_step()) {
    Quad<T> d;
    for (int k = 0; k < 4; ++k) d.v[k] = deltas[delta_stride * i + k];
    store_quad(boxes + 4 * i, decode(s, load_quad(anchors + 4 * (i % anchor_count)), d));
  }
}

template <typename T>
__global__ void decode_backward_kernel(const CodecScale<T> s, int64_t count, const T* anchors,
                                       const T* deltas, const T* dboxes, T* ddeltas) {
  for (int64_t i = grid_first(); i < count; i += grid_step()) {
    const Quad<T> a = load_quad(anchors + 4 * i), d = load_quad(deltas + 4 * i),
                  g = load_quad(dboxes + 4 * i);
    store_quad(ddeltas + 4 * i, decode_gradient(s, a, d, g));
  }
}

template <typename T>
__global__ void clip_kernel(int64_t count, const ImageLimits<T>* limits, T* boxes) {
  const ImageLimits<T> image = limits[blockIdx.y];
  T* row = boxes + blockIdx.y * count * 4;
  for (int64_t i = grid_first(); i < count; i += grid_step())
    store_quad(row + 4 * i, clip(image, load_quad(row + 4 * i)));
}

template <typename T>
__global__ void large_enough_kernel(int64_t count, const ImageLimits<T>* limits, const T* boxes,
                                    uint8_t* keep) {
  const ImageLimits<T> image = limits[blockIdx.y];
  const int64_t row = blockIdx.y * count;
  for (int64_t i = grid_first(); i < count; i += grid_step())
    keep[row + i] = large_enough(image, load_quad(boxes + 4 * (row + i))) ? 1 : 0;
}

template <typename T>
__global__ void proposals_kernel(const CodecScale<T> s, int64_t count, const T* anchors,
                                 const T* deltas, const ImageLimits<T>* limits, T* boxes,
                                 uint8_t* keep) {
  const ImageLimits<T> image = limits[blockIdx.y];
  const int64_t row = blockIdx.y * count;
  for (int64_t i = grid_first(); i < count; i += grid_step()) {
    const Quad<T> anchor = load_quad(anchors + 4 * i), delta = load_quad(deltas + 4 * (row + i));
    const Quad<T> box = clip(image, decode(s, anchor, delta));
    store_quad(boxes + 4 * (row + i), box);
    keep[row + i] = large_enough(image, box) ? 1 : 0;
  }
}

template <typename T>
__global__ void detections_kernel(const CodecScale<T> s, int64_t rois, int64_t classes,
                                  int64_t groups, double least_score, const T* roi_rows,
                                  const T* deltas, const T* probabilities,
                                  const ImageLimits<T>* limits, T* boxes, T* scores,
                                  uint8_t* keep) {
  for (int64_t i = grid_first(); i < rois * classes; i += grid_step()) {
    const int64_t r = i / classes, k = i % classes + 1;
    const T* roi = roi_rows + 5 * r;
    const T score = probabilities[r * (classes + 1) + k];
    const bool used = roi[0] >= 0;
    Quad<T> box = {{0, 0, 0, 0}};
    bool stays = false;
    if (used) {
      const T* d = deltas + (r * groups + (groups > 1 ? k : 0)) * 4;
      const ImageLimits<T> image = limits[static_cast<int64_t>(roi[0])];
      box =
          clip(image, decode<T>(s, {{roi[1], roi[2], roi[3], roi[4]}}, {{d[0], d[1], d[2], d[3]}}));
      stays = static_cast<double>(score) > least_score && large_enough(image, box);
    }
    store_quad(boxes + 4 * i, box);
    scores[i] = used ? score : T(0);
    keep[i] = stays ? 1 : 0;
  }
}

template <typename T>
__global__ void matched_kernel(const CodecScale<T> s, int64_t count, int64_t objects,
                               bool shared_boxes, const T* boxes, const T* truth,
                               const int32_t* labels, const int32_t* index, T* deltas,
                               const int32_t* classes, int32_t* target_labels) {
  const int64_t row = blockIdx.y * count, objects_row = blockIdx.y * objects;
  for (int64_t i = grid_first(); i < count; i += grid_step()) {
    const int32_t label = labels[row + i], object = index[row + i];
    const bool matched = label > 0 && object >= 0;
    Quad<T> delta = {{0, 0, 0, 0}};
    if (matched)
      delta = encode(s, load_quad(boxes + 4 * (shared_boxes ? i : row + i)),
                     load_quad(truth + 4 * (objects_row + object)));
    store_quad(deltas + 4 * (row + i), delta);
    if (classes != nullptr)
      target_labels[row + i] = matched ? classes[objects_row + object] + 1 : label;
  }
}

/// One row of blocks per image.
Dim3 image_grid(int64_t images, int64_t count) {
  return Dim3(blocks_for(count, kThreads), static_cast<unsigned>(images));
}

}  // namespace

template <Backend backend, typename T>
void encode_boxes(Stream stream, const BoxCodecParams& params, int64_t count, const T* anchors,
                  const T* boxes, T* deltas) {
  launch({"encode_boxes", blocks_for(count, kThreads), kThreads, 0, stream}, encode_kernel<T>,
         CodecScale<T>(params), count, anchors, boxes, deltas);
}

template <Backend backend, typename T>
void decode_boxes(Stream stream, const BoxCodecParams& params, int64_t count, const T* anchors,
                  const T* deltas, int64_t delta_stride, T* boxes) {
  launch({"decode_boxes", blocks_for(count, kThreads), kThreads, 0, stream}, decode_kernel<T>,
         CodecScale<T>(params), count, count, anchors, deltas, delta_stride, boxes);
}

template <Backend backend, typename T>
void decode_boxes_backward(Stream stream, const BoxCodecParams& params, int64_t count,
                           const T* anchors, const T* deltas, const T* dboxes, T* ddeltas) {
  launch({"decode_boxes_backward", blocks_for(count, kThreads), kThreads, 0, stream},
         decode_backward_kernel<T>, CodecScale<T>(params), count, anchors, deltas, dboxes, ddeltas);
}

template <Backend backend, typename T>
void clip_boxes(Stream stream, int64_t images, int64_t count, const ImageLimits<T>* limits,
                T* boxes) {
  launch({"clip_boxes", image_grid(images, count), kThreads, 0, stream}, clip_kernel<T>, count,
         limits, boxes);
}

template <Backend backend, typename T>
void boxes_large_enough(Stream stream, int64_t images, int64_t count, const ImageLimits<T>* limits,
                        const T* boxes, uint8_t* keep) {
  launch({"boxes_large_enough", image_grid(images, count), kThreads, 0, stream},
         large_enough_kernel<T>, count, limits, boxes, keep);
}

template <Backend backend, typename T>
void decode_proposals(Stream stream, const BoxCodecParams& params, int64_t images, int64_t count,
                      const T* anchors, const T* deltas, const ImageLimits<T>* limits, T* boxes,
                      uint8_t* keep, DecodeVersion version) {
  if (version == DecodeVersion::naive) {
    launch({"decode_boxes", blocks_for(images * count, kThreads), kThreads, 0, stream},
           decode_kernel<T>, CodecScale<T>(params), images * count, count, anchors, deltas,
           int64_t{4}, boxes);
    clip_boxes<backend, T>(stream, images, count, limits, boxes);
    boxes_large_enough<backend, T>(stream, images, count, limits, boxes, keep);
  } else {
    launch({"decode_proposals", image_grid(images, count), kThreads, 0, stream},
           proposals_kernel<T>, CodecScale<T>(params), count, anchors, deltas, limits, boxes, keep);
  }
}

template <Backend backend, typename T>
void decode_detections(Stream stream, const BoxCodecParams& params, int64_t rois, int64_t classes,
                       int64_t groups, double score, const T* roi_rows, const T* deltas,
                       const T* probabilities, const ImageLimits<T>* limits, T* boxes, T* scores,
                       uint8_t* keep) {
  check(groups == 1 || groups == classes + 1,
        "[decode_detections] expected deltas of 1 or {} groups, got {}", classes + 1, groups);
  launch({"decode_detections", blocks_for(rois * classes, kThreads), kThreads, 0, stream},
         detections_kernel<T>, CodecScale<T>(params), rois, classes, groups, score, roi_rows,
         deltas, probabilities, limits, boxes, scores, keep);
}

template <Backend backend, typename T>
void encode_matched(Stream stream, const BoxCodecParams& params, int64_t images, int64_t count,
                    int64_t objects, bool shared_boxes, const T* boxes, const T* truth,
                    const int32_t* labels, const int32_t* index, T* deltas, const int32_t* classes,
                    int32_t* target_labels) {
  launch({"encode_matched", image_grid(images, count), kThreads, 0, stream}, matched_kernel<T>,
         CodecScale<T>(params), count, objects, shared_boxes, boxes, truth, labels, index, deltas,
         classes, target_labels);
}

#define FRCNN_INSTANTIATE(T)                                                                     \
  template void encode_boxes<kBackend, T>(Stream, const BoxCodecParams&, int64_t, const T*,      \
                                          const T*, T*);                                         \
  template void decode_boxes<kBackend, T>(Stream, const BoxCodecParams&, int64_t, const T*,      \
                                          const T*, int64_t, T*);                                \
  template void decode_boxes_backward<kBackend, T>(Stream, const BoxCodecParams&, int64_t,       \
                                                   const T*, const T*, const T*, T*);            \
  template void clip_boxes<kBackend, T>(Stream, int64_t, int64_t, const ImageLimits<T>*, T*);    \
  template void boxes_large_enough<kBackend, T>(Stream, int64_t, int64_t, const ImageLimits<T>*, \
                                                const T*, uint8_t*);                             \
  template void decode_proposals<kBackend, T>(Stream, const BoxCodecParams&, int64_t, int64_t,   \
                                              const T*, const T*, const ImageLimits<T>*, T*,     \
                                              uint8_t*, DecodeVersion);                          \
  template void decode_detections<kBackend, T>(Stream, const BoxCodecParams&, int64_t, int64_t,  \
                                               int64_t, double, const T*, const T*, const T*,    \
                                               const ImageLimits<T>*, T*, T*, uint8_t*);         \
  template void encode_matched<kBackend, T>(Stream, const BoxCodecParams&, int64_t, int64_t,     \
                                            int64_t, bool, const T*, const T*, const int32_t*,   \
                                            const int32_t*, T*, const int32_t*, int32_t*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
