// RoI max pooling on a GPU, backward: gathers, as roi_walk.cuh describes. A number of dx receives
// what the CPU adds to it, in the same order: RoIs, then bins.
#include "kernels/pooling/roi_pool.cuh"
#include "kernels/pooling/roi_pool.h"
#include "kernels/pooling/roi_walk.cuh"

namespace frcnn::kernels::gpu {
namespace {

using namespace roi;

constexpr int kThreads = 256;

template <typename T>
__global__ void pool_backward_naive(PoolProblem problem, const T* rois, const T* dy,
                                    const int32_t* argmax, T* dx) {
  const MapLayout& map = problem.map;
  const int64_t bins = problem.bins(), live = live_rois(problem.capacity, problem.count);
  const int64_t count = map.size();
  for (int64_t index = grid_first(); index < count; index += grid_step()) {
    const auto [image, c, h, w] = map.element(index);
    const int64_t pixel = h * map.w + w;
    T sum = 0;
    for (int64_t r = 0; c < map.c && r < live; ++r) {
      if (image_of(rois + 5 * r, map) != image) continue;
      const int64_t first = (r * map.c + c) * bins;
      for (int64_t b = first; b < first + bins; ++b)
        if (argmax[b] == pixel) sum = add_rn(sum, dy[b]);
    }
    dx[index] = sum;
  }
}

/// Shared memory: `buffers` tiles of dy and of argmax.
struct TileShape {
  int bins, stride;  ///< stride between channels: odd, so that the lanes meet different banks
  explicit __host__ __device__ TileShape(const PoolProblem& problem)
      : bins(problem.bins()), stride(bins | 1) {}
  __host__ __device__ int tile_size() const { return kTileChannels * stride; }
  template <typename T>
  size_t bytes(int buffers) const {
    const auto tiles = static_cast<size_t>(buffers) * static_cast<size_t>(tile_size());
    const size_t wanted = tiles * (sizeof(T) + sizeof(int32_t)), store = kStoreSize * sizeof(T);
    return wanted > store ? wanted : store;
  }
};

template <typename T, bool kPipelined>
__global__ void __launch_bounds__(kTileThreads, sizeof(T) == 8 ? 2 : 4)
    pool_backward_tile(PoolProblem problem, const T* rois, const T* dy, const int32_t* argmax,
                       T* dx) {
  const MapLayout& map = problem.map;
  const TileShape shape(problem);
  const Tile tile = this_tile(map);
  const int lane = static_cast<int>(threadIdx.x % 32), row = static_cast<int>(threadIdx.x / 32);
  const auto pooled_h = static_cast<int>(problem.params.pooled_h);
  const auto pooled_w = static_cast<int>(problem.params.pooled_w);
  const int64_t left = map.c - tile.channel;
  const int channels = left < kTileChannels ? static_cast<int>(left) : kTileChannels;
  const int first_cell = (tile.h + row) * static_cast<int>(map.w) + tile.w;

  FRCNN_DYNAMIC_SHARED(T, tiles);  // dy: (32, bins), once or twice; then argmax likewise
  auto* tiles_at = reinterpret_cast<int32_t*>(tiles + (kPipelined ? 2 : 1) * shape.tile_size());

  const auto rows_near = [&](const T* roi) {
    return problem.rows_of(roi).bins_near(tile.h, tile.h + kTileH, pooled_h);
  };
  const auto columns_near = [&](const T* roi) {
    return problem.columns_of(roi).bins_near(tile.w, tile.w + kTileW, pooled_w);
  };
  const auto touches = [&](int64_t r) {
    const T* roi = rois + 5 * r;
    if (image_of(roi, map) != tile.image || channels <= 0) return false;
    const Range rows = rows_near(roi), columns = columns_near(roi);
    return rows.begin < rows.end && columns.begin < columns.end;
  };
  const auto load = [&](int64_t r, int buffer) {
    const Range rows = rows_near(rois + 5 * r);
    const int64_t from = (r * map.c + tile.channel) * shape.bins;
    const int first = rows.begin * pooled_w, end = rows.end * pooled_w;
    const int to = buffer * shape.tile_size();
    load_bins<kPipelined>(dy + from, channels, shape.bins, first, end, shape.stride, tiles + to);
    load_bins<kPipelined>(argmax + from, channels, shape.bins, first, end, shape.stride,
                          tiles_at + to);
    if constexpr (kPipelined) async_commit();
  };

  T sum[kTileW] = {};
  const auto add = [&](int64_t r, int buffer) {
    const Range rows = rows_near(rois + 5 * r), columns = columns_near(rois + 5 * r);
    arrived<kPipelined>();
    __syncthreads();
    const int mine = buffer * shape.tile_size() + lane * shape.stride;
    for (int i = rows.begin; i < rows.end && lane < channels; ++i)
      for (int j = columns.begin; j < columns.end; ++j) {
        const int bin = mine + i * pooled_w + j;
        const int at = tiles_at[bin] - first_cell;  // argmax -1 is before every cell
        if (at < 0 || at >= kTileW) continue;
        const T gradient = tiles[bin];
        for (int w = 0; w < kTileW; ++w) sum[w] = w == at ? add_rn(sum[w], gradient) : sum[w];
      }
    __syncthreads();
  };
  for_rois_in_order(
      live_rois(problem.capacity, problem.count), touches,
      [&](const int* list, int size) { add_list<kPipelined>(list, size, load, add); });
  store_tile(map, tile, lane, row, sum, tiles, dx);
}

}  // namespace

template <Backend backend, typename T>
void roi_pool_backward(Stream stream, const MapLayout& map, const RoiPoolParams& params,
                       int64_t rois_count, const T* rois, const T* dy, const int32_t* argmax, T* dx,
                       const int32_t* rois_count_device, RoiPoolBackwardVersion version) {
  validate_pool(map, params);
  const PoolProblem problem = {map, params, rois_count, rois_count_device};
  const TileShape shape(problem);
  const auto bytes = [&](int buffers) { return shape.bytes<T>(buffers); };
  using Version = RoiPoolBackwardVersion;
  run_backward(
      version == Version::naive, version == Version::pipelined, bytes,
      [&](int buffers) {
        launch({"roi_pool_backward_tile", static_cast<unsigned>(tiles_of(map)), kTileThreads,
                bytes(buffers), stream},
               buffers == 2 ? pool_backward_tile<T, true> : pool_backward_tile<T, false>, problem,
               rois, dy, argmax, dx);
      },
      [&] {
        launch({"roi_pool_backward_naive", blocks_for(map.size(), kThreads), kThreads, 0, stream},
               pool_backward_naive<T>, problem, rois, dy, argmax, dx);
      });
}

#define FRCNN_INSTANTIATE(T)                                                                    \
  template void roi_pool_backward<kBackend, T>(Stream, const MapLayout&, const RoiPoolParams&,  \
                                               int64_t, const T*, const T*, const int32_t*, T*, \
                                               const int32_t*, RoiPoolBackwardVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
