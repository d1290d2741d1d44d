// Precise RoI pooling on a GPU, forward: kernels of roi_products.cuh with the cells and weights of
// precise_roi.cuh.
#include "kernels/pooling/precise_roi.h"

#include "kernels/pooling/precise_roi.cuh"
#include "kernels/pooling/roi_products.cuh"

namespace frcnn::kernels::gpu {

template <Backend backend, typename T>
void precise_roi_forward(Stream stream, const MapLayout& map, const PreciseRoiParams& params,
                         int64_t rois_count, const T* x, const T* rois, T* y,
                         const int32_t* rois_count_device, PreciseRoiVersion version) {
  roi::validate_precise(map, params);
  roi::run_products(stream, roi::PreciseProblem{map, params, rois_count, rois_count_device}, x,
                    rois, y, version);
}

#define FRCNN_INSTANTIATE(T)                                                                 \
  template void precise_roi_forward<kBackend, T>(Stream, const MapLayout&,                   \
                                                 const PreciseRoiParams&, int64_t, const T*, \
                                                 const T*, T*, const int32_t*, PreciseRoiVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
