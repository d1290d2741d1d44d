#include "kernels/boxes/anchors.h"

#include <algorithm>

#include "kernels/boxes/iou.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;

/// What a launch carries: the base anchors travel in the kernel's parameters.
struct Grid {
  double base[kMostAnchorsPerCell * 4];
  int64_t per_cell, map_w;
  double shift, stride_y, stride_x;
};

/// Coordinate k of anchor a of the cell in the row and column. Product and sums are rounded one by
/// one, in double, as on the CPU.
__device__ double coordinate(const Grid& grid, int64_t row, int64_t column, int64_t a, int k) {
  const double cell = static_cast<double>(k % 2 != 0 ? row : column);
  const double stride = k % 2 != 0 ? grid.stride_y : grid.stride_x;
  return add_rn(grid.base[4 * a + k], mul_rn(add_rn(cell, grid.shift), stride));
}

template <typename T>
__global__ void anchors_naive(const Grid grid, int64_t numbers, T* anchors) {
  for (int64_t i = grid_first(); i < numbers; i += grid_step()) {
    const int64_t anchor = i / 4, cell = anchor / grid.per_cell;
    anchors[i] = static_cast<T>(coordinate(grid, cell / grid.map_w, cell % grid.map_w,
                                           anchor % grid.per_cell, static_cast<int>(i % 4)));
  }
}

template <typename T>
__global__ void anchors_box(const Grid grid, int64_t count, T* anchors) {
  for (int64_t i = grid_first(); i < count; i += grid_step()) {
    const int64_t cell = i / grid.per_cell, a = i % grid.per_cell;
    const int64_t row = cell / grid.map_w, column = cell % grid.map_w;
    Quad<T> box;
    for (int k = 0; k < 4; ++k) box.v[k] = static_cast<T>(coordinate(grid, row, column, a, k));
    store_quad(anchors + 4 * i, box);
  }
}

template <typename T>
__global__ void inside_kernel(int64_t count, const ImageLimits<T>* limits, const T* boxes,
                              uint8_t* inside, uint8_t inside_value) {
  const ImageLimits<T> image = limits[blockIdx.y];
  uint8_t* row = inside + blockIdx.y * count;
  for (int64_t i = grid_first(); i < count; i += grid_step()) {
    const Quad<T> b = load_quad(boxes + 4 * i);
    const bool in = b.v[0] >= 0 && b.v[1] >= 0 && b.v[2] < image.width && b.v[3] < image.height;
    row[i] = in ? inside_value : static_cast<uint8_t>(1 - inside_value);
  }
}

}  // namespace

template <Backend backend, typename T>
void grid_anchors(Stream stream, const AnchorParams& params, int64_t map_h, int64_t map_w,
                  double stride_y, double stride_x, T* anchors, AnchorVersion version) {
  const std::vector<double> base = base_anchors(params);
  check(params.per_cell() <= kMostAnchorsPerCell,
        "[anchors] expected at most {} anchors per cell on a GPU, got {}", kMostAnchorsPerCell,
        params.per_cell());
  Grid grid{};
  std::copy(base.begin(), base.end(), grid.base);
  grid.per_cell = params.per_cell();
  grid.map_w = map_w;
  grid.shift = params.centre == AnchorCentre::cell ? 0.5 : 0.0;
  grid.stride_y = stride_y;
  grid.stride_x = stride_x;
  const int64_t count = map_h * map_w * params.per_cell();
  if (version == AnchorVersion::naive)
    launch({"anchors_naive", blocks_for(4 * count, kThreads), kThreads, 0, stream},
           anchors_naive<T>, grid, 4 * count, anchors);
  else
    launch({"anchors_box", blocks_for(count, kThreads), kThreads, 0, stream}, anchors_box<T>, grid,
           count, anchors);
}

template <Backend backend, typename T>
void boxes_inside(Stream stream, int64_t images, int64_t count, const ImageLimits<T>* limits,
                  const T* boxes, uint8_t* inside, uint8_t inside_value) {
  launch({"boxes_inside", Dim3(blocks_for(count, kThreads), static_cast<unsigned>(images)),
          kThreads, 0, stream},
         inside_kernel<T>, count, limits, boxes, inside, inside_value);
}

#define FRCNN_INSTANTIATE(T)                                                                     \
  template void grid_anchors<kBackend, T>(Stream, const AnchorParams&, int64_t, int64_t, double, \
                                          double, T*, AnchorVersion);                            \
  template void boxes_inside<kBackend, T>(Stream, int64_t, int64_t, const ImageLimits<T>*,       \
                                          const T*, uint8_t*, uint8_t);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
