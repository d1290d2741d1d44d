#include "kernels/boxes/proposal_decode.h"

#include <algorithm>
#include <vector>

#include "kernels/boxes/codec.h"
#include "kernels/launch/check.h"

namespace frcnn::kernels::cpu {
namespace {

/// The rows that are no constants, with what the codec reads of each.
template <typename T>
struct Decoded {
  std::vector<int64_t> rows;
  std::vector<T> anchors, deltas, boxes;

  Decoded(int64_t images, int64_t count, int64_t row_count, const T* all_anchors,
          const T* all_deltas, const int32_t* sources) {
    for (int64_t r = 0; r < row_count; ++r) {
      const int64_t source = sources[r];
      check(source >= -1 && source < images * count,
            "[proposal_decode] row {} has source {}, expected -1 to {}", r, source,
            images * count - 1);
      if (source < 0) continue;
      rows.push_back(r);
      const T* anchor = all_anchors + source % count * 4;
      const T* delta = all_deltas + source * 4;
      anchors.insert(anchors.end(), anchor, anchor + 4);
      deltas.insert(deltas.end(), delta, delta + 4);
    }
    boxes.resize(anchors.size());
    decode_boxes<T>({}, size(), anchors.data(), deltas.data(), 4, boxes.data());
  }
  int64_t size() const { return static_cast<int64_t>(rows.size()); }
};

}  // namespace

template <typename T>
void proposal_decode(int64_t images, int64_t count, int64_t rows, const T* anchors, const T* deltas,
                     const ImageLimits<T>* limits, const int32_t* sources, const T* constants,
                     T* rois) {
  Decoded<T> decoded(images, count, rows, anchors, deltas, sources);
  std::copy_n(constants, 5 * rows, rois);
  for (int64_t i = 0; i < decoded.size(); ++i) {
    const int64_t r = decoded.rows[static_cast<size_t>(i)], image = sources[r] / count;
    T* box = decoded.boxes.data() + 4 * i;
    clip_boxes<T>(1, static_cast<double>(limits[image].height),
                  static_cast<double>(limits[image].width), box);
    rois[5 * r] = static_cast<T>(image);
    std::copy_n(box, 4, rois + 5 * r + 1);
  }
}

template <typename T>
void proposal_decode_backward(int64_t images, int64_t count, int64_t rows, const T* anchors,
                              const T* deltas, const ImageLimits<T>* limits, const int32_t* sources,
                              const T* drois, T* ddeltas) {
  const Decoded<T> decoded(images, count, rows, anchors, deltas, sources);
  std::vector<T> dboxes(decoded.boxes.size()), gradients(decoded.boxes.size());
  std::vector<bool> seen(static_cast<size_t>(images * count), false);
  for (int64_t i = 0; i < decoded.size(); ++i) {
    const int64_t r = decoded.rows[static_cast<size_t>(i)];
    const auto source = static_cast<size_t>(sources[r]);
    check(!seen[source], "[proposal_decode] the source {} stands twice", source);
    seen[source] = true;
    const ImageLimits<T>& image = limits[sources[r] / count];
    for (int k = 0; k < 4; ++k) {
      const T most = k % 2 != 0 ? image.height : image.width;
      const T value = decoded.boxes[static_cast<size_t>(4 * i + k)];
      const bool clipped = value < 0 || value > most;
      dboxes[static_cast<size_t>(4 * i + k)] = clipped ? T(0) : drois[5 * r + 1 + k];
    }
  }
  decode_boxes_backward<T>({}, decoded.size(), decoded.anchors.data(), decoded.deltas.data(),
                           dboxes.data(), gradients.data());
  std::fill_n(ddeltas, 4 * images * count, T(0));
  for (int64_t i = 0; i < decoded.size(); ++i)
    std::copy_n(gradients.data() + 4 * i, 4,
                ddeltas + 4 * int64_t{sources[decoded.rows[static_cast<size_t>(i)]]});
}

#define FRCNN_INSTANTIATE(T)                                                               \
  template void proposal_decode<T>(int64_t, int64_t, int64_t, const T*, const T*,          \
                                   const ImageLimits<T>*, const int32_t*, const T*, T*);   \
  template void proposal_decode_backward<T>(int64_t, int64_t, int64_t, const T*, const T*, \
                                            const ImageLimits<T>*, const int32_t*, const T*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
