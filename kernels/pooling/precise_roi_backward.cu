// Precise RoI pooling on a GPU, backward to the map and to the RoIs: kernels of
// roi_products_backward.cuh and roi_slopes.cuh with the bounds and weights of precise_roi.cuh.
#include "kernels/pooling/precise_roi.cuh"
#include "kernels/pooling/precise_roi.h"
#include "kernels/pooling/roi_products_backward.cuh"
#include "kernels/pooling/roi_slopes.cuh"

namespace frcnn::kernels::gpu {

template <Backend backend, typename T>
void precise_roi_backward(Stream stream, const MapLayout& map, const PreciseRoiParams& params,
                          int64_t rois_count, const T* rois, const T* dy, T* dx,
                          const int32_t* rois_count_device, PreciseRoiBackwardVersion version) {
  roi::validate_precise(map, params);
  roi::run_products_backward(stream,
                             roi::PreciseProblem{map, params, rois_count, rois_count_device}, rois,
                             dy, dx, version);
}

template <Backend backend, typename T>
void precise_roi_backward_rois(Stream stream, const MapLayout& map, const PreciseRoiParams& params,
                               int64_t rois_count, const T* x, const T* rois, const T* dy, T* drois,
                               const int32_t* rois_count_device, PreciseRoiSlopesVersion version) {
  roi::validate_precise(map, params);
  roi::run_slopes(stream, roi::PreciseProblem{map, params, rois_count, rois_count_device}, x, rois,
                  dy, drois, version);
}

#define FRCNN_INSTANTIATE(T)                                                                    \
  template void precise_roi_backward<kBackend, T>(                                              \
      Stream, const MapLayout&, const PreciseRoiParams&, int64_t, const T*, const T*, T*,       \
      const int32_t*, PreciseRoiBackwardVersion);                                               \
  template void precise_roi_backward_rois<kBackend, T>(                                         \
      Stream, const MapLayout&, const PreciseRoiParams&, int64_t, const T*, const T*, const T*, \
      T*, const int32_t*, PreciseRoiSlopesVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
