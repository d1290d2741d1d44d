// RoIAlign on a GPU, forward: kernels of roi_products.cuh with the cells and weights of
// roi_align.cuh.
#include "kernels/pooling/roi_align.h"

#include "kernels/pooling/roi_align.cuh"
#include "kernels/pooling/roi_products.cuh"

namespace frcnn::kernels::gpu {

template <Backend backend, typename T>
void roi_align_forward(Stream stream, const MapLayout& map, const RoiAlignParams& params,
                       int64_t rois_count, const T* x, const T* rois, T* y,
                       const int32_t* rois_count_device, RoiAlignVersion version) {
  roi::validate_align(map, params);
  roi::run_products(stream, roi::AlignProblem{map, params, rois_count, rois_count_device}, x, rois,
                    y, version);
}

#define FRCNN_INSTANTIATE(T)                                                                    \
  template void roi_align_forward<kBackend, T>(Stream, const MapLayout&, const RoiAlignParams&, \
                                               int64_t, const T*, const T*, T*, const int32_t*, \
                                               RoiAlignVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
