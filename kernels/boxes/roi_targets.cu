#include "kernels/boxes/roi_targets.h"

#include "kernels/boxes/codec.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 128;

/// One thread per row: rows are few, and a row's groups are few.
template <typename T>
__global__ void roi_targets_backward_kernel(const CodecScale<T> s, int64_t rows, int64_t groups,
                                            const T* rois, const T* targets, const T* ddeltas,
                                            T* drois) {
  for (int64_t r = grid_first(); r < rows; r += grid_step()) {
    T* out = drois + 5 * r;
    out[0] = 0;
    for (int axis = 0; axis < 2; ++axis) {
      T shift = 0, scale = 0;
      for (int64_t g = 0; g < groups; ++g) {
        shift -= ddeltas[(r * groups + g) * 4 + axis];
        scale -= ddeltas[(r * groups + g) * 4 + axis + 2];
      }
      T centre = 0, side = 0;
      if (shift != 0 || scale != 0) {
        const T length = rois[5 * r + 3 + axis] - rois[5 * r + 1 + axis];
        const T offset = add_rn(mul_rn(targets[4 * r + axis], s.std[axis]), s.mean[axis]);
        centre = -shift / mul_rn(length, s.std[axis]);
        side = add_rn(mul_rn(centre, offset), -(scale / mul_rn(length, s.std[axis + 2])));
      }
      out[1 + axis] = add_rn(centre / 2, -side);
      out[3 + axis] = add_rn(centre / 2, side);
    }
  }
}

}  // namespace

template <Backend backend, typename T>
void roi_targets_backward(Stream stream, const BoxCodecParams& params, int64_t rows, int64_t groups,
                          const T* rois, const T* targets, const T* ddeltas, T* drois) {
  launch({"roi_targets_backward", blocks_for(rows, kThreads), kThreads, 0, stream},
         roi_targets_backward_kernel<T>, CodecScale<T>(params), rows, groups, rois, targets,
         ddeltas, drois);
}

#define FRCNN_INSTANTIATE(T)                                                                       \
  template void roi_targets_backward<kBackend, T>(Stream, const BoxCodecParams&, int64_t, int64_t, \
                                                  const T*, const T*, const T*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
