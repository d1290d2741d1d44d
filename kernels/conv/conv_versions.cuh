#pragma once

#include "kernels/conv/conv2d_gpu.h"
#include "kernels/conv/conv_geometry.cuh"

/// What conv2d_gpu.cu, which checks and chooses, calls: one source file each.
namespace frcnn::kernels::gpu::conv {

// ---- conv2d_naive.cu: plain weights

template <Backend backend, typename T>
void naive_forward(Stream stream, const Conv2dParams& p, const T* x, const ConvWeight<T>* w,
                   const ConvWeight<T>* b, T* y);
template <Backend backend, typename T>
void naive_backward_data(Stream stream, const Conv2dParams& p, const T* dy, const ConvWeight<T>* w,
                         T* dx);
template <Backend backend, typename T>
void naive_backward_weights(Stream stream, const Conv2dParams& p, const T* x, const T* dy,
                            ConvWeight<T>* dw);

// ---- conv2d_depthwise.cu: plain weights

/// A block has 8 x 8 cells of 32 channels of the target, and the source's cells under them in
/// shared memory, with the filters.
constexpr int kDepthwiseTile = 8, kDepthwiseLanes = 32;
inline int64_t depthwise_shared_bytes(const Conv2dParams& p) {
  const int64_t rows = int64_t{kDepthwiseTile - 1} * p.stride_h + p.extent_h();
  const int64_t columns = int64_t{kDepthwiseTile - 1} * p.stride_w + p.extent_w();
  return static_cast<int64_t>(sizeof(float)) * kDepthwiseLanes *
         (rows * columns + int64_t{p.kernel_h} * p.kernel_w);
}
/// Empty, or why the version cannot compute this shape.
inline std::string depthwise_fault(const Conv2dParams& p) {
  if (p.groups < 2 || p.groups != p.input.c || p.out_channels != p.input.c)
    return "it needs one filter for each channel (groups = channels of x and y)";
  if (p.input.block == 1 || p.out_block == 1)
    return "it needs channels side by side (NHWC or blocked)";
  if (depthwise_shared_bytes(p) > int64_t{64} << 10)  // what every GPU since Turing has
    return "the cells under a tile do not fit 64 KiB of shared memory";
  return {};
}
/// Parts of the weights gradient (images x pieces, C, kh, kw), which are then added in order.
constexpr int kDepthwisePiece = 256;  // cells of y
inline int64_t depthwise_pieces(const Conv2dParams& p) {
  return ceil_div(p.out_h() * p.out_w(), int64_t{kDepthwisePiece});
}
template <Backend backend, typename T>
void depthwise_forward(Stream stream, const Conv2dParams& p, const T* x, const float* w,
                       const float* b, T* y);
template <Backend backend, typename T>
void depthwise_backward_data(Stream stream, const Conv2dParams& p, const T* dy, const float* w,
                             T* dx);
template <Backend backend, typename T>
void depthwise_backward_weights(Stream stream, const Conv2dParams& p, const T* x, const T* dy,
                                float* parts, float* dw);

// ---- conv2d_tiled.cu, conv2d_mma_tf32.cu, conv2d_mma_bf16.cu: gemm_versions.cuh with one core
// each

template <Backend backend, ConvVersion version, typename T>
void gemm_gather(Stream stream, const GatherProblem& problem, const MapLayout& source_layout,
                 const T* source, const void* packed, const float* bias, T* target, uint8_t* window,
                 ConvTile tile);
template <Backend backend, ConvVersion version, typename T>
void gemm_weights(Stream stream, const WeightsProblem& problem, const Conv2dParams& p, const T* x,
                  const T* dy, float* parts, ConvTile tile);

// ---- conv2d_weights.cu: around the matrix products

enum class WeightFormat : uint8_t { f32, tf32, bf16 };

/// (classes, columns, depth) numbers of 4 or 2 bytes, see GatherProblem: rows of taps x channels.
template <Backend backend>
void pack_weights(Stream stream, const GatherProblem& problem, WeightFormat format, const float* w,
                  void* packed);
/// dw (O, C, kh, kw) = the sum of the parts (splits, O, columns).
template <Backend backend>
void finish_weights(Stream stream, const WeightsProblem& problem, const float* parts, float* dw);

/// db[o] = sum of dy over images and pixels: over pieces of an image, then over the pieces.
constexpr int kBiasPixels = 1024;
inline int64_t bias_pieces(const MapLayout& dy) {
  return ceil_div(dy.h * dy.w, int64_t{kBiasPixels});
}
inline int64_t bias_workspace(const MapLayout& dy) {  // doubles
  return dy.n * bias_pieces(dy) * dy.c;
}
template <Backend backend, typename T>
void backward_bias(Stream stream, const MapLayout& layout, const T* dy, ConvWeight<T>* db,
                   double* workspace);

// ---- conv2d_wgmma.cu: the packed weights of mma_bf16, NHWC

template <Backend backend>
void wgmma_forward(Stream stream, const Conv2dParams& p, const Bfloat16* x, const void* packed,
                   const float* bias, Bfloat16* y);

// ---- conv2d_winograd.cu

/// Sizes of F(4x4, 3x3). Transformed tiles are worked on in panels, whose length keeps them in the
/// L2 cache of a large GPU between the three kernels of a pass.
struct WinogradSize {
  int sources, targets;             ///< channels
  int packed_targets;               ///< rounded up to 16 bytes
  int64_t tiles_h, tiles_w, tiles;  ///< 4x4 tiles of the target map
  int64_t panel;                    ///< tiles of a panel, a multiple of 4

  static constexpr int kPoints = 36;
  WinogradSize(const Conv2dParams& p, bool backward) {
    const MapLayout target = backward ? p.input : p.output();
    sources = static_cast<int>(backward ? p.out_channels : p.input.c);
    targets = static_cast<int>(target.c);
    packed_targets = ceil_div(targets, 4) * 4;
    tiles_h = ceil_div(target.h, 4), tiles_w = ceil_div(target.w, 4);
    tiles = target.n * tiles_h * tiles_w;
    constexpr int64_t kCacheBytes = int64_t{24} << 20, kLeast = 256;
    const int64_t per_tile = int64_t{4} * kPoints * (sources + targets);
    panel = std::min(ceil_div(tiles, int64_t{4}) * 4,
                     std::max(kLeast, kCacheBytes / per_tile / 128 * 128));
  }
  size_t packed_bytes() const { return sizeof(float) * kPoints * sources * packed_targets; }
  size_t workspace() const {
    return sizeof(float) * kPoints * static_cast<size_t>((sources + targets) * panel);
  }
};
template <Backend backend>
void winograd_pack(Stream stream, const Conv2dParams& p, bool backward, const float* w,
                   float* packed);
template <Backend backend>
void winograd_run(Stream stream, const Conv2dParams& p, bool backward, const float* source,
                  const float* packed, const float* bias, float* target, void* workspace,
                  ConvTile tile);

}  // namespace frcnn::kernels::gpu::conv
