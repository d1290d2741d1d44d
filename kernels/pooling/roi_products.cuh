#pragma once

#include "kernels/launch/pack.cuh"
#include "kernels/pooling/roi_walk.cuh"

/// RoI layers of a GPU that are products with two small sparse matrices for each RoI,
/// y[r, c] = A_r x[b_r, c] B_r^T: RoIAlign and precise RoI pooling. Here: forward, along x, then
/// along y, as the CPU does (roi_matrices.h).
///
/// A layer is a Problem:
/// - map, capacity, count: the map's layout, rows of rois, y and dy, how many are used
/// - pooled_h(), pooled_w(), bins()
/// - row_taps(), column_taps(): most entries that a row of A_r and of B_r may have
/// - rows_of(roi), columns_of(roi): the axes of a RoI
/// - kNames: its kernels' names
/// - kTableBlocks: blocks that a multiprocessor shall hold at least, from which the compiler knows
///   how many registers `table` may take before it spills; 0: its own choice
///
/// An axis has:
/// - valid: false where a RoI has no entries
/// - for_taps(p, tap): calls tap(cell, weight) for the entries of row p in order; weights of a cell
///   that is among the last two add up
/// - for_slopes(p, tap): calls tap(cell, weight, by_low, by_high), with the derivatives of the
///   weight by the RoI's two coordinates on this axis
/// - weight(p, cell): the entry (p, cell)
/// - bins_near(low, high, first, end): [first, end) holds every row with an entry in [low, high)
namespace frcnn::kernels::gpu::roi {

constexpr int kProductThreads = 256;

struct KernelNames {
  const char *naive, *channels_last, *table;
  const char *backward_naive, *backward_tile;
  const char *slopes_naive, *slopes_table;
};

/// Bin (i, j) of N neighbouring channels, whose pixels start at `x`.
template <int N, typename Axis, typename T>
__device__ Pack<T, N> product_bin(const Axis& rows, const Axis& columns, int i, int j,
                                  int64_t row_stride, int64_t pixel_stride, const T* x) {
  Pack<T, N> sum = {};
  rows.for_taps(i, [&](int h, T row_weight) {
    const T* row = x + h * row_stride;
    Pack<T, N> part = {};
    columns.for_taps(j, [&](int w, T weight) {
      const auto value = load_pack<N>(row + w * pixel_stride);
      for (int k = 0; k < N; ++k) part.v[k] = std::fma(weight, value.v[k], part.v[k]);
    });
    for (int k = 0; k < N; ++k) sum.v[k] = std::fma(row_weight, part.v[k], sum.v[k]);
  });
  return sum;
}

template <int N, typename Problem, typename T>
__device__ Pack<T, N> product_output(const Problem& problem, const Output& out, const T* x,
                                     const T* rois) {
  if (out.image < 0) return {};
  const MapLayout& map = problem.map;
  const int pooled_w = problem.pooled_w();
  const T* roi = rois + 5 * out.r;
  return product_bin<N>(problem.rows_of(roi), problem.columns_of(roi), out.bin / pooled_w,
                        out.bin % pooled_w, map.w * map.block, map.block, x + out.plane(map));
}

template <typename Problem, typename T>
__global__ void products_naive(Problem problem, const T* x, const T* rois, T* y) {
  const int64_t count = problem.capacity * problem.map.c * problem.bins();
  for (int64_t index = grid_first(); index < count; index += grid_step())
    y[index] = product_output<1>(problem, Output::by_bins(problem, rois, index), x, rois).v[0];
}

template <typename Problem, typename T, int N>
__global__ void products_channels_last(Problem problem, const T* x, const T* rois, T* y) {
  const int64_t channels = problem.map.c, bins = problem.bins();
  const int64_t count = problem.capacity * bins * ceil_div(channels, N);
  for (int64_t index = grid_first(); index < count; index += grid_step()) {
    const auto out = Output::by_channels<N>(problem, rois, index);
    const Pack<T, N> value = product_output<N>(problem, out, x, rois);
    for (int k = 0; k < N && out.c + k < channels; ++k)
      y[(out.r * channels + out.c + k) * bins + out.bin] = value.v[k];
  }
}

// ------------------------------------------------------------------------------- forward, table

template <typename T>
struct Tap {
  int at;  ///< row or column of the map
  T weight;
};

/// A block's shared memory: taps of all bins of both axes, a tile of y, the numbers of taps.
struct TablePlan {
  int64_t row_taps, column_taps;  ///< room per bin
  int channels;                   ///< of a block
  int64_t tile_size;              ///< numbers of y that wait for their store
  int64_t bytes;
};

template <typename T, int N, typename Problem>
TablePlan table_plan(const Problem& problem) {
  TablePlan plan;
  plan.row_taps = problem.row_taps();
  plan.column_taps = problem.column_taps();
  plan.channels = N == 1 ? 32 : 16 * N;
  plan.tile_size = problem.map.block == 1 ? 0 : plan.channels * problem.bins();
  const auto tap = static_cast<int64_t>(sizeof(Tap<T>)), number = static_cast<int64_t>(sizeof(T));
  plan.bytes = tap * (problem.pooled_h() * plan.row_taps + problem.pooled_w() * plan.column_taps) +
               number * plan.tile_size + 4 * (problem.pooled_h() + problem.pooled_w());
  return plan;
}

/// Taps of bin p in order; weights of a cell that is among the last two add up, as on the CPU.
template <typename Axis, typename T>
__device__ int make_taps(const Axis& axis, int p, Tap<T>* taps) {
  int count = 0;
  axis.for_taps(p, [&](int cell, T weight) {
    for (int back = count - 1; back >= 0 && back >= count - 2; --back)
      if (taps[back].at == cell) {
        taps[back].weight = add_rn(taps[back].weight, weight);
        return;
      }
    taps[count++] = {cell, weight};
  });
  return count;
}

/// One block: a RoI and plan.channels channels.
template <typename Problem, typename T, int N>
__global__ void __launch_bounds__(kProductThreads, Problem::kTableBlocks)
    products_table(Problem problem, TablePlan plan, const T* x, const T* rois, T* y) {
  const MapLayout& map = problem.map;
  const auto thread = static_cast<int>(threadIdx.x), bins = problem.bins();
  const int pooled_h = problem.pooled_h(), pooled_w = problem.pooled_w();
  const TableBlock mine(problem, rois, plan.channels);
  const int64_t image = mine.image, first_channel = mine.first_channel;
  const int here = mine.channels;
  const T* roi = rois + 5 * mine.r;
  T* const target = y + (mine.r * map.c + first_channel) * bins;  // here * bins numbers, in a row
  if (image < 0) {
    for (int i = thread; i < here * bins; i += kProductThreads) target[i] = T(0);
    return;
  }

  FRCNN_DYNAMIC_SHARED(unsigned char, memory);
  auto* row_taps = reinterpret_cast<Tap<T>*>(memory);
  Tap<T>* column_taps = row_taps + pooled_h * plan.row_taps;
  T* tile = reinterpret_cast<T*>(column_taps + pooled_w * plan.column_taps);
  int* row_counts = reinterpret_cast<int*>(tile + plan.tile_size);
  int* column_counts = row_counts + pooled_h;
  for (int i = thread; i < pooled_h + pooled_w; i += kProductThreads) {
    if (i < pooled_h)
      row_counts[i] = make_taps(problem.rows_of(roi), i, row_taps + i * plan.row_taps);
    else
      row_counts[i] = make_taps(problem.columns_of(roi), i - pooled_h,
                                column_taps + (i - pooled_h) * plan.column_taps);
  }
  __syncthreads();

  const int64_t row_stride = map.w * map.block;
  const auto bin_of = [&](const T* from, int i, int j) {
    const Tap<T>* down = row_taps + i * plan.row_taps;
    const Tap<T>* across = column_taps + j * plan.column_taps;
    const int downs = row_counts[i], acrosses = column_counts[j];
    Pack<T, N> sum = {};
    for (int t = 0; t < downs; ++t) {
      const T* row = from + down[t].at * row_stride;
      Pack<T, N> part = {};
      for (int u = 0; u < acrosses; ++u) {
        const auto value = load_pack<N>(row + across[u].at * map.block);
        for (int k = 0; k < N; ++k) part.v[k] = std::fma(across[u].weight, value.v[k], part.v[k]);
      }
      for (int k = 0; k < N; ++k) sum.v[k] = std::fma(down[t].weight, part.v[k], sum.v[k]);
    }
    return sum;
  };

  if (map.block == 1) {  // neighbouring threads: neighbouring bins, stored as they come
    for (int i = thread; i < here * bins; i += kProductThreads) {
      const int bin = i % bins;
      target[i] =
          bin_of(x + map.block_at(image, first_channel + i / bins), bin / pooled_w, bin % pooled_w)
              .v[0];
    }
    return;
  }
  const int lanes = plan.channels / N, lane = thread % lanes;
  const int64_t c = first_channel + lane * N;
  if (lane * N < here) {
    const T* from = x + map.block_at(image, c / map.block) + c % map.block;
    for (int bin = thread / lanes; bin < bins; bin += kProductThreads / lanes) {
      const Pack<T, N> value = bin_of(from, bin / pooled_w, bin % pooled_w);
      for (int k = 0; k < N; ++k) tile[(lane * N + k) * bins + bin] = value.v[k];
    }
  }
  __syncthreads();
  for (int i = thread; i < here * bins; i += kProductThreads) target[i] = tile[i];
}

template <int N, typename Problem, typename T>
void forward_channels(Stream stream, const Problem& problem, const T* x, const T* rois, T* y,
                      bool with_table) {
  const TablePlan plan = table_plan<T, N>(problem);
  if (with_table && plan.bytes <= kMostShared) {
    const int64_t blocks = problem.capacity * ceil_div(problem.map.c, plan.channels);
    launch({Problem::kNames.table, static_cast<unsigned>(blocks), kProductThreads,
            static_cast<size_t>(plan.bytes), stream},
           products_table<Problem, T, N>, problem, plan, x, rois, y);
    return;
  }
  const int64_t items = problem.capacity * problem.bins() * ceil_div(problem.map.c, N);
  launch({Problem::kNames.channels_last, blocks_for(items, kProductThreads), kProductThreads, 0,
          stream},
         products_channels_last<Problem, T, N>, problem, x, rois, y);
}

/// y of all RoIs. Version: naive, channels_last, table.
template <typename Problem, typename T, typename Version>
void run_products(Stream stream, const Problem& problem, const T* x, const T* rois, T* y,
                  Version version) {
  constexpr int kPack = Pack<T>::kSize;
  const bool with_table = version == Version::table;
  if (version == Version::naive)
    launch({Problem::kNames.naive,
            blocks_for(problem.capacity * problem.map.c * problem.bins(), kProductThreads),
            kProductThreads, 0, stream},
           products_naive<Problem, T>, problem, x, rois, y);
  else if (problem.map.block % kPack == 0 && aligned_to(16, x))
    forward_channels<kPack>(stream, problem, x, rois, y, with_table);
  else
    forward_channels<1>(stream, problem, x, rois, y, with_table);
}

}  // namespace frcnn::kernels::gpu::roi
