#pragma once

#include <cstdint>
#include <vector>

#include "kernels/boxes/batch.h"
#include "kernels/launch/gpu.h"

namespace frcnn::kernels {

/// How the sides of base anchors become numbers.
enum class AnchorRounding : uint8_t {
  paper,  ///< as the original code: ws = round(sqrt(base^2 / r)), hs = round(ws r), then scaled
  torchvision,  ///< w = s / sqrt(r), h = s sqrt(r), corners -w/2 .. w/2 rounded, halves to even
  none,         ///< w = s / sqrt(r), h = s sqrt(r), exact: the area is s^2
};

/// Where the anchors of a cell are centred.
enum class AnchorCentre : uint8_t {
  cell,    ///< the middle of the cell: (i + 0.5) * stride; 8 + 16 i at stride 16
  corner,  ///< its first corner: i * stride (torchvision)
};

/// Which pairs of size and ratio become anchors.
enum class AnchorCombine : uint8_t {
  all,    ///< every size with every ratio; order: for each ratio, every size
  first,  ///< every size with the first ratio, then the first size with the other ratios: n + m - 1
};

struct AnchorParams {
  std::vector<double> sizes = {128, 256, 512};  ///< square roots of the areas, pixels
  std::vector<double> ratios = {0.5, 1, 2};     ///< height / width
  AnchorRounding rounding = AnchorRounding::paper;
  AnchorCentre centre = AnchorCentre::cell;
  double base = 16;  ///< side of the box whose rounded shapes are scaled (rounding `paper`)
  AnchorCombine combine = AnchorCombine::all;
  int64_t per_cell() const {
    const size_t count = combine == AnchorCombine::all ? sizes.size() * ratios.size()
                                                       : sizes.size() + ratios.size() - 1;
    return static_cast<int64_t>(count);
  }
};

/// Anchors around the origin, (A, 4) as x1, y1, x2, y2, in the order of `combine`. Source of `all`:
/// Ren et al., section 3.1.1, in the order of the original code and of torchvision; of `first`:
/// Zhang et al., Dive into Deep Learning, section "Anchor Boxes".
///
/// The original code prints its anchors for the first cell as inclusive 1-based pixels, from
/// (-83 -39 100 56) to (-167 -343 184 360). Continuous boxes (x1 - 1, y1 - 1, x2, y2) of the same
/// pixels are these base anchors moved to the centre (8, 8) of that cell. Throws Error on sizes,
/// ratios <= 0.
std::vector<double> base_anchors(const AnchorParams& params);

namespace cpu {

/// All anchors of a map in the order (H, W, A): anchor a of cell (i, j) is row (i W + j) A + a, the
/// order of a convolution's outputs. Strides may be fractions and differ between the axes.
template <typename T>
void grid_anchors(const AnchorParams& params, int64_t map_h, int64_t map_w, double stride_y,
                  double stride_x,
                  T* anchors);  // (map_h * map_w * A, 4)

/// inside[i] = 1 when box i has x1 >= 0, y1 >= 0, x2 < width and y2 < height, else 0 (NaN: 0). The
/// far side is strict, so that a box that ends exactly there is outside: the original code's table
/// of anchors, taken as zero-based pixels, and its test x2 < width count the same boxes. With it,
/// `paper` rounding and centres in the middle of the cells, 7,790 of the 20,646 anchors of 600x1000
/// pixels (37x62 map) and 5,700 of the 16,650 of 600x800 (37x50 map) are inside; were boxes that
/// touch the far side inside too, 8,151 and 5,944.
template <typename T>
void boxes_inside(int64_t count, double height, double width,
                  const T* boxes,    // (count, 4)
                  uint8_t* inside);  // (count)

}  // namespace cpu

/// The same on a GPU, the same bits.
enum class AnchorVersion : uint8_t { naive, box };
inline constexpr gpu::KernelVersion kAnchorVersions[] = {
    {"naive", "one thread, one coordinate"},
    {"box", "one thread, one anchor: index arithmetic once for four numbers, 16-byte stores"},
};

namespace gpu {

/// Anchors per cell that a launch can carry.
inline constexpr int64_t kMostAnchorsPerCell = 96;

/// Throws Error when a cell has more than kMostAnchorsPerCell anchors.
template <Backend backend, typename T>
void grid_anchors(Stream stream, const AnchorParams& params, int64_t map_h, int64_t map_w,
                  double stride_y, double stride_x,
                  T* anchors,  // (map_h * map_w * A, 4)
                  AnchorVersion version = AnchorVersion::box);

/// The boxes of all images of a batch, which are the same (anchors), against the limits of each
/// image: inside[n, i] = inside_value when box i is inside image n, else 1 - inside_value. With
/// inside_value 0 the result is what iou_best() skips.
template <Backend backend, typename T>
void boxes_inside(Stream stream, int64_t images, int64_t count,
                  const ImageLimits<T>* limits,  // (images)
                  const T* boxes,                // (count, 4)
                  uint8_t* inside,               // (images, count)
                  uint8_t inside_value = 1);

}  // namespace gpu
}  // namespace frcnn::kernels
