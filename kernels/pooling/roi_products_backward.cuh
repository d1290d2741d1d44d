#pragma once

#include "kernels/pooling/roi_walk.cuh"

/// The layers of roi_products.cuh, backward to the map: dx[b] = sum over r of A_r^T dy[r] B_r,
/// gathered as roi_walk.cuh describes.
namespace frcnn::kernels::gpu::roi {

template <typename Problem, typename T>
__global__ void products_backward_naive(Problem problem, const T* rois, const T* dy, T* dx) {
  const MapLayout& map = problem.map;
  const int pooled_h = problem.pooled_h(), pooled_w = problem.pooled_w();
  const int64_t bins = problem.bins(), live = live_rois(problem.capacity, problem.count);
  const int64_t count = map.size();
  for (int64_t index = grid_first(); index < count; index += grid_step()) {
    const auto [image, c, row, column] = map.element(index);
    const int h = static_cast<int>(row), w = static_cast<int>(column);
    T sum = 0;
    for (int64_t r = 0; c < map.c && r < live; ++r) {
      const T* roi = rois + 5 * r;
      if (image_of(roi, map) != image) continue;
      const auto rows = problem.rows_of(roi), columns = problem.columns_of(roi);
      const T* gradient = dy + (r * map.c + c) * bins;
      if (!rows.valid || !columns.valid) continue;
      for (int j = 0; j < pooled_w; ++j) {
        const T weight = columns.weight(j, w);
        if (weight == T(0)) continue;
        T part = 0;
        for (int i = 0; i < pooled_h; ++i) {
          const T row_weight = rows.weight(i, h);
          if (row_weight != T(0)) part = std::fma(row_weight, gradient[i * pooled_w + j], part);
        }
        sum = std::fma(weight, part, sum);
      }
    }
    dx[index] = sum;
  }
}

/// Shared memory of the tile kernels, in numbers: weights of both axes, `buffers` tiles of dy.
struct TileShape {
  int bins, stride;  ///< stride between channels: odd, so that the lanes meet different banks
  int rows, columns;
  template <typename Problem>
  explicit __host__ __device__ TileShape(const Problem& problem)
      : bins(problem.bins()),
        stride(bins | 1),
        rows(problem.pooled_h()),
        columns(problem.pooled_w()) {}
  __host__ __device__ int tile_size() const { return kTileChannels * stride; }
  __host__ __device__ int weights_size() const { return kTileH * rows + kTileW * columns; }
  size_t size(int buffers) const {
    const int tiles = buffers * tile_size();
    return static_cast<size_t>(weights_size() + (tiles > kStoreSize ? tiles : kStoreSize));
  }
};

/// Bins that may have a weight in a piece of dx.
struct Near {
  int first_row, end_row, first_column, end_column;
};

template <typename Problem, typename T, bool kPipelined>
__global__ void __launch_bounds__(kTileThreads, sizeof(T) == 8 ? 2 : 4)
    products_backward_tile(Problem problem, const T* rois, const T* dy, T* dx) {
  const MapLayout& map = problem.map;
  const TileShape shape(problem);
  const Tile tile = this_tile(map);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, row = thread / 32;
  const int64_t left = map.c - tile.channel;
  const int channels = left < kTileChannels ? static_cast<int>(left) : kTileChannels;

  FRCNN_DYNAMIC_SHARED(T, memory);
  T* row_weights = memory;                                // (pooled_h, 8)
  T* column_weights = row_weights + kTileH * shape.rows;  // (pooled_w, 8)
  T* tiles = column_weights + kTileW * shape.columns;     // dy: (32, bins), once or twice

  const auto near_of = [&](const T* roi) {
    Near near;
    problem.rows_of(roi).bins_near(tile.h, tile.h + kTileH, near.first_row, near.end_row);
    problem.columns_of(roi).bins_near(tile.w, tile.w + kTileW, near.first_column, near.end_column);
    return near;
  };
  const auto touches = [&](int64_t r) {
    const T* roi = rois + 5 * r;
    if (image_of(roi, map) != tile.image || channels <= 0) return false;
    const Near near = near_of(roi);
    return near.first_row < near.end_row && near.first_column < near.end_column;
  };
  const auto load = [&](int64_t r, int buffer) {
    const Near near = near_of(rois + 5 * r);
    load_bins<kPipelined>(dy + (r * map.c + tile.channel) * shape.bins, channels, shape.bins,
                          near.first_row * shape.columns, near.end_row * shape.columns,
                          shape.stride, tiles + buffer * shape.tile_size());
    if constexpr (kPipelined) async_commit();
  };

  T sum[kTileW] = {};
  const auto add = [&](int64_t r, int buffer) {
    const T* roi = rois + 5 * r;
    const Near near = near_of(roi);
    const auto rows = problem.rows_of(roi), columns = problem.columns_of(roi);
    for (int i = thread; i < kTileH * shape.rows; i += kTileThreads) {
      const int bin = i / kTileH;
      if (bin >= near.first_row && bin < near.end_row)
        row_weights[i] = rows.weight(bin, tile.h + i % kTileH);
    }
    for (int i = thread; i < kTileW * shape.columns; i += kTileThreads) {
      const int bin = i / kTileW;
      if (bin >= near.first_column && bin < near.end_column)
        column_weights[i] = columns.weight(bin, tile.w + i % kTileW);
    }
    arrived<kPipelined>();
    __syncthreads();
    const T* gradients = tiles + buffer * shape.tile_size() + lane * shape.stride;
    for (int j = near.first_column; j < near.end_column && lane < channels; ++j) {
      T part = 0;
      for (int i = near.first_row; i < near.end_row; ++i) {
        const T weight = row_weights[i * kTileH + row];  // the same in the whole warp
        if (weight != T(0)) part = std::fma(weight, gradients[i * shape.columns + j], part);
      }
      for (int w = 0; w < kTileW; ++w) {
        const T weight = column_weights[j * kTileW + w];
        if (weight != T(0)) sum[w] = std::fma(weight, part, sum[w]);
      }
    }
    __syncthreads();
  };
  for_rois_in_order(
      live_rois(problem.capacity, problem.count), touches,
      [&](const int* list, int size) { add_list<kPipelined>(list, size, load, add); });
  store_tile(map, tile, lane, row, sum, tiles, dx);
}

/// dx of all RoIs. Version: naive, tile, pipelined.
template <typename Problem, typename T, typename Version>
void run_products_backward(Stream stream, const Problem& problem, const T* rois, const T* dy, T* dx,
                           Version version) {
  const TileShape shape(problem);
  const auto bytes = [&](int buffers) { return shape.size(buffers) * sizeof(T); };
  run_backward(
      version == Version::naive, version == Version::pipelined, bytes,
      [&](int buffers) {
        launch({Problem::kNames.backward_tile, static_cast<unsigned>(tiles_of(problem.map)),
                kTileThreads, bytes(buffers), stream},
               buffers == 2 ? products_backward_tile<Problem, T, true>
                            : products_backward_tile<Problem, T, false>,
               problem, rois, dy, dx);
      },
      [&] {
        constexpr int kThreads = 256;
        launch({Problem::kNames.backward_naive, blocks_for(problem.map.size(), kThreads), kThreads,
                0, stream},
               products_backward_naive<Problem, T>, problem, rois, dy, dx);
      });
}

}  // namespace frcnn::kernels::gpu::roi
