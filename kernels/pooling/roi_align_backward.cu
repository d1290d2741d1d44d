// RoIAlign on a GPU, backward to the map and to the RoIs: kernels of roi_products_backward.cuh and
// roi_slopes.cuh with the cells and weights of roi_align.cuh.
#include "kernels/pooling/roi_align.cuh"
#include "kernels/pooling/roi_align.h"
#include "kernels/pooling/roi_products_backward.cuh"
#include "kernels/pooling/roi_slopes.cuh"

namespace frcnn::kernels::gpu {

template <Backend backend, typename T>
void roi_align_backward(Stream stream, const MapLayout& map, const RoiAlignParams& params,
                        int64_t rois_count, const T* rois, const T* dy, T* dx,
                        const int32_t* rois_count_device, RoiAlignBackwardVersion version) {
  roi::validate_align(map, params);
  roi::run_products_backward(stream, roi::AlignProblem{map, params, rois_count, rois_count_device},
                             rois, dy, dx, version);
}

template <Backend backend, typename T>
void roi_align_backward_rois(Stream stream, const MapLayout& map, const RoiAlignParams& params,
                             int64_t rois_count, const T* x, const T* rois, const T* dy, T* drois,
                             const int32_t* rois_count_device, RoiAlignSlopesVersion version) {
  roi::validate_align(map, params);
  roi::run_slopes(stream, roi::AlignProblem{map, params, rois_count, rois_count_device}, x, rois,
                  dy, drois, version);
}

#define FRCNN_INSTANTIATE(T)                                                                      \
  template void roi_align_backward<kBackend, T>(Stream, const MapLayout&, const RoiAlignParams&,  \
                                                int64_t, const T*, const T*, T*, const int32_t*,  \
                                                RoiAlignBackwardVersion);                         \
  template void roi_align_backward_rois<kBackend, T>(                                             \
      Stream, const MapLayout&, const RoiAlignParams&, int64_t, const T*, const T*, const T*, T*, \
      const int32_t*, RoiAlignSlopesVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
