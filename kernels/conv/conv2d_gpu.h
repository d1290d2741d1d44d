#pragma once

#include <string>
#include <type_traits>

#include "kernels/conv/conv2d.h"
#include "kernels/launch/bfloat16.h"
#include "kernels/launch/gpu.h"
#include "kernels/pooling/max_pool.h"

/// The convolution of conv2d.h on a GPU. docs/kernels/convolution.md explains the versions.
namespace frcnn::kernels {

/// naive is the equation as loops. tiled and the mma versions see each pass as a matrix product
/// whose left factor is gathered from the map while it is loaded ("implicit GEMM", Chetlur et al.,
/// cuDNN, 2014). winograd trades multiplications for additions (Lavin & Gray, CVPR 2016).
enum class ConvVersion : uint8_t {
  naive,
  tiled,
  mma_tf32,
  mma_bf16,
  winograd,
  wgmma_bf16,
  depthwise
};
inline constexpr gpu::KernelVersion kConvVersions[] = {
    {"naive", "one thread, one output: the equation as loops"},
    {"tiled", "implicit GEMM: tiles in shared memory, 64 sums per thread in registers"},
    {"mma_tf32", "the same tiles on tensor cores, factors rounded to tf32", 80},
    {"mma_bf16", "bfloat16 factors: half the bytes, twice the products per instruction", 80},
    {"winograd", "F(4x4, 3x3): 36 multiplications for 16 outputs instead of 144"},
    {"wgmma_bf16", "whole tiles by TMA, 64 x 128 sums per instruction of four warps", 90, false},
    {"depthwise", "groups = channels: lanes are channels, all taps read one tile in shared memory"},
};

/// Block tile of the matrix products: 128 x 128 reuses each loaded element more, 64 x 64 gives more
/// blocks. `automatic` takes the large one where it still fills a GPU; results do not depend on it.
enum class ConvTile : uint8_t { automatic, small, large };

namespace gpu {

/// Type of weights, biases and their gradients beside maps of type T: maps of Bfloat16 have float32
/// (master) weights.
template <typename T>
using ConvWeight = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// Whether `version` computes this pass for maps of type T (float, double, Bfloat16); `why`, unless
/// nullptr, receives the reason against it. The functions below throw Error with that reason.
///
///   version      T                 passes             shapes
///   naive        all               all                all
///   tiled        float             all                all
///   mma_tf32     float             all                all
///   mma_bf16     float, Bfloat16   all                all
///   winograd     float             forward, data      3x3, stride 1
///   wgmma_bf16   Bfloat16          forward            NHWC, stride 1, channels in multiples of 8
///   depthwise    float, Bfloat16   all                groups = C = O, NHWC or blocked
///
/// Groups are for naive and depthwise only, dilation for these.
///
/// wgmma_bf16 needs compute capability 9.0, a build for sm_90a, and arrays aligned to 16 bytes; it
/// has not run yet. "all" shapes: any layout of x and y, maps of less than 2^31 elements per image
/// and pixels.
template <typename T>
bool conv2d_supported(const Conv2dParams& params, LayerPass pass, ConvVersion version,
                      std::string* why = nullptr);

/// A good choice where nothing has been measured: the fastest version that keeps T's precision.
template <typename T>
ConvVersion conv2d_version(const Conv2dParams& params, LayerPass pass);

/// Bytes of the weights in the format that this version's pass wants; 0: the plain (O, C, kh, kw).
/// backward_weights has no packed weights. The format depends on the arguments only.
template <typename T>
size_t conv2d_packed_bytes(const Conv2dParams& params, LayerPass pass, ConvVersion version);

/// Packs plain weights; to be repeated when they have changed.
template <Backend backend, typename T>
void conv2d_pack_weights(Stream stream, const Conv2dParams& params, LayerPass pass,
                         const ConvWeight<T>* w,  // (O, C, kh, kw)
                         void* packed,            // conv2d_packed_bytes(), aligned to 16
                         ConvVersion version);

/// Bytes of device memory that the pass needs as `workspace` (aligned to 256), uninitialised.
template <typename T>
size_t conv2d_workspace(const Conv2dParams& params, LayerPass pass, ConvVersion version);

/// All passes are deterministic: equal runs give equal bits, on any device. Sums are float32
/// (double for double), in a fixed order: by and large (u, v, c) of the filter, in naive
/// (c, u, v); the CPU's are double. Padding channels of x and dy must be zero, those of outputs are
/// written as zero. The arrays of x and dy should be aligned to 16 bytes and their channel blocks a
/// multiple of 16 bytes (NHWC, or blocked by 8 or 16): only then do tiles arrive by wide
/// asynchronous copies; any other alignment and layout is loaded element by element.
template <Backend backend, typename T>
void conv2d_forward(Stream stream, const Conv2dParams& params,
                    const T* x,              // params.input
                    const void* w,           // packed, or plain where conv2d_packed_bytes() is 0
                    const ConvWeight<T>* b,  // (O) or nullptr
                    T* y,                    // params.output()
                    void* workspace, ConvVersion version, ConvTile tile = ConvTile::automatic);

/// Convolution, bias, ReLU (whatever params.relu says) and max pooling with 2x2 windows of stride 2
/// without padding, in one kernel: y before pooling is never in memory. The values are those of
/// conv2d_forward() and max_pool_forward() one after the other, argmax and NaN included. For tiled
/// and the mma versions, with the forward pass's packed weights.
template <Backend backend, typename T>
void conv2d_relu_pool_forward(Stream stream, const Conv2dParams& params, const MaxPoolParams& pool,
                              const T* x, const void* w, const ConvWeight<T>* b,
                              T* y,             // max_pool_layout(params.output(), pool)
                              uint8_t* window,  // like y, or nullptr: see max_pool_forward()
                              ConvVersion version, ConvTile tile = ConvTile::automatic);

/// dx = gradient of sum(dy * y) with respect to x; the ReLU is not included (mask dy first).
template <Backend backend, typename T>
void conv2d_backward_data(Stream stream, const Conv2dParams& params,
                          const T* dy,    // params.output()
                          const void* w,  // packed for backward_data, or plain
                          T* dx,          // params.input
                          void* workspace, ConvVersion version,
                          ConvTile tile = ConvTile::automatic);

/// dw (O, C, kh, kw) and db (O) or nullptr, both overwritten. Sums over pixels are split into
/// ranges, whose number depends on the shape only, and added in order; db is the same in all
/// versions of a type.
template <Backend backend, typename T>
void conv2d_backward_weights(Stream stream, const Conv2dParams& params,
                             const T* x,   // params.input
                             const T* dy,  // params.output()
                             ConvWeight<T>* dw, ConvWeight<T>* db, void* workspace,
                             ConvVersion version, ConvTile tile = ConvTile::automatic);

}  // namespace gpu
}  // namespace frcnn::kernels
