// RoI max pooling on a GPU, forward.
#include "kernels/pooling/roi_pool.h"

#include "kernels/pooling/roi_pool.cuh"
#include "kernels/pooling/roi_walk.cuh"
#include "kernels/pooling/window_max.cuh"

namespace frcnn::kernels::gpu {
namespace {

using namespace roi;

constexpr int kThreads = 256;

/// The maximum over one bin of N neighbouring channels, whose pixels start at `x`.
template <int N, typename T>
__device__ WindowMax<T, N> pool_bin(Range rows, Range columns, int width, int64_t block,
                                    const T* x) {
  WindowMax<T, N> best;
  if (rows.begin >= rows.end || columns.begin >= columns.end) {
    best.set(T(0), -1);
    return best;
  }
  best.start(load_pack<N>(x + (static_cast<int64_t>(rows.begin) * width + columns.begin) * block),
             rows.begin * width + columns.begin);
  for (int h = rows.begin; h < rows.end; ++h)
    for (int w = columns.begin; w < columns.end; ++w)
      best.take(load_pack<N>(x + (static_cast<int64_t>(h) * width + w) * block), h * width + w);
  return best;
}

template <int N, typename T>
__device__ WindowMax<T, N> pool_output(const PoolProblem& problem, const Output& out, const T* x,
                                       const T* rois) {
  WindowMax<T, N> best;
  best.set(T(0), -1);
  if (out.image < 0) return best;
  const MapLayout& map = problem.map;
  const auto pooled_w = static_cast<int>(problem.params.pooled_w);
  const T* roi = rois + 5 * out.r;
  return pool_bin<N>(problem.rows_of(roi).range(out.bin / pooled_w),
                     problem.columns_of(roi).range(out.bin % pooled_w), static_cast<int>(map.w),
                     map.block, x + out.plane(map));
}

template <typename T>
__global__ void pool_naive(PoolProblem problem, const T* x, const T* rois, T* y, int32_t* argmax) {
  const int64_t count = problem.capacity * problem.map.c * problem.bins();
  for (int64_t index = grid_first(); index < count; index += grid_step()) {
    const auto best = pool_output<1>(problem, Output::by_bins(problem, rois, index), x, rois);
    y[index] = best.max.v[0];
    if (argmax != nullptr) argmax[index] = best.at[0];
  }
}

template <typename T, int N>
__global__ void pool_channels_last(PoolProblem problem, const T* x, const T* rois, T* y,
                                   int32_t* argmax) {
  const int64_t channels = problem.map.c, bins = problem.bins();
  const int64_t count = problem.capacity * bins * ceil_div(channels, N);
  for (int64_t index = grid_first(); index < count; index += grid_step()) {
    const auto out = Output::by_channels<N>(problem, rois, index);
    const auto best = pool_output<N>(problem, out, x, rois);
    for (int k = 0; k < N && out.c + k < channels; ++k) {
      const int64_t to = (out.r * channels + out.c + k) * bins + out.bin;
      y[to] = best.max.v[k];
      if (argmax != nullptr) argmax[to] = best.at[k];
    }
  }
}

/// A block's shared memory: bounds of all bins of both axes, a tile of y and one of argmax.
struct TablePlan {
  int channels;       ///< of a block
  int64_t tile_size;  ///< numbers that wait for their store
  int64_t bytes;
};
template <typename T, int N>
TablePlan table_plan(const PoolProblem& problem) {
  TablePlan plan;
  plan.channels = N == 1 ? 32 : 16 * N;
  plan.tile_size = problem.map.block == 1 ? 0 : plan.channels * problem.bins();
  plan.bytes =
      static_cast<int64_t>(sizeof(T) + sizeof(int32_t)) * plan.tile_size +
      static_cast<int64_t>(sizeof(Range)) * (problem.params.pooled_h + problem.params.pooled_w);
  return plan;
}

/// One block: a RoI and plan.channels channels.
template <typename T, int N>
__global__ void __launch_bounds__(kThreads, 3)
    pool_table(PoolProblem problem, TablePlan plan, const T* x, const T* rois, T* y,
               int32_t* argmax) {
  const MapLayout& map = problem.map;
  const auto thread = static_cast<int>(threadIdx.x), bins = problem.bins();
  const auto pooled_h = static_cast<int>(problem.params.pooled_h);
  const auto pooled_w = static_cast<int>(problem.params.pooled_w);
  const auto width = static_cast<int>(map.w);
  const TableBlock mine(problem, rois, plan.channels);
  const int64_t image = mine.image, first_channel = mine.first_channel;
  const int here = mine.channels;
  const T* roi = rois + 5 * mine.r;
  const int64_t first_out = (mine.r * map.c + first_channel) * bins;  // here * bins, in a row
  if (image < 0) {
    for (int i = thread; i < here * bins; i += kThreads) {
      y[first_out + i] = T(0);
      if (argmax != nullptr) argmax[first_out + i] = -1;
    }
    return;
  }

  FRCNN_DYNAMIC_SHARED(unsigned char, memory);
  T* tile = reinterpret_cast<T*>(memory);
  auto* rows = reinterpret_cast<Range*>(tile + plan.tile_size);
  Range* columns = rows + pooled_h;
  auto* tile_at = reinterpret_cast<int32_t*>(columns + pooled_w);
  for (int i = thread; i < pooled_h + pooled_w; i += kThreads)
    rows[i] =
        i < pooled_h ? problem.rows_of(roi).range(i) : problem.columns_of(roi).range(i - pooled_h);
  __syncthreads();

  if (map.block == 1) {  // neighbouring threads: neighbouring bins, stored as they come
    for (int i = thread; i < here * bins; i += kThreads) {
      const int bin = i % bins;
      const auto best = pool_bin<1>(rows[bin / pooled_w], columns[bin % pooled_w], width, 1,
                                    x + map.block_at(image, first_channel + i / bins));
      y[first_out + i] = best.max.v[0];
      if (argmax != nullptr) argmax[first_out + i] = best.at[0];
    }
    return;
  }
  const int lanes = plan.channels / N, lane = thread % lanes;
  const int64_t c = first_channel + lane * N;
  if (lane * N < here) {
    const T* from = x + map.block_at(image, c / map.block) + c % map.block;
    for (int bin = thread / lanes; bin < bins; bin += kThreads / lanes) {
      const auto best =
          pool_bin<N>(rows[bin / pooled_w], columns[bin % pooled_w], width, map.block, from);
      for (int k = 0; k < N; ++k) {
        tile[(lane * N + k) * bins + bin] = best.max.v[k];
        if (argmax != nullptr) tile_at[(lane * N + k) * bins + bin] = best.at[k];
      }
    }
  }
  __syncthreads();
  for (int i = thread; i < here * bins; i += kThreads) {
    y[first_out + i] = tile[i];
    if (argmax != nullptr) argmax[first_out + i] = tile_at[i];
  }
}

template <int N, typename T>
void forward_channels(Stream stream, const PoolProblem& problem, const T* x, const T* rois, T* y,
                      int32_t* argmax, RoiPoolVersion version) {
  const TablePlan plan = table_plan<T, N>(problem);
  if (version == RoiPoolVersion::table && plan.bytes <= kMostShared) {
    const int64_t blocks = problem.capacity * ceil_div(problem.map.c, plan.channels);
    launch({"roi_pool_table", static_cast<unsigned>(blocks), kThreads,
            static_cast<size_t>(plan.bytes), stream},
           pool_table<T, N>, problem, plan, x, rois, y, argmax);
    return;
  }
  const int64_t items = problem.capacity * problem.bins() * ceil_div(problem.map.c, N);
  launch({"roi_pool_channels_last", blocks_for(items, kThreads), kThreads, 0, stream},
         pool_channels_last<T, N>, problem, x, rois, y, argmax);
}

}  // namespace

template <Backend backend, typename T>
void roi_pool_forward(Stream stream, const MapLayout& map, const RoiPoolParams& params,
                      int64_t rois_count, const T* x, const T* rois, T* y, int32_t* argmax,
                      const int32_t* rois_count_device, RoiPoolVersion version) {
  validate_pool(map, params);
  const PoolProblem problem = {map, params, rois_count, rois_count_device};
  constexpr int kPack = Pack<T>::kSize;
  if (version == RoiPoolVersion::naive)
    launch({"roi_pool_naive", blocks_for(rois_count * map.c * problem.bins(), kThreads), kThreads,
            0, stream},
           pool_naive<T>, problem, x, rois, y, argmax);
  else if (map.block % kPack == 0 && aligned_to(16, x))
    forward_channels<kPack>(stream, problem, x, rois, y, argmax, version);
  else
    forward_channels<1>(stream, problem, x, rois, y, argmax, version);
}

#define FRCNN_INSTANTIATE(T)                                                                  \
  template void roi_pool_forward<kBackend, T>(Stream, const MapLayout&, const RoiPoolParams&, \
                                              int64_t, const T*, const T*, T*, int32_t*,      \
                                              const int32_t*, RoiPoolVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
