#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/launch/gpu.h"
#include "kernels/launch/layout.h"

namespace frcnn::kernels {

/// Batch normalisation (Ioffe and Szegedy, ICML 2015), per channel over N, H and W, with torch's
/// conventions, and optionally a ReLU fused behind it:
///   z = (x - mean) * rstd * gamma + beta, rstd = 1 / sqrt(var + epsilon), y = relu ? max(z, 0) :
///   z.
struct BatchNormParams {
  double epsilon = 1e-5;
  double momentum = 0.1;  ///< running = (1 - momentum) * running + momentum * batch
  bool relu = false;
};

/// All per-channel arrays have C elements. gamma and beta may be nullptr: 1 and 0. Reductions run
/// in fixed pieces that are merged in order in double (Chan et al. 1983), so results do not depend
/// on the number of threads. Padded channels of what is written are zero.
namespace cpu {

/// Training: mean and (biased) variance of the batch. running_mean and running_var (unbiased, as in
/// torch) are updated in place unless nullptr. y may be x. N * H * W must be at least 2.
template <typename T>
void batch_norm_train_forward(const MapLayout& layout, const BatchNormParams& params,
                              const T* x,       // layout
                              const T* gamma,   // (C), or nullptr
                              const T* beta,    // (C), or nullptr
                              T* y,             // layout
                              T* saved_mean,    // (C), for backward
                              T* saved_rstd,    // (C), for backward
                              T* running_mean,  // (C), or nullptr
                              T* running_var);  // (C), or nullptr

/// With g = dy, or dy where y > 0 when `relu`, m = N H W and xhat = (x - mean) * rstd:
///   dbeta = sum g, dgamma = sum g * xhat, dx = gamma * rstd * (g - dbeta / m - xhat * dgamma / m).
/// y is read only when `relu`. dgamma, dbeta are overwritten; they may be nullptr. dx may be dy.
template <typename T>
void batch_norm_train_backward(const MapLayout& layout, const BatchNormParams& params,
                               const T* x,           // layout
                               const T* y,           // layout, or nullptr without relu
                               const T* gamma,       // (C), or nullptr
                               const T* saved_mean,  // (C)
                               const T* saved_rstd,  // (C)
                               const T* dy,          // layout
                               T* dx,                // layout
                               T* dgamma,            // (C), or nullptr
                               T* dbeta);            // (C), or nullptr

/// Inference and frozen layers: the stored statistics. y may be x.
template <typename T>
void batch_norm_frozen_forward(const MapLayout& layout, const BatchNormParams& params,
                               const T* x,      // layout
                               const T* gamma,  // (C), or nullptr
                               const T* beta,   // (C), or nullptr
                               const T* mean,   // (C)
                               const T* var,    // (C)
                               T* y);           // layout

/// dx = gamma * rstd * g; dbeta = sum g, dgamma = sum g * xhat. x is read only for dgamma, y only
/// with relu. dgamma, dbeta are overwritten; they may be nullptr, as may dx. dx may be dy.
template <typename T>
void batch_norm_frozen_backward(const MapLayout& layout, const BatchNormParams& params,
                                const T* x,      // layout, or nullptr without dgamma
                                const T* y,      // layout, or nullptr without relu
                                const T* gamma,  // (C), or nullptr
                                const T* mean,   // (C)
                                const T* var,    // (C)
                                const T* dy,     // layout
                                T* dx,           // layout, or nullptr
                                T* dgamma,       // (C), or nullptr
                                T* dbeta);       // (C), or nullptr

/// The frozen layer as one multiply-add per channel: scale = gamma * rstd, shift = beta - mean *
/// scale. For folding into the weights of a convolution in front of it.
template <typename T>
void batch_norm_fold(int64_t channels, double epsilon,
                     const T* gamma,  // (C), or nullptr
                     const T* beta,   // (C), or nullptr
                     const T* mean,   // (C)
                     const T* var,    // (C)
                     T* scale,        // (C)
                     T* shift);       // (C)

}  // namespace cpu

enum class BatchNormVersion : uint8_t { naive, two_stage, vector };
inline constexpr gpu::KernelVersion kBatchNormVersions[] = {
    {"naive",
     "a block per channel: Welford's means, then a second walk; frozen: a thread per number"},
    {"two_stage", "pieces of all channels at once, neighbouring threads on neighbouring memory"},
    {"vector", "the same with 16 bytes per load: channels in NHWC, pixels in NCHW"},
};

/// The same on a GPU. Sums are taken in double, as deviations from the channel's first value, over
/// fixed pieces that are added in order: the same bits in every run. Means, variances and the
/// gradients of gamma and beta are those sums rounded once, so more exact than the CPU's, which sum
/// pieces in T; y and dx differ by a few roundings. In place where the CPU's are.
///
/// `workspace` is device memory of batch_norm_workspace() bytes, of any content. Without it the
/// naive version runs where sums are needed. docs/kernels/norm.md.
namespace gpu {

/// Numbers of a channel that are one piece: in NCHW, and in other layouts.
inline constexpr int64_t kBatchNormPlainPiece = 4096, kBatchNormLanesPiece = 256;

constexpr int64_t batch_norm_pieces(const MapLayout& map) {
  const int64_t piece = map.block == 1 ? kBatchNormPlainPiece : kBatchNormLanesPiece;
  return (map.n * map.h * map.w + piece - 1) / piece;
}
constexpr size_t batch_norm_workspace(const MapLayout& map) {
  return static_cast<size_t>((batch_norm_pieces(map) + 1) * map.blocks() * map.block) * 2 *
         sizeof(double);
}

template <Backend backend, typename T>
void batch_norm_train_forward(Stream stream, const MapLayout& layout, const BatchNormParams& params,
                              const T* x, const T* gamma, const T* beta, T* y, T* saved_mean,
                              T* saved_rstd, T* running_mean, T* running_var,
                              void* workspace = nullptr,
                              BatchNormVersion version = BatchNormVersion::vector);

template <Backend backend, typename T>
void batch_norm_train_backward(Stream stream, const MapLayout& layout,
                               const BatchNormParams& params, const T* x, const T* y,
                               const T* gamma, const T* saved_mean, const T* saved_rstd,
                               const T* dy, T* dx, T* dgamma, T* dbeta, void* workspace = nullptr,
                               BatchNormVersion version = BatchNormVersion::vector);

template <Backend backend, typename T>
void batch_norm_frozen_forward(Stream stream, const MapLayout& layout,
                               const BatchNormParams& params, const T* x, const T* gamma,
                               const T* beta, const T* mean, const T* var, T* y,
                               BatchNormVersion version = BatchNormVersion::vector);

template <Backend backend, typename T>
void batch_norm_frozen_backward(Stream stream, const MapLayout& layout,
                                const BatchNormParams& params, const T* x, const T* y,
                                const T* gamma, const T* mean, const T* var, const T* dy, T* dx,
                                T* dgamma, T* dbeta, void* workspace = nullptr,
                                BatchNormVersion version = BatchNormVersion::vector);

template <Backend backend, typename T>
void batch_norm_fold(Stream stream, int64_t channels, double epsilon, const T* gamma, const T* beta,
                     const T* mean, const T* var, T* scale, T* shift);

}  // namespace gpu
}  // namespace frcnn::kernels
