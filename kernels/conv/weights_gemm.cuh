#pragma once

#include "kernels/conv/conv_geometry.cuh"
#include "kernels/conv/gemm_cores.cuh"

/// Weights gradient as an implicit GEMM, its sum over pixels split among blocks:
///
///   part[split][o, k] = sum over the pixels m of the split of dy[m, o] * x[pixel of (m, k), c of
///   k]
///
/// Both factors come as (pixel, channel) tiles, in which the sum's index is slowest: ColumnTile.
/// finish_weights() adds the parts in order.
namespace frcnn::kernels::gpu::conv {
namespace {

/// Whole chunks (16 bytes of channels): each thread serves one chunk of two pixels of both factors.
/// Its channels, and with them the filter tap, stay the same through the whole sum.
template <class Core, typename T>
class WeightsAsyncLoader {
  using Shape = typename Core::Shape;
  using TileA = ColumnTile<T, Shape::kM>;
  using TileB = ColumnTile<T, Shape::kN>;
  static constexpr int kChunks = Shape::kM / Core::kChunk;
  static constexpr int kRowsApart = Shape::kThreads / kChunks;
  static_assert(Shape::kM == Shape::kN);

 public:
  static constexpr int kTableBytes = 0, kBlocks = Shape::kBlocks;

  __device__ WeightsAsyncLoader(const WeightsProblem& problem, const T* x, const T* dy,
                                int first_row, int first_column, int first_pixel, int end_pixel,
                                unsigned char* /*table*/)
      : problem_(problem), x_(x), dy_(dy), pixel_(first_pixel + row(0)), end_(end_pixel) {
    const int o = first_row + column(), k = first_column + column();
    has_o_ = o < problem.dy.stored;
    has_k_ = k < problem.columns;
    o_channel_ = has_o_ ? problem.dy.channel(o) : 0;
    const int tap = k / problem.channels, c = k - tap * problem.channels;
    u_ = tap / problem.kernel_w;
    v_ = tap - u_ * problem.kernel_w;
    k_channel_ = has_k_ ? problem.x.channel(c) : 0;
  }
  __device__ __forceinline__ void begin(unsigned char* tile) {
#pragma unroll
    for (int i = 0; i < Core::kTileK / kRowsApart; ++i) {
      const int pixel = pixel_ + i * kRowsApart;
      const int n = problem_.by_plane.quotient(pixel);
      const int cell = pixel - n * problem_.by_plane.divisor();
      const int y = problem_.by_width.quotient(cell);
      const int h = y * problem_.stride_h - problem_.pad_h + u_;
      const int w =
          (cell - y * problem_.by_width.divisor()) * problem_.stride_w - problem_.pad_w + v_;
      const bool has_dy = has_o_ && pixel < end_;
      const bool has_x = has_k_ && pixel < end_ &&
                         static_cast<unsigned>(h) < static_cast<unsigned>(problem_.x.height) &&
                         static_cast<unsigned>(w) < static_cast<unsigned>(problem_.x.width);
      const T* dy = dy_ + (n * problem_.dy.image + cell * problem_.dy.block + o_channel_);
      const T* x = x_ + (n * problem_.x.image + problem_.x.pixel(h, w) + k_channel_);
      const int line = row(i);
      async_copy<16>(tile + TileA::at(line, column()), has_dy ? dy : dy_, has_dy);
      async_copy<16>(tile + TileA::kBytes + TileB::at(line, column()), has_x ? x : x_, has_x);
    }
    pixel_ += Core::kTileK;
  }
  __device__ void finish(unsigned char*) {}

 private:
  __device__ static int column() {
    return static_cast<int>(threadIdx.x) % kChunks * Core::kChunk;
  }
  __device__ static int row(int item) {
    return static_cast<int>(threadIdx.x) / kChunks + item * kRowsApart;
  }
  const WeightsProblem& problem_;
  const T* x_;
  const T* dy_;
  int pixel_, end_;
  int o_channel_, k_channel_, u_, v_;
  bool has_o_, has_k_;
};

/// Element by element, any layout, with conversion: neighbouring lanes take neighbouring pixels
/// (contiguous in NCHW). What a column means is looked up in a table in shared memory.
template <class Core, typename T>
class WeightsElementLoader {
  using Shape = typename Core::Shape;
  using Element = typename Core::Element;
  using TileA = ColumnTile<Element, Shape::kM>;
  using TileB = ColumnTile<Element, Shape::kN>;
  static constexpr int kPixels = Core::kTileK;
  static constexpr int kColumnsApart = Shape::kThreads / kPixels;
  static constexpr int kItems = Shape::kM / kColumnsApart;
  static_assert(Shape::kM == Shape::kN);
  static constexpr int kNone = -1;

  struct Column {
    int o_channel;  ///< offset in dy, or kNone
    int k_channel;  ///< offset in x, or kNone
    int16_t u, v;
  };

 public:
  static constexpr int kTableBytes = Shape::kM * static_cast<int>(sizeof(Column));
  static constexpr int kBlocks = Core::kElementBlocks;

  __device__ WeightsElementLoader(const WeightsProblem& problem, const T* x, const T* dy,
                                  int first_row, int first_column, int first_pixel, int end_pixel,
                                  unsigned char* table)
      : problem_(problem),
        x_(x),
        dy_(dy),
        pixel_(first_pixel + line()),
        end_(end_pixel),
        table_(reinterpret_cast<Column*>(table)) {
    for (int i = static_cast<int>(threadIdx.x); i < Shape::kM; i += Shape::kThreads) {
      const int o = first_row + i, k = first_column + i;
      const int tap = k / problem.channels, u = tap / problem.kernel_w;
      Column& column = table_[i];
      column.o_channel = o < problem.dy.channels ? problem.dy.channel(o) : kNone;
      column.k_channel =
          k < problem.columns ? problem.x.channel(k - tap * problem.channels) : kNone;
      column.u = static_cast<int16_t>(u);
      column.v = static_cast<int16_t>(tap - u * problem.kernel_w);
    }
    __syncthreads();
  }
  __device__ __forceinline__ void begin(unsigned char*) {
    const int n = problem_.by_plane.quotient(pixel_);
    const int cell = pixel_ - n * problem_.by_plane.divisor();
    const int y = problem_.by_width.quotient(cell);
    const int top = y * problem_.stride_h - problem_.pad_h;
    const int left = (cell - y * problem_.by_width.divisor()) * problem_.stride_w - problem_.pad_w;
    const bool inside = pixel_ < end_;
    const T* dy = dy_ + (inside ? n * problem_.dy.image + cell * problem_.dy.block : 0);
    const T* x = x_ + (inside ? n * problem_.x.image : 0);
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      const Column column = table_[this->column(i)];
      const int h = top + column.u, w = left + column.v;
      const bool has_x = inside && column.k_channel != kNone &&
                         static_cast<unsigned>(h) < static_cast<unsigned>(problem_.x.height) &&
                         static_cast<unsigned>(w) < static_cast<unsigned>(problem_.x.width);
      a_[i] = inside && column.o_channel != kNone ? dy[column.o_channel] : T(0.0f);
      b_[i] = has_x ? x[problem_.x.pixel(h, w) + column.k_channel] : T(0.0f);
    }
    pixel_ += kPixels;
  }
  __device__ __forceinline__ void finish(unsigned char* tile) {
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      const auto put = [&](int at, T value) {
        *reinterpret_cast<Element*>(tile + at) = Core::round(static_cast<float>(value));
      };
      put(TileA::at(line(), column(i)), a_[i]);
      put(TileA::kBytes + TileB::at(line(), column(i)), b_[i]);
    }
  }

 private:
  __device__ static int line() {
    return static_cast<int>(threadIdx.x) % kPixels;
  }
  __device__ static int column(int item) {
    return static_cast<int>(threadIdx.x) / kPixels + item * kColumnsApart;
  }
  const WeightsProblem& problem_;
  const T* x_;
  const T* dy_;
  int pixel_, end_;
  Column* table_;
  T a_[kItems], b_[kItems];
};

template <class Core, class Loader>
struct WeightsShared {
  using Shape = typename Core::Shape;
  using Element = typename Core::Element;
  static constexpr int kTileA = ColumnTile<Element, Shape::kM>::kBytes;
  static constexpr int kStage = kTileA + ColumnTile<Element, Shape::kN>::kBytes;
  static constexpr int kStages = Core::kStages * kStage;
  static constexpr int kBytes = kStages + Loader::kTableBytes;
};

/// blockIdx.x: tile of the result; blockIdx.y: split.
template <class Core, class Loader, typename T>
__global__ void __launch_bounds__(Core::Shape::kThreads, Loader::kBlocks)
    weights_gemm(WeightsProblem problem, const T* x, const T* dy, float* parts) {
  using Shape = typename Core::Shape;
  using Shared = WeightsShared<Core, Loader>;
  FRCNN_DYNAMIC_SHARED(unsigned char, shared);
  const int tiles_n = ceil_div(problem.columns, Shape::kN);
  const int first_row = static_cast<int>(blockIdx.x) / tiles_n * Shape::kM;
  const int first_column = static_cast<int>(blockIdx.x) % tiles_n * Shape::kN;
  const int split = static_cast<int>(blockIdx.y);
  const int first_pixel = split * problem.range;
  const int end_pixel = std::min(problem.pixels, first_pixel + problem.range);

  Loader loader(problem, x, dy, first_row, first_column, first_pixel, end_pixel,
                shared + Shared::kStages);
  const int tiles_k = ceil_div(end_pixel - first_pixel, Core::kTileK);
  const auto stage = [&](int k) { return shared + k % Core::kStages * Shared::kStage; };
  for (int k = 0; k < Core::kStages - 1; ++k) {
    if (k < tiles_k) {
      loader.begin(stage(k));
      loader.finish(stage(k));
    }
    async_commit();
  }
  Core core;
  for (int k = 0; k < tiles_k; ++k) {
    async_wait<Core::kStages - 2>();
    __syncthreads();  // tile k is here, and nobody reads tile k - 1 any more
    const int next = k + Core::kStages - 1;
    if (next < tiles_k) loader.begin(stage(next));
    async_commit();
    core.multiply_columns(stage(k), stage(k) + Shared::kTileA);
    if (next < tiles_k) loader.finish(stage(next));
  }
  async_wait<0>();

  float* const part = parts + int64_t{split} * problem.dy.channels * problem.columns + first_column;
  core.each_of_columns([&](int row, int column, float sum) {
    if (first_row + row < problem.dy.channels && first_column + column < problem.columns)
      part[int64_t{first_row + row} * problem.columns + column] = sum;
  });
}

template <class Core, typename T>
void launch_weights_gemm(const char* name, Stream stream, const WeightsProblem& problem,
                         const MapLayout& x_layout, const MapLayout& dy_layout, const T* x,
                         const T* dy, float* parts) {
  using Shape = typename Core::Shape;
  const Dim3 grid(static_cast<unsigned>(ceil_div(problem.dy.channels, Shape::kM) *
                                        ceil_div(problem.columns, Shape::kN)),
                  static_cast<unsigned>(problem.splits));
  if constexpr (std::is_same_v<T, typename Core::Element>) {
    if (chunks_are_contiguous<Core>(x_layout, x) && chunks_are_contiguous<Core>(dy_layout, dy)) {
      using Loader = WeightsAsyncLoader<Core, T>;
      launch({name, grid, Shape::kThreads, WeightsShared<Core, Loader>::kBytes, stream},
             weights_gemm<Core, Loader, T>, problem, x, dy, parts);
      return;
    }
  }
  using Loader = WeightsElementLoader<Core, T>;
  launch({name, grid, Shape::kThreads, WeightsShared<Core, Loader>::kBytes, stream},
         weights_gemm<Core, Loader, T>, problem, x, dy, parts);
}

}  // namespace
}  // namespace frcnn::kernels::gpu::conv
