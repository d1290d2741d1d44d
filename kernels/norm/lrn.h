#pragma once

#include <cstdint>

#include "kernels/launch/gpu.h"
#include "kernels/launch/layout.h"

namespace frcnn::kernels {

/// Local response normalisation across channels (Krizhevsky et al., NIPS 2012, section 3.3) in the
/// form of Caffe and torch, which divide alpha by the window size:
///   y[c] = x[c] / s[c]^beta, s[c] = k + alpha / size * sum of x[j]^2 over j in window(c),
///   window(c) = [c - size / 2, c + (size - 1) / 2], cut at the first and last channel.
/// ZF uses size 3, alpha 5e-5, beta 0.75; AlexNet size 5, alpha 1e-4, beta 0.75; both k = 1.
struct LrnParams {
  int64_t size = 5;
  double alpha = 1e-4;
  double beta = 0.75;
  double k = 1.0;
};

namespace cpu {

/// y may be x. Deterministic.
template <typename T>
void lrn_forward(const MapLayout& layout, const LrnParams& params,
                 const T* x,  // layout
                 T* y);       // layout

/// dx[c] = dy[c] / s[c]^beta
///         - 2 alpha beta / size * x[c] * sum over j with c in window(j) of dy[j] x[j] / s[j]^(beta
///         + 1)
/// s is computed again from x. Writes all of dx, which may be dy. Deterministic.
template <typename T>
void lrn_backward(const MapLayout& layout, const LrnParams& params,
                  const T* x,   // layout
                  const T* dy,  // layout
                  T* dx);       // layout

}  // namespace cpu

enum class LrnVersion : uint8_t { naive, tile };
inline constexpr gpu::KernelVersion kLrnVersions[] = {
    {"naive", "one thread, one pixel: walks the channels with a window of them in shared memory"},
    {"tile", "a block walks 32 channels of 32 pixels at a time: loads in rows in every layout"},
};

/// The same on a GPU, for windows of at most 32 channels; in place as on the CPU, since a block
/// reads a channel before it writes it. Sums run in the CPU's order, with fused multiply-adds: for
/// beta 0.75 and 0.5 the bits of a CPU that has them. docs/kernels/norm.md.
namespace gpu {

template <Backend backend, typename T>
void lrn_forward(Stream stream, const MapLayout& layout, const LrnParams& params, const T* x, T* y,
                 LrnVersion version = LrnVersion::tile);
template <Backend backend, typename T>
void lrn_backward(Stream stream, const MapLayout& layout, const LrnParams& params, const T* x,
                  const T* dy, T* dx, LrnVersion version = LrnVersion::tile);

}  // namespace gpu
}  // namespace frcnn::kernels
