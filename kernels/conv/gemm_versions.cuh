#pragma once

#include "kernels/conv/conv_versions.cuh"
#include "kernels/conv/gather_gemm.cuh"
#include "kernels/conv/weights_gemm.cuh"

/// The three GEMM versions differ in their core alone.
namespace frcnn::kernels::gpu::conv {
namespace {

template <ConvVersion version, class Shape>
struct CoreOf;
template <class Shape>
struct CoreOf<ConvVersion::tiled, Shape> {
  using Core = FmaCore<Shape>;
};
template <class Shape>
struct CoreOf<ConvVersion::mma_tf32, Shape> {
  using Core = MmaCore<Shape, Tf32>;
};
template <class Shape>
struct CoreOf<ConvVersion::mma_bf16, Shape> {
  using Core = MmaCore<Shape, Bf16>;
};

}  // namespace

template <Backend backend, ConvVersion version, typename T>
void gemm_gather(Stream stream, const GatherProblem& problem, const MapLayout& source_layout,
                 const T* source, const void* packed, const float* bias, T* target, uint8_t* window,
                 ConvTile tile) {
  const char* name = problem.backward ? "conv2d_backward_data" : "conv2d_forward";
  const auto run = [&](auto shape) {
    using Core = typename CoreOf<version, decltype(shape)>::Core;
    launch_gather_gemm<Core>(name, stream, problem, source_layout, source, packed, bias, target,
                             window);
  };
  if (takes_large_tile(tile, gather_rows(problem), problem.target.stored, problem.classes)) {
    run(LargeShape{});
  } else {
    run(SmallShape{});
  }
}

template <Backend backend, ConvVersion version, typename T>
void gemm_weights(Stream stream, const WeightsProblem& problem, const Conv2dParams& p, const T* x,
                  const T* dy, float* parts, ConvTile tile) {
  const auto run = [&](auto shape) {
    using Core = typename CoreOf<version, decltype(shape)>::Core;
    launch_weights_gemm<Core>("conv2d_backward_weights", stream, problem, p.input, p.output(), x,
                              dy, parts);
  };
  if (takes_large_tile(tile, p.out_channels, problem.columns, problem.splits)) {
    run(LargeShape{});
  } else {
    run(SmallShape{});
  }
}

#define FRCNN_INSTANTIATE_CONV_GEMM(version, T)                                                   \
  template void gemm_gather<kBackend, version, T>(Stream, const GatherProblem&, const MapLayout&, \
                                                  const T*, const void*, const float*, T*,        \
                                                  uint8_t*, ConvTile);                            \
  template void gemm_weights<kBackend, version, T>(                                               \
      Stream, const WeightsProblem&, const Conv2dParams&, const T*, const T*, float*, ConvTile);

}  // namespace frcnn::kernels::gpu::conv
