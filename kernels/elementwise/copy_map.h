#pragma once

#include <cstdint>

#include "kernels/launch/gpu.h"
#include "kernels/launch/layout.h"

/// Copies of parts of maps: what Concat along the channels and Pad of imported networks are made of
/// (ONNX operator specification, Concat and Pad with mode "constant").
namespace frcnn::kernels {

/// A run of channels that is copied from one map to another.
struct ChannelRun {
  int64_t from = 0;   ///< first channel in the source
  int64_t to = 0;     ///< first channel in the target
  int64_t count = 0;  ///< channels
};

/// Cells put around a map.
struct MapPadding {
  int64_t top = 0, left = 0, bottom = 0, right = 0;
  constexpr MapLayout padded(const MapLayout& x) const {
    return x.resized(x.h + top + bottom, x.w + left + right);
  }
};

namespace cpu {

/// y[n, run.to + c, h, w] = x[n, run.from + c, h, w] for c < run.count. Batch, height and width of
/// the maps are equal, their channels and blocks need not be. Other channels of y stay as they are;
/// when the run ends with y's last channel, the padding behind that is written as zero. x and y may
/// not overlap.
template <typename T>
void copy_channels(const MapLayout& x_layout, const MapLayout& y_layout, const ChannelRun& run,
                   const T* x, T* y);

/// y = x in the middle, `value` around it; y_layout = padding.padded(x_layout), no side negative.
/// Padding channels of y are written as zero. x and y may not overlap.
template <typename T>
void pad_map(const MapLayout& x_layout, const MapPadding& padding, double value, const T* x, T* y);

/// dx = the middle of dy: pad_map()'s gradient, and a crop.
template <typename T>
void crop_map(const MapLayout& x_layout, const MapPadding& padding,
              const T* dy,  // padding.padded(x_layout)
              T* dx);       // x_layout

}  // namespace cpu

enum class CopyMapVersion : uint8_t { naive, vector };
inline constexpr gpu::KernelVersion kCopyMapVersions[] = {
    {"naive", "one thread, one number"},
    {"vector", "one thread, 16 bytes of neighbours in both maps; 32-bit indices"},
};

/// The same on a GPU, with the CPU's bits. `vector` takes packs of channels where both maps have
/// them, packs of cells in NCHW, single numbers elsewhere.
namespace gpu {

template <Backend backend, typename T>
void copy_channels(Stream stream, const MapLayout& x_layout, const MapLayout& y_layout,
                   const ChannelRun& run, const T* x, T* y,
                   CopyMapVersion version = CopyMapVersion::vector);
template <Backend backend, typename T>
void pad_map(Stream stream, const MapLayout& x_layout, const MapPadding& padding, double value,
             const T* x, T* y, CopyMapVersion version = CopyMapVersion::vector);
template <Backend backend, typename T>
void crop_map(Stream stream, const MapLayout& x_layout, const MapPadding& padding, const T* dy,
              T* dx, CopyMapVersion version = CopyMapVersion::vector);

}  // namespace gpu
}  // namespace frcnn::kernels
