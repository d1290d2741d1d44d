#pragma once

#include <cstdint>

#include "kernels/launch/gpu.h"
#include "kernels/launch/layout.h"

/// Square windows cut out of a map: the input of a convolution that is wanted at few cells only. A
/// convolution of that window without padding over the tiles gives at (t, o, 0, 0) what one with
/// padding window / 2 over the map gives at the cell of tile t (RPN on the sampled cells; the
/// window of Faster R-CNN, section 3.1).
///
/// A cell is the number (n * H + h) * W + w. cells[t] is the cell in the middle of tile t, -1 an
/// unused tile; places is its inverse: the tile of a cell, -1 where it has none. No cell has two
/// tiles.
namespace frcnn::kernels {

/// (tiles, C, window, window) in the map's channel block; a map that is NHWC gives NHWC tiles.
constexpr MapLayout tiles_layout(const MapLayout& map, int window, int64_t tiles) {
  return {tiles, map.c, window, window, map.block};
}

namespace cpu {

/// y[t, c, i, j] = x[n, c, h + i - window / 2, w + j - window / 2] of cell (n, h, w) = cells[t]; 0
/// outside of the map and in unused tiles. window is odd. x and y may not overlap.
template <typename T>
void gather_tiles(const MapLayout& x_layout, int window, int64_t tiles,
                  const int32_t* cells,  // (tiles)
                  const T* x,            // x_layout
                  T* y);                 // tiles_layout(x_layout, window, tiles)

/// The gradient: dx[n, c, h, w] = sum of dy[t, c, i, j] over the tiles t that hold the cell, rows i
/// and columns j in ascending order; 0 where none does. Deterministic.
template <typename T>
void scatter_tiles(const MapLayout& x_layout, int window,
                   const int32_t* places,  // (n * h * w)
                   const T* dy,            // tiles_layout()
                   T* dx);                 // x_layout

}  // namespace cpu

enum class MapTilesVersion : uint8_t { naive, vector };
inline constexpr gpu::KernelVersion kMapTilesVersions[] = {
    {"naive", "one thread, one number"},
    {"vector", "one thread, 16 bytes of channels; 32-bit indices"},
};

/// The same on a GPU, with the CPU's bits. `vector` takes packs where blocks of channels are whole
/// packs, single numbers elsewhere.
namespace gpu {

template <Backend backend, typename T>
void gather_tiles(Stream stream, const MapLayout& x_layout, int window, int64_t tiles,
                  const int32_t* cells, const T* x, T* y,
                  MapTilesVersion version = MapTilesVersion::vector);
template <Backend backend, typename T>
void scatter_tiles(Stream stream, const MapLayout& x_layout, int window, const int32_t* places,
                   const T* dy, T* dx, MapTilesVersion version = MapTilesVersion::vector);

/// The tiles of sampled anchors: of each image the cells with a label of 0 or more, in ascending
/// order, at most `capacity`, as rows n * capacity + i of `cells`; the rows behind are -1. For GPUs
/// only: host code does the same with std::vector (model/rpn_tiles.h).
template <Backend backend>
void sampled_cells(Stream stream, int64_t images, int64_t cells_per_image, int64_t anchors,
                   int64_t capacity,
                   const int32_t* labels,  // (images, cells_per_image, anchors)
                   int32_t* cells,         // (images, capacity)
                   int32_t* places);       // (images, cells_per_image)

}  // namespace gpu
}  // namespace frcnn::kernels
