#pragma once

#include <cstdint>

#include "kernels/launch/gpu.h"
#include "kernels/launch/layout.h"

namespace frcnn::kernels {
namespace cpu {

/// Copies a feature map into another channel block: y[n, c, h, w] = x[n, c, h, w]. The padding of y
/// is set to zero; that of x is not read. x and y may not overlap. Deterministic.
template <typename T>
void reorder_map(const MapLayout& x_layout,
                 int64_t y_block,  // y_layout = x_layout with this block
                 const T* x,       // x_layout
                 T* y);            // y_layout

}  // namespace cpu

enum class ReorderMapVersion : uint8_t { naive, tile };
inline constexpr gpu::KernelVersion kReorderMapVersions[] = {
    {"naive", "one thread, one number of y: reads jump from channel to channel"},
    {"tile", "32 channels x 32 pixels turned in shared memory: reads and writes in rows"},
};

/// The same on a GPU.
namespace gpu {

template <Backend backend, typename T>
void reorder_map(Stream stream, const MapLayout& x_layout, int64_t y_block, const T* x, T* y,
                 ReorderMapVersion version = ReorderMapVersion::tile);

}  // namespace gpu
}  // namespace frcnn::kernels
