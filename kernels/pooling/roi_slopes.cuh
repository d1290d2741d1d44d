#pragma once

#include "kernels/launch/reduce.cuh"
#include "kernels/pooling/roi_products.cuh"

/// The layers of roi_products.cuh, backward to the RoIs' coordinates: products as in the forward
/// pass, with the weights of one axis at a time replaced by their slopes, times dy. A RoI's four
/// numbers belong to one thread or block, which adds everything up in a fixed order.
namespace frcnn::kernels::gpu::roi {

/// One thread: one of the five numbers of a row of drois.
template <typename Problem, typename T>
__global__ void slopes_naive(Problem problem, const T* x, const T* rois, const T* dy, T* drois) {
  const MapLayout& map = problem.map;
  const int pooled_w = problem.pooled_w(), bins = problem.bins();
  const int64_t live = live_rois(problem.capacity, problem.count);
  for (int64_t index = grid_first(); index < 5 * problem.capacity; index += grid_step()) {
    const int64_t r = index / 5;
    const int k = static_cast<int>(index % 5);
    const T* roi = rois + 5 * r;
    const int64_t image = r < live ? image_of(roi, map) : -1;
    T sum = 0;
    for (int64_t item = 0; k > 0 && image >= 0 && item < map.c * bins; ++item) {
      const int64_t c = item / bins;
      const int bin = static_cast<int>(item % bins);
      const T* plane = x + map.block_at(image, c / map.block) + c % map.block;
      const bool along_x = k % 2 == 1;  // x1, y1, x2, y2
      T slope = 0;
      problem.rows_of(roi).for_slopes(bin / pooled_w, [&](int h, T weight, T low, T high) {
        T part = 0;
        problem.columns_of(roi).for_slopes(bin % pooled_w, [&](int w, T across, T left, T right) {
          const T factor = !along_x ? across : k == 1 ? left : right;
          part = std::fma(factor, plane[(h * map.w + w) * map.block], part);
        });
        slope = std::fma(along_x ? weight : k == 2 ? low : high, part, slope);
      });
      sum = std::fma(dy[(r * map.c + c) * bins + bin], slope, sum);
    }
    drois[index] = sum;
  }
}

template <typename T>
struct SlopeTap {
  int at;  ///< row or column of the map
  T weight, low, high;
};

/// A block's shared memory: taps of all bins of both axes, a tile of dy, the numbers of taps.
template <typename T, int N, typename Problem>
TablePlan slopes_plan(const Problem& problem) {
  TablePlan plan = table_plan<T, N>(problem);
  plan.bytes += static_cast<int64_t>(sizeof(SlopeTap<T>) - sizeof(Tap<T>)) *
                (problem.pooled_h() * plan.row_taps + problem.pooled_w() * plan.column_taps);
  return plan;
}

/// Taps of bin p in order, as make_taps() has them.
template <typename Axis, typename T>
__device__ int make_slopes(const Axis& axis, int p, SlopeTap<T>* taps) {
  int count = 0;
  axis.for_slopes(p, [&](int cell, T weight, T low, T high) {
    for (int back = count - 1; back >= 0 && back >= count - 2; --back)
      if (taps[back].at == cell) {
        taps[back].weight = add_rn(taps[back].weight, weight);
        taps[back].low = add_rn(taps[back].low, low);
        taps[back].high = add_rn(taps[back].high, high);
        return;
      }
    taps[count++] = {cell, weight, low, high};
  });
  return count;
}

/// One block: one RoI, all its channels.
template <typename Problem, typename T, int N>
__global__ void __launch_bounds__(kProductThreads, 2)
    slopes_table(Problem problem, TablePlan plan, const T* x, const T* rois, const T* dy,
                 T* drois) {
  const MapLayout& map = problem.map;
  const auto thread = static_cast<int>(threadIdx.x), bins = problem.bins();
  const int pooled_h = problem.pooled_h(), pooled_w = problem.pooled_w();
  const int64_t r = blockIdx.x;
  const T* roi = rois + 5 * r;
  const int64_t image = r < live_rois(problem.capacity, problem.count) ? image_of(roi, map) : -1;
  if (image < 0) {
    if (thread < 5) drois[5 * r + thread] = T(0);
    return;
  }

  FRCNN_DYNAMIC_SHARED(unsigned char, memory);
  auto* row_taps = reinterpret_cast<SlopeTap<T>*>(memory);
  SlopeTap<T>* column_taps = row_taps + pooled_h * plan.row_taps;
  T* tile = reinterpret_cast<T*>(column_taps + pooled_w * plan.column_taps);
  int* counts = reinterpret_cast<int*>(tile + plan.tile_size);
  for (int i = thread; i < pooled_h + pooled_w; i += kProductThreads) {
    if (i < pooled_h)
      counts[i] = make_slopes(problem.rows_of(roi), i, row_taps + i * plan.row_taps);
    else
      counts[i] = make_slopes(problem.columns_of(roi), i - pooled_h,
                              column_taps + (i - pooled_h) * plan.column_taps);
  }
  __syncthreads();

  const int64_t row_stride = map.w * map.block;
  T sums[4] = {};  // of this thread, by coordinate
  // Adds what bin (i, j) of N channels gives, whose pixels start at `from` and whose dy are
  // `stride` apart.
  const auto add_bin = [&](const T* from, int bin, const T* gradient, int stride) {
    const int i = bin / pooled_w, j = bin % pooled_w;
    const SlopeTap<T>* down = row_taps + i * plan.row_taps;
    const SlopeTap<T>* across = column_taps + j * plan.column_taps;
    const int downs = counts[i], acrosses = counts[pooled_h + j];
    Pack<T, N> slopes[4] = {};
    for (int t = 0; t < downs; ++t) {
      const T* row = from + down[t].at * row_stride;
      Pack<T, N> plain = {}, left = {}, right = {};
      for (int u = 0; u < acrosses; ++u) {
        const auto value = load_pack<N>(row + across[u].at * map.block);
        for (int k = 0; k < N; ++k) {
          plain.v[k] = std::fma(across[u].weight, value.v[k], plain.v[k]);
          left.v[k] = std::fma(across[u].low, value.v[k], left.v[k]);
          right.v[k] = std::fma(across[u].high, value.v[k], right.v[k]);
        }
      }
      for (int k = 0; k < N; ++k) {
        slopes[0].v[k] = std::fma(down[t].weight, left.v[k], slopes[0].v[k]);
        slopes[1].v[k] = std::fma(down[t].low, plain.v[k], slopes[1].v[k]);
        slopes[2].v[k] = std::fma(down[t].weight, right.v[k], slopes[2].v[k]);
        slopes[3].v[k] = std::fma(down[t].high, plain.v[k], slopes[3].v[k]);
      }
    }
    for (int k = 0; k < N; ++k)
      for (int side = 0; side < 4; ++side)
        sums[side] = std::fma(gradient[k * stride], slopes[side].v[k], sums[side]);
  };

  const T* gradients = dy + r * map.c * bins;
  if (map.block == 1) {  // neighbouring threads: neighbouring bins, whose dy are neighbours
    const int64_t count = map.c * bins;
    for (int64_t i = thread; i < count; i += kProductThreads)
      add_bin(x + map.block_at(image, i / bins), static_cast<int>(i % bins), gradients + i, 0);
  } else {  // dy comes to shared memory as it lies and is read channel by channel
    const int lanes = plan.channels / N, lane = thread % lanes;
    for (int64_t first = 0; first < map.c; first += plan.channels) {
      const int64_t left = map.c - first;
      const int here = left < plan.channels ? static_cast<int>(left) : plan.channels;
      for (int i = thread; i < plan.channels * bins; i += kProductThreads)
        tile[i] = i < here * bins ? gradients[first * bins + i] : T(0);
      __syncthreads();
      const int64_t c = first + lane * N;
      if (lane * N < here) {
        const T* from = x + map.block_at(image, c / map.block) + c % map.block;
        for (int bin = thread / lanes; bin < bins; bin += kProductThreads / lanes)
          add_bin(from, bin, tile + lane * N * bins + bin, bins);
      }
      __syncthreads();
    }
  }
  for (int side = 0; side < 4; ++side) {
    const T total = block_sum<kProductThreads>(sums[side]);
    if (thread == 0) drois[5 * r + 1 + side] = total;
  }
  if (thread == 0) drois[5 * r] = T(0);
}

template <int N, typename Problem, typename T>
bool run_slopes_table(Stream stream, const Problem& problem, const T* x, const T* rois, const T* dy,
                      T* drois) {
  const TablePlan plan = slopes_plan<T, N>(problem);
  if (plan.bytes > kMostShared) return false;
  launch({Problem::kNames.slopes_table, static_cast<unsigned>(problem.capacity), kProductThreads,
          static_cast<size_t>(plan.bytes), stream},
         slopes_table<Problem, T, N>, problem, plan, x, rois, dy, drois);
  return true;
}

/// drois of all RoIs. Version: naive, table. Where the table does not fit, naive runs.
template <typename Problem, typename T, typename Version>
void run_slopes(Stream stream, const Problem& problem, const T* x, const T* rois, const T* dy,
                T* drois, Version version) {
  constexpr int kPack = Pack<T>::kSize;
  if (version == Version::table) {
    const bool packs = problem.map.block % kPack == 0 && aligned_to(16, x);
    if (packs ? run_slopes_table<kPack>(stream, problem, x, rois, dy, drois)
              : run_slopes_table<1>(stream, problem, x, rois, dy, drois))
      return;
  }
  launch({Problem::kNames.slopes_naive, blocks_for(5 * problem.capacity, kProductThreads),
          kProductThreads, 0, stream},
         slopes_naive<Problem, T>, problem, x, rois, dy, drois);
}

}  // namespace frcnn::kernels::gpu::roi
