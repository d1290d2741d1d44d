// Weights in the order of NVIDIA's libraries.
#include "kernels/conv/conv2d_vendor.cuh"

namespace frcnn::kernels::gpu {

template <Backend backend>
void conv2d_pack_weights_vendor(Stream stream, const Conv2dParams& params, const float* w,
                                void* packed, VendorMath math) {
  const vendor::FilterOrder order(params);
  const auto run = [&](auto* to) {
    using To = std::remove_pointer_t<decltype(to)>;
    launch({"conv2d_pack_filter", blocks_for(order.count, vendor::kThreads), vendor::kThreads, 0,
            stream},
           vendor::pack_filter<To>, order, w, to);
  };
  if (math == VendorMath::bf16) return run(static_cast<Bfloat16*>(packed));
  run(static_cast<float*>(packed));
}
template void conv2d_pack_weights_vendor<kBackend>(Stream, const Conv2dParams&, const float*, void*,
                                                   VendorMath);

}  // namespace frcnn::kernels::gpu
