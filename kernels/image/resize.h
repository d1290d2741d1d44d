#pragma once

#include <array>
#include <cstdint>

#include "kernels/launch/gpu.h"

namespace frcnn::kernels {

enum class ChannelOrder : uint8_t { rgb, bgr };

/// Bilinear resize of an RGB image to (out_h, out_w) with half-pixel centres, edges repeated and no
/// antialiasing: output row i samples input row
///   max((i + 0.5) * in_h / out_h - 0.5, 0),
/// likewise columns: torch's interpolate(mode="bilinear", align_corners=False) with recomputed
/// scale, and OpenCV's INTER_LINEAR on floats. Each value v of a channel then becomes
///   (v * scale - mean[channel]) / std[channel].
struct ResizeParams {
  int64_t in_h = 0, in_w = 0;
  int64_t out_h = 0, out_w = 0;
  int64_t padded_h = 0, padded_w = 0;  ///< size of the output array, >= out_h, out_w; 0: no padding
  bool flip = false;                   ///< mirror left and right
  bool interleaved = false;  ///< false: (3, padded_h, padded_w); true: (padded_h, padded_w, 3)
  ChannelOrder order = ChannelOrder::rgb;  ///< order of the output's channels
  double scale = 1;                        ///< e.g. 1 / 255
  std::array<double, 3> mean = {0, 0, 0};  ///< in the order of the output's channels
  std::array<double, 3> std = {1, 1, 1};   ///< in the order of the output's channels
};

namespace cpu {

/// Resizes, flips, reorders and normalises in one pass. The padding, right and below, is 0 (after
/// normalisation, as torchvision pads). Deterministic.
template <typename T>
void resize_normalize(
    const ResizeParams& params,
    const uint8_t* image,  // (in_h, in_w, 3) R, G, B
    T* out);               // (3, padded_h, padded_w), or (padded_h, padded_w, 3) if interleaved

/// Bilinear resize of bytes, same sampling, rounded to the nearest, for pictures to look at.
void resize_u8(int64_t in_h, int64_t in_w, int64_t out_h, int64_t out_w,
               const uint8_t* image,  // (in_h, in_w, 3)
               uint8_t* out);         // (out_h, out_w, 3)

}  // namespace cpu

enum class ResizeVersion : uint8_t { naive, pixel };
inline constexpr gpu::KernelVersion kResizeVersions[] = {
    {"naive", "one thread, one number"},
    {"pixel", "one thread, one pixel: where it samples is computed once for three channels"},
};

/// The same on a GPU, for inference from pictures in device memory. Where it samples is the CPU's,
/// bit by bit; the sums differ by rounding, as machines with fused multiply-adds do.
namespace gpu {

template <Backend backend, typename T>
void resize_normalize(Stream stream, const ResizeParams& params,
                      const uint8_t* image,  // (in_h, in_w, 3) R, G, B
                      T* out,  // (3, padded_h, padded_w), or (padded_h, padded_w, 3) if interleaved
                      ResizeVersion version = ResizeVersion::pixel);

}  // namespace gpu
}  // namespace frcnn::kernels
