#include "kernels/boxes/roi_targets.h"

namespace frcnn::kernels::cpu {

template <typename T>
void roi_targets_backward(const BoxCodecParams& params, int64_t rows, int64_t groups, const T* rois,
                          const T* targets, const T* ddeltas, T* drois) {
#pragma omp parallel for
  for (int64_t r = 0; r < rows; ++r) {
    T* out = drois + 5 * r;
    out[0] = 0;
    for (int axis = 0; axis < 2; ++axis) {
      T shift = 0, scale = 0;  // of the loss by t
      for (int64_t g = 0; g < groups; ++g) {
        shift -= ddeltas[(r * groups + g) * 4 + axis];
        scale -= ddeltas[(r * groups + g) * 4 + axis + 2];
      }
      T centre = 0, side = 0;  // of the loss by x and w
      if (shift != 0 || scale != 0) {
        const auto k = static_cast<size_t>(axis);
        const T std_shift = static_cast<T>(params.std[k]), mean = static_cast<T>(params.mean[k]);
        const T std_scale = static_cast<T>(params.std[k + 2]);
        const T length = rois[5 * r + 3 + axis] - rois[5 * r + 1 + axis];
        const T offset = targets[4 * r + axis] * std_shift + mean;
        centre = -shift / (length * std_shift);
        side = centre * offset - scale / (length * std_scale);
      }
      out[1 + axis] = centre / 2 - side;
      out[3 + axis] = centre / 2 + side;
    }
  }
}

template void roi_targets_backward(const BoxCodecParams&, int64_t, int64_t, const float*,
                                   const float*, const float*, float*);
template void roi_targets_backward(const BoxCodecParams&, int64_t, int64_t, const double*,
                                   const double*, const double*, double*);

}  // namespace frcnn::kernels::cpu
