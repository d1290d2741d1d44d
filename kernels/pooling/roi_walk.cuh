#pragma once

#include "kernels/launch/gpu.cuh"
#include "kernels/launch/layout.h"

/// What the backward passes of RoI pooling and RoIAlign share: a block of threads owns a piece of
/// dx (8 x 8 pixels of 32 channels), walks the RoIs that touch it in their order, and writes the
/// piece once. No two blocks write the same number, so nothing needs atomics and the order of
/// additions is that of the RoIs, as on the CPU.
namespace frcnn::kernels::gpu::roi {

constexpr int kTileH = 8, kTileW = 8, kTileChannels = 32;
constexpr int kTileThreads = kTileH * kTileChannels;  // a thread: one row of 8 pixels, one channel

/// Dynamic shared memory that a version may ask for: what capability 8.6 has, less what is static.
constexpr int64_t kMostShared = 96 << 10;

/// The first image, channel, row and column of a block's piece.
struct Tile {
  int64_t image;
  int channel, h, w;
};

/// Channels in memory, padding included: pieces cover it too, as dx is written completely.
__host__ __device__ inline int64_t stored_channels(const MapLayout& map) {
  return map.blocks() * map.block;
}
inline int64_t tiles_of(const MapLayout& map) {
  return map.n * ceil_div(stored_channels(map), kTileChannels) * ceil_div(map.h, kTileH) *
         ceil_div(map.w, kTileW);
}
__device__ inline Tile this_tile(const MapLayout& map) {
  const auto across = static_cast<unsigned>(ceil_div(map.w, kTileW));
  const auto down = static_cast<unsigned>(ceil_div(map.h, kTileH));
  const auto deep = static_cast<unsigned>(ceil_div(stored_channels(map), kTileChannels));
  unsigned left = blockIdx.x;
  Tile tile;
  tile.w = static_cast<int>(left % across) * kTileW;
  left /= across;
  tile.h = static_cast<int>(left % down) * kTileH;
  left /= down;
  tile.channel = static_cast<int>(left % deep) * kTileChannels;
  tile.image = left / deep;
  return tile;
}

/// Rows of the list of RoIs that hold one: all, or as many as *count says (none when it is
/// negative, never more than there is room for).
__device__ inline int64_t live_rois(int64_t capacity, const int32_t* count) {
  return count == nullptr || *count >= capacity ? capacity : *count;
}

/// The image of a RoI, or -1 when its batch index names none: then the RoI is left out.
template <typename T>
__device__ int64_t image_of(const T* roi, const MapLayout& map) {
  const T index = roi[0];
  return index >= T(0) && index < static_cast<T>(map.n) ? static_cast<int64_t>(index) : -1;
}

/// Where one thread's numbers of y are, and the image of their RoI, or -1: they are zero then.
struct Output {
  int64_t r, c;
  int bin;
  int64_t image;

  /// Numbers of y in their order: neighbouring threads take neighbouring bins.
  template <typename Problem, typename T>
  __device__ static Output by_bins(const Problem& problem, const T* rois, int64_t item) {
    const int64_t bins = problem.bins(), channels = problem.map.c;
    return of(problem, rois, item / (channels * bins), item / bins % channels, item % bins);
  }
  /// Groups of N channels: neighbouring threads take neighbouring groups of the same bin.
  template <int N, typename Problem, typename T>
  __device__ static Output by_channels(const Problem& problem, const T* rois, int64_t item) {
    const int64_t bins = problem.bins(), packs = ceil_div(problem.map.c, N);
    return of(problem, rois, item / packs / bins, item % packs * N, item / packs % bins);
  }
  /// Where in x the pixels of channel c begin.
  __device__ int64_t plane(const MapLayout& map) const {
    return map.block_at(image, c / map.block) + c % map.block;
  }

 private:
  template <typename Problem, typename T>
  __device__ static Output of(const Problem& problem, const T* rois, int64_t r, int64_t c,
                              int64_t bin) {
    const bool live = r < live_rois(problem.capacity, problem.count);
    return {r, c, static_cast<int>(bin), live ? image_of(rois + 5 * r, problem.map) : -1};
  }
};

/// What a block of the `table` versions computes: a RoI and `channels` channels, or what is left.
struct TableBlock {
  int64_t r, first_channel;
  int channels;
  int64_t image;

  template <typename Problem, typename T>
  __device__ TableBlock(const Problem& problem, const T* rois, int most_channels) {
    const auto tiles = static_cast<unsigned>(ceil_div(problem.map.c, most_channels));
    r = blockIdx.x / tiles;
    first_channel = blockIdx.x % tiles * most_channels;
    const int64_t left = problem.map.c - first_channel;
    channels = left < most_channels ? static_cast<int>(left) : most_channels;
    image =
        r < live_rois(problem.capacity, problem.count) ? image_of(rois + 5 * r, problem.map) : -1;
  }
};

/// Lists every r in [0, count) with touches(r), in rising order, and calls body(list, size) for
/// each 256 RoIs of which some touch, with all threads of the block; `body` ends with a barrier.
/// One thread tests one RoI, and counted votes tell where in the list it goes.
template <typename Touches, typename Body>
__device__ void for_rois_in_order(int64_t count, const Touches& touches, const Body& body) {
  constexpr int kWarps = kTileThreads / 32;
  FRCNN_SHARED(int, list, [kTileThreads]);
  FRCNN_SHARED(int, votes_of, [kWarps]);
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  for (int64_t base = 0; base < count; base += kTileThreads) {
    const int64_t mine = base + threadIdx.x;
    const bool hit = mine < count && touches(mine);
    const unsigned votes = __ballot_sync(kAllLanes, hit);
    if (lane == 0) votes_of[warp] = __popc(votes);
    __syncthreads();
    int at = __popc(votes & ((1u << lane) - 1)), size = 0;
    for (int w = 0; w < kWarps; ++w) {
      if (w < warp) at += votes_of[w];
      size += votes_of[w];
    }
    if (hit) list[at] = static_cast<int>(mine);
    __syncthreads();
    if (size > 0) body(static_cast<const int*>(list), size);
  }
}

/// Copies bins [first, end) of the rows (channels, bins) of a RoI to shared memory, where row c
/// begins at c * stride. A warp copies a row, so that reads are contiguous. Asynchronous copies are
/// left for the caller to commit and wait for.
template <bool kAsync, typename T>
__device__ void load_bins(const T* rows, int channels, int bins, int first, int end, int stride,
                          T* shared) {
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  for (int c = warp; c < channels; c += kTileThreads / 32)
    for (int b = first + lane; b < end; b += 32) {
      if constexpr (kAsync)
        async_copy<sizeof(T)>(shared + c * stride + b, rows + c * bins + b);
      else
        shared[c * stride + b] = rows[c * bins + b];
    }
}

/// Calls add(r, buffer) for the listed RoIs in order, each after load(r, buffer) has been called
/// for it. Pipelined, the copies of the next RoI run while this one is added: `load` starts
/// asynchronous copies into one of two buffers and commits them; `add` calls arrived() and waits at
/// a barrier before it reads. `add` ends with a barrier.
template <bool kPipelined, typename Load, typename Add>
__device__ void add_list(const int* list, int size, const Load& load, const Add& add) {
  if constexpr (kPipelined) {
    load(static_cast<int64_t>(list[0]), 0);
    for (int k = 0; k < size; ++k) {
      if (k + 1 < size)
        load(static_cast<int64_t>(list[k + 1]), (k + 1) % 2);
      else
        async_commit();  // an empty group, as waits count groups
      add(static_cast<int64_t>(list[k]), k % 2);
    }
    async_wait<0>();
  } else {
    for (int k = 0; k < size; ++k) {
      load(static_cast<int64_t>(list[k]), 0);
      add(static_cast<int64_t>(list[k]), 0);
    }
  }
}
template <bool kPipelined>
__device__ void arrived() {
  if constexpr (kPipelined) async_wait<1>();
}

/// Numbers of shared memory that store_tile() needs.
constexpr int kStoreSize = kTileChannels * (kTileH * kTileW + 1);

/// Writes the piece: this thread holds row `row` of channel tile.channel + `lane`. NCHW maps go
/// through shared memory, so that neighbouring threads write neighbouring pixels. All threads of
/// the block must call it, after a barrier.
template <typename T>
__device__ void store_tile(const MapLayout& map, const Tile& tile, int lane, int row,
                           const T (&sum)[kTileW], T* shared, T* dx) {
  const int height = static_cast<int>(map.h), width = static_cast<int>(map.w);
  const auto stored = static_cast<int>(stored_channels(map));
  if (map.block == 1) {
    constexpr int kPixels = kTileH * kTileW;
    for (int i = 0; i < kTileW; ++i) shared[lane * (kPixels + 1) + row * kTileW + i] = sum[i];
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < kTileChannels * kPixels; i += kTileThreads) {
      const int c = i / kPixels, h = i % kPixels / kTileW, w = i % kTileW;
      if (tile.channel + c < stored && tile.h + h < height && tile.w + w < width)
        dx[map.block_at(tile.image, tile.channel + c) + static_cast<int64_t>(tile.h + h) * width +
           tile.w + w] = shared[c * (kPixels + 1) + i % kPixels];
    }
    return;
  }
  const int channel = tile.channel + lane, block = static_cast<int>(map.block);
  if (channel >= stored || tile.h + row >= height) return;
  T* to = dx + map.block_at(tile.image, channel / block) + channel % block;
  for (int i = 0; i < kTileW; ++i)
    if (tile.w + i < width)
      to[(static_cast<int64_t>(tile.h + row) * width + tile.w + i) * block] = sum[i];
}

/// Runs a backward pass: the naive kernel where it is asked for or shared memory has no room for
/// tiles(1), else tiles of dx, pipelined where that is asked for and there is room for two.
/// run_tiles(buffers) launches with tiles in that many buffers, bytes(buffers) is what they take.
template <typename Bytes, typename RunTiles, typename RunNaive>
void run_backward(bool naive, bool pipelined, const Bytes& bytes, const RunTiles& run_tiles,
                  const RunNaive& run_naive) {
  const auto fits = [&](int buffers) { return bytes(buffers) <= static_cast<size_t>(kMostShared); };
  if (naive || !fits(1))
    run_naive();
  else
    run_tiles(pipelined && fits(2) ? 2 : 1);
}

}  // namespace frcnn::kernels::gpu::roi
