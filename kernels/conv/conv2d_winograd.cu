// Convolution, version "winograd": F(4x4, 3x3) of Lavin & Gray (CVPR 2016), section 4.3.
//
//   Y = A^T [ sum over c of (G g G^T) o (B^T d B) ] A
//
// with d a 6x6 tile of the source map (tiles overlap by two), g a 3x3 filter, Y a 4x4 tile of the
// target map and o the product element by element. For each of the 36 elements the sum over
// channels is a matrix product of its own: filters (sources, targets), tiles (sources, panel).
#include "kernels/conv/conv_versions.cuh"
#include "kernels/conv/gemm_cores.cuh"

namespace frcnn::kernels::gpu::conv {
namespace {

constexpr int kThreads = 128;
constexpr int kPoints = WinogradSize::kPoints;

// The three transforms of one column; x and y are strided.

/// y (6) = B^T x (6)
__device__ __forceinline__ void transform_data(const float* x, int step, float* y) {
  const float x0 = x[0], x1 = x[step], x2 = x[2 * step], x3 = x[3 * step], x4 = x[4 * step],
              x5 = x[5 * step];
  y[0] = 4 * x0 - 5 * x2 + x4;
  y[step] = -4 * (x1 + x2) + (x3 + x4);
  y[2 * step] = 4 * (x1 - x2) + (x4 - x3);
  y[3 * step] = 2 * (x3 - x1) + (x4 - x2);
  y[4 * step] = 2 * (x1 - x3) + (x4 - x2);
  y[5 * step] = 4 * x1 - 5 * x3 + x5;
}
/// y (6) = G x (3)
__device__ __forceinline__ void transform_filter(const float* x, int step_x, float* y, int step_y) {
  const float x0 = x[0], x1 = x[step_x], x2 = x[2 * step_x];
  y[0] = x0 / 4;
  y[step_y] = -(x0 + x1 + x2) / 6;
  y[2 * step_y] = -(x0 - x1 + x2) / 6;
  y[3 * step_y] = x0 / 24 + x1 / 12 + x2 / 6;
  y[4 * step_y] = x0 / 24 - x1 / 12 + x2 / 6;
  y[5 * step_y] = x2;
}
/// y (4) = A^T x (6)
__device__ __forceinline__ void transform_result(const float* x, int step_x, float* y, int step_y) {
  const float x0 = x[0], x1 = x[step_x], x2 = x[2 * step_x], x3 = x[3 * step_x], x4 = x[4 * step_x],
              x5 = x[5 * step_x];
  y[0] = x0 + (x1 + x2) + (x3 + x4);
  y[step_y] = (x1 - x2) + 2 * (x3 - x4);
  y[2 * step_y] = (x1 + x2) + 4 * (x3 + x4);
  y[3 * step_y] = (x1 - x2) + 8 * (x3 - x4) + x5;
}

/// packed (36, sources, packed_targets). The data gradient is a forward pass over dy with the
/// filter turned by 180 degrees and its channels exchanged.
__global__ void __launch_bounds__(kThreads)
    pack_kernel(int sources, int targets, int packed_targets, bool backward, const float* w,
                float* packed) {
  const int64_t count = int64_t{sources} * packed_targets;
  for (int64_t i = grid_first(); i < count; i += grid_step()) {
    const int target = static_cast<int>(i % packed_targets);
    const int64_t source = i / packed_targets;
    float g[9] = {}, half[18], u[kPoints];
    if (target < targets) {
      const float* from =
          w + 9 * (backward ? source * targets + target : target * int64_t{sources} + source);
#pragma unroll
      for (int e = 0; e < 9; ++e) g[e] = from[backward ? 8 - e : e];
    }
#pragma unroll
    for (int column = 0; column < 3; ++column) transform_filter(g + column, 3, half + column, 3);
#pragma unroll
    for (int row = 0; row < 6; ++row) transform_filter(half + 3 * row, 1, u + 6 * row, 1);
#pragma unroll
    for (int point = 0; point < kPoints; ++point) packed[point * count + i] = u[point];
  }
}

/// Tile `index` of the target map: its image and first row and column.
struct Tile {
  int image, row, column;
  __device__ Tile(int64_t index, int tiles_h, int tiles_w) {
    const auto line = static_cast<int>(index / tiles_w);
    image = line / tiles_h;
    row = 4 * (line - image * tiles_h);
    column = 4 * static_cast<int>(index - int64_t{line} * tiles_w);
  }
};

/// data (36, sources, panel): one thread per tile and channel, neighbouring lanes neighbouring
/// tiles. The target's (0, 0) lies at the source's (-pad_h, -pad_w).
__global__ void __launch_bounds__(kThreads)
    data_kernel(Map map, int tiles_h, int tiles_w, int pad_h, int pad_w, int64_t first, int tiles,
                int panel, const float* source, float* data) {
  const int64_t count = int64_t{map.channels} * panel;
  for (int64_t i = grid_first(); i < count; i += grid_step()) {
    const int c = static_cast<int>(i / panel), p = static_cast<int>(i - int64_t{c} * panel);
    float d[kPoints] = {};
    if (p < tiles) {
      const Tile tile(first + p, tiles_h, tiles_w);
      const float* from = source + tile.image * map.image + map.channel(c);
#pragma unroll
      for (int row = 0; row < 6; ++row)
#pragma unroll
        for (int column = 0; column < 6; ++column) {
          const int h = tile.row - pad_h + row, w = tile.column - pad_w + column;
          if (static_cast<unsigned>(h) < static_cast<unsigned>(map.height) &&
              static_cast<unsigned>(w) < static_cast<unsigned>(map.width))
            d[6 * row + column] = from[map.pixel(h, w)];
        }
    }
#pragma unroll
    for (int column = 0; column < 6; ++column) transform_data(d + column, 6, d + column);
#pragma unroll
    for (int row = 0; row < 6; ++row) transform_data(d + 6 * row, 1, d + 6 * row);
#pragma unroll
    for (int point = 0; point < kPoints; ++point) data[point * count + i] = d[point];
  }
}

/// result[point] (targets, panel) = filters[point]^T (targets, sources) data[point] (sources,
/// panel); point = blockIdx.z. Both factors have the sum's index slowest: ColumnTile.
template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks)
    product_kernel(int sources, int targets, int packed_targets, int panel, const float* filters,
                   const float* data, float* result) {
  using Core = FmaCore<Shape>;
  using TileA = ColumnTile<float, Shape::kM>;
  using TileB = ColumnTile<float, Shape::kN>;
  static_assert(Shape::kM == Shape::kN);
  constexpr int kChunks = Shape::kM / Core::kChunk, kRowsApart = Shape::kThreads / kChunks;
  constexpr int kStage = TileA::kBytes + TileB::kBytes;
  FRCNN_DYNAMIC_SHARED(unsigned char, shared);
  const int first_m = static_cast<int>(blockIdx.y) * Shape::kM;
  const int first_n = static_cast<int>(blockIdx.x) * Shape::kN;
  const int point = static_cast<int>(blockIdx.z);
  filters += int64_t{point} * sources * packed_targets;
  data += int64_t{point} * sources * panel;
  result += int64_t{point} * targets * panel;

  const int column = static_cast<int>(threadIdx.x) % kChunks * Core::kChunk;
  const int row = static_cast<int>(threadIdx.x) / kChunks;
  const auto load = [&](int k) {
    unsigned char* const stage = shared + k % Core::kStages * kStage;
#pragma unroll
    for (int line = row; line < Core::kTileK; line += kRowsApart) {
      const int64_t source = k * Core::kTileK + line;
      const bool has_a = source < sources && first_m + column < packed_targets;
      const bool has_b = source < sources && first_n + column < panel;
      async_copy<16>(stage + TileA::at(line, column),
                     filters + (has_a ? source * packed_targets + first_m + column : 0), has_a);
      async_copy<16>(stage + TileA::kBytes + TileB::at(line, column),
                     data + (has_b ? source * panel + first_n + column : 0), has_b);
    }
  };
  const int tiles_k = ceil_div(sources, Core::kTileK);
  for (int k = 0; k < Core::kStages - 1; ++k) {
    if (k < tiles_k) load(k);
    async_commit();
  }
  Core core;
  for (int k = 0; k < tiles_k; ++k) {
    async_wait<Core::kStages - 2>();
    __syncthreads();
    if (k + Core::kStages - 1 < tiles_k) load(k + Core::kStages - 1);
    async_commit();
    const unsigned char* const stage = shared + k % Core::kStages * kStage;
    core.multiply_columns(stage, stage + TileA::kBytes);
  }
  async_wait<0>();
  core.each_of_columns([&](int m, int n, float sum) {
    if (first_m + m < targets && first_n + n < panel)
      result[int64_t{first_m + m} * panel + first_n + n] = sum;
  });
}

/// One thread per tile and channel of the target map, padding channels included.
__global__ void __launch_bounds__(kThreads)
    result_kernel(Map map, int tiles_h, int tiles_w, int64_t first, int tiles, int panel,
                  const float* result, const float* bias, bool relu, float* target) {
  const int64_t count = int64_t{map.stored} * tiles, plane = int64_t{map.channels} * panel;
  for (int64_t i = grid_first(); i < count; i += grid_step()) {
    const int c = static_cast<int>(i / tiles), p = static_cast<int>(i - int64_t{c} * tiles);
    float m[kPoints] = {}, half[24], y[16];
    if (c < map.channels) {
#pragma unroll
      for (int point = 0; point < kPoints; ++point)
        m[point] = result[point * plane + int64_t{c} * panel + p];
    }
#pragma unroll
    for (int column = 0; column < 6; ++column) transform_result(m + column, 6, half + column, 6);
#pragma unroll
    for (int row = 0; row < 4; ++row) transform_result(half + 6 * row, 1, y + 4 * row, 1);
    const float b = bias != nullptr && c < map.channels ? bias[c] : 0.0f;
    const Tile tile(first + p, tiles_h, tiles_w);
    float* const to = target + tile.image * map.image + map.channel(c);
#pragma unroll
    for (int row = 0; row < 4; ++row)
#pragma unroll
      for (int column = 0; column < 4; ++column) {
        const int h = tile.row + row, w = tile.column + column;
        const float value = y[4 * row + column] + b;
        if (h < map.height && w < map.width)
          to[map.pixel(h, w)] = relu && value < 0.0f ? 0.0f : value;
      }
  }
}

}  // namespace

template <Backend backend>
void winograd_pack(Stream stream, const Conv2dParams& p, bool backward, const float* w,
                   float* packed) {
  const WinogradSize size(p, backward);
  const int64_t count = int64_t{size.sources} * size.packed_targets;
  launch({"conv2d_pack_winograd", blocks_for(count, kThreads), kThreads, 0, stream}, pack_kernel,
         size.sources, size.targets, size.packed_targets, backward, w, packed);
}

template <Backend backend>
void winograd_run(Stream stream, const Conv2dParams& p, bool backward, const float* source,
                  const float* packed, const float* bias, float* target, void* workspace,
                  ConvTile tile) {
  const WinogradSize size(p, backward);
  const Map from(backward ? p.output() : p.input), to(backward ? p.input : p.output());
  const int pad_h = backward ? 2 - p.pad_h : p.pad_h, pad_w = backward ? 2 - p.pad_w : p.pad_w;
  const int tiles_h = static_cast<int>(size.tiles_h), tiles_w = static_cast<int>(size.tiles_w);
  const int panel = static_cast<int>(size.panel);
  auto* const data = static_cast<float*>(workspace);
  float* const result = data + int64_t{kPoints} * size.sources * panel;
  const auto blocks = [](int64_t items) { return blocks_for(items, kThreads); };
  const auto product = [&](auto shape) {
    using Shape = decltype(shape);
    const Dim3 grid(static_cast<unsigned>(ceil_div(panel, Shape::kN)),
                    static_cast<unsigned>(ceil_div(size.targets, Shape::kM)), kPoints);
    constexpr int kBytes = FmaCore<Shape>::kStages * (ColumnTile<float, Shape::kM>::kBytes +
                                                      ColumnTile<float, Shape::kN>::kBytes);
    launch({"conv2d_winograd_product", grid, Shape::kThreads, kBytes, stream},
           product_kernel<Shape>, size.sources, size.targets, size.packed_targets, panel, packed,
           data, result);
  };
  for (int64_t first = 0; first < size.tiles; first += panel) {
    const int tiles = static_cast<int>(std::min(size.panel, size.tiles - first));
    launch({"conv2d_winograd_data", blocks(int64_t{size.sources} * panel), kThreads, 0, stream},
           data_kernel, from, tiles_h, tiles_w, pad_h, pad_w, first, tiles, panel, source, data);
    if (takes_large_tile(tile, size.targets, panel, kPoints)) {
      product(LargeShape{});
    } else {
      product(SmallShape{});
    }
    launch({"conv2d_winograd_result", blocks(int64_t{to.stored} * tiles), kThreads, 0, stream},
           result_kernel, to, tiles_h, tiles_w, first, tiles, panel, result, bias,
           p.relu && !backward, target);
  }
}

template void winograd_pack<kBackend>(Stream, const Conv2dParams&, bool, const float*, float*);
template void winograd_run<kBackend>(Stream, const Conv2dParams&, bool, const float*, const float*,
                                     const float*, float*, void*, ConvTile);

}  // namespace frcnn::kernels::gpu::conv
