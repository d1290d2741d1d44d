#pragma once

#include <cmath>

#include "kernels/launch/pack.cuh"
#include "kernels/launch/reduce.cuh"
#include "kernels/norm/batch_norm.h"

/// What the passes of batch normalisation share: sums per channel in two stages, and element-wise
/// work with constants per channel. Both come in two forms. In NCHW a block of threads works inside
/// one channel, where neighbouring threads are neighbouring pixels. In all other layouts
/// neighbouring threads are neighbouring channels, and a block is `lanes` of them x 256 / lanes
/// pixels. N numbers, 16 bytes at most, are read at once: pixels there, channels here.
namespace frcnn::kernels::gpu::norm {

constexpr int kThreads = 256;
constexpr int kMostLanes = 32;
constexpr int kTurns = 16;  ///< packs per thread of the element-wise kernels
constexpr int64_t kPlainPiece = kBatchNormPlainPiece, kLanesPiece = kBatchNormLanesPiece;

/// Numbers of a channel, and channels in memory.
FRCNN_HOST_DEVICE inline int64_t channel_size(const MapLayout& map) {
  return map.n * map.h * map.w;
}
FRCNN_HOST_DEVICE inline int64_t stored_channels(const MapLayout& map) {
  return map.blocks() * map.block;
}
inline int64_t pieces_of(const MapLayout& map) {
  return batch_norm_pieces(map);
}

/// The pixels of a channel over all images, as one row of n * h * w, walked in steps.
struct PixelWalk {
  int64_t image, pixel, pixels;
  __device__ PixelWalk(const MapLayout& map, int64_t first) : pixels(map.h * map.w) {
    image = first / pixels;
    pixel = first % pixels;
  }
  __device__ void advance(int64_t steps) {
    pixel += steps;
    if (pixel < pixels) return;
    image += pixel / pixels;
    pixel %= pixels;
  }
  /// Index in memory of channel `inside` of block `block`.
  __device__ int64_t at(const MapLayout& map, int64_t block, int64_t inside) const {
    return ((image * map.blocks() + block) * pixels + pixel) * map.block + inside;
  }
};

/// The lanes form: which channels and pixels a thread has.
struct LanePlace {
  int lanes, lane, row, rows;
  int64_t channel;
  __device__ LanePlace(int lanes_, int n) : lanes(lanes_) {
    lane = static_cast<int>(threadIdx.x) % lanes;
    row = static_cast<int>(threadIdx.x) / lanes;
    rows = kThreads / lanes;
    channel = (int64_t{blockIdx.y} * lanes + lane) * n;
  }
};
/// Lanes for packs of n channels: the power of two that holds them, at most 32.
inline int lanes_for(const MapLayout& map, int n) {
  int lanes = 1;
  while (lanes < kMostLanes && lanes * n < stored_channels(map)) lanes *= 2;
  return lanes;
}

// ------------------------------------------------------------------------------ sums per channel

/// partial[piece][0 or 1][channel]: sums in double of what `terms` yields for each number,
///   terms.constant(c)                       read once per channel
///   terms.add<N>(at, constants, sums)       adds N numbers from index `at` on to sums[N][2]
template <int N, typename T, typename Terms>
__global__ void __launch_bounds__(kThreads)
    sum_lanes(MapLayout map, int lanes, Terms terms, double* partial) {
  FRCNN_SHARED(double, parts, [2][kThreads * N]);
  const LanePlace place(lanes, N);
  const int64_t size = channel_size(map), stored = stored_channels(map);
  const int64_t first = int64_t{blockIdx.x} * kLanesPiece;
  const int64_t end = first + kLanesPiece < size ? first + kLanesPiece : size;
  double sums[N][2] = {};
  if (place.channel < stored) {
    T constants[N];
    for (int k = 0; k < N; ++k)
      constants[k] = place.channel + k < map.c ? terms.constant(place.channel + k) : T(0);
    PixelWalk walk(map, first + place.row);
    for (int64_t e = first + place.row; e < end; e += place.rows, walk.advance(place.rows))
      terms.template add<N>(walk.at(map, place.channel / map.block, place.channel % map.block),
                            constants, sums);
  }
  for (int k = 0; k < N; ++k)
    for (int s = 0; s < 2; ++s) parts[s][threadIdx.x * N + k] = sums[k][s];
  __syncthreads();
  // The rows of a channel in order.
  const int width = lanes * N;
  const int64_t first_channel = int64_t{blockIdx.y} * width;
  for (int i = static_cast<int>(threadIdx.x); i < width && first_channel + i < stored;
       i += kThreads)
    for (int s = 0; s < 2; ++s) {
      double sum = 0;
      for (int row = 0; row < place.rows; ++row) sum += parts[s][row * width + i];
      partial[(int64_t{blockIdx.x} * 2 + s) * stored + first_channel + i] = sum;
    }
}

template <int N, typename T, typename Terms>
__global__ void __launch_bounds__(kThreads)
    sum_plain(MapLayout map, unsigned pieces, Terms terms, double* partial) {
  const int64_t size = channel_size(map), channel = blockIdx.x / pieces;
  const int64_t piece = blockIdx.x % pieces, first = piece * kPlainPiece;
  const int64_t end = first + kPlainPiece < size ? first + kPlainPiece : size;
  const T constant = terms.constant(channel);
  T constants[N];
  for (T& value : constants) value = constant;
  double sums[N][2] = {};
  const int64_t mine = first + static_cast<int64_t>(threadIdx.x) * N;
  PixelWalk walk(map, mine);
  for (int64_t e = mine; e < end; e += kThreads * N, walk.advance(kThreads * N))
    terms.template add<N>(walk.at(map, channel, 0), constants, sums);
  for (int s = 0; s < 2; ++s) {
    double sum = 0;
    for (int k = 0; k < N; ++k) sum += sums[k][s];
    sum = block_sum<kThreads>(sum);
    if (threadIdx.x == 0) partial[(piece * 2 + s) * map.c + channel] = sum;
  }
}

/// Second stage: adds the pieces, each thread every 32nd one and then the threads in order, and
/// calls finish(c, sum 0, sum 1). A block is 32 channels x 32 threads.
template <typename Finish>
__global__ void __launch_bounds__(1024)
    finish_sums(MapLayout map, int64_t pieces, const double* partial, Finish finish) {
  FRCNN_SHARED(double, parts, [2][32][33]);
  const int64_t stored = stored_channels(map), c = int64_t{blockIdx.x} * 32 + threadIdx.x % 32;
  const auto row = static_cast<int>(threadIdx.x / 32);
  for (int s = 0; s < 2; ++s) {
    double sum = 0;
    for (int64_t piece = row; piece < pieces && c < stored; piece += 32)
      sum += partial[(piece * 2 + s) * stored + c];
    parts[s][row][threadIdx.x % 32] = sum;
  }
  __syncthreads();
  if (row > 0 || c >= map.c) return;
  double sums[2] = {};
  for (int s = 0; s < 2; ++s)
    for (int i = 0; i < 32; ++i) sums[s] += parts[s][i][threadIdx.x];
  finish(c, sums[0], sums[1]);
}

// ----------------------------------------------------------------------------- element by element

/// What a number of channel c is multiplied with and moved by; zero for the padding. No initial
/// values here: arrays of it lie in shared memory.
template <typename T>
struct Constants {
  T mean, factor, shift, slope;
};

/// Calls apply.run<N>(at, constants) for every pack of the map; apply.constants(c) is called once
/// per channel and block.
template <int N, typename T, typename Apply>
__global__ void __launch_bounds__(kThreads, 3) apply_lanes(MapLayout map, int lanes, Apply apply) {
  FRCNN_SHARED(Constants<T>, shared, [kMostLanes * N]);
  const LanePlace place(lanes, N);
  const int64_t first_channel = int64_t{blockIdx.y} * lanes * N, size = channel_size(map);
  for (int i = static_cast<int>(threadIdx.x); i < lanes * N; i += kThreads)
    shared[i] = first_channel + i < map.c ? apply.constants(first_channel + i) : Constants<T>{};
  __syncthreads();
  if (place.channel >= stored_channels(map)) return;
  const int64_t piece = int64_t{place.rows} * kTurns, first = blockIdx.x * piece;
  const int64_t end = first + piece < size ? first + piece : size;
  Constants<T> constants[N];
  for (int k = 0; k < N; ++k) constants[k] = shared[place.lane * N + k];
  PixelWalk walk(map, first + place.row);
  for (int64_t e = first + place.row; e < end; e += place.rows, walk.advance(place.rows))
    apply.template run<N>(walk.at(map, place.channel / map.block, place.channel % map.block),
                          constants);
}

template <int N, typename T, typename Apply>
__global__ void __launch_bounds__(kThreads)
    apply_plain(MapLayout map, unsigned pieces, Apply apply) {
  FRCNN_SHARED(Constants<T>, shared, [1]);
  constexpr int64_t kPiece = int64_t{kThreads} * kTurns * N;
  const int64_t channel = blockIdx.x / pieces, first = blockIdx.x % pieces * kPiece;
  const int64_t size = channel_size(map), end = first + kPiece < size ? first + kPiece : size;
  if (threadIdx.x == 0) shared[0] = apply.constants(channel);
  __syncthreads();
  Constants<T> constants[N];
  for (auto& value : constants) value = shared[0];
  const int64_t mine = first + static_cast<int64_t>(threadIdx.x) * N;
  PixelWalk walk(map, mine);
  for (int64_t e = mine; e < end; e += kThreads * N, walk.advance(kThreads * N))
    apply.template run<N>(walk.at(map, channel, 0), constants);
}

/// Naive: one thread, one number, which works out its constants by itself.
template <typename T, typename Apply>
__global__ void apply_naive(MapLayout map, Apply apply) {
  const int64_t pixels = map.h * map.w, count = map.size();
  for (int64_t i = grid_first(); i < count; i += grid_step()) {
    const int64_t c = i / map.block / pixels % map.blocks() * map.block + i % map.block;
    const Constants<T> constants[1] = {c < map.c ? apply.constants(c) : Constants<T>{}};
    apply.template run<1>(i, constants);
  }
}

// -------------------------------------------------------------------------------------- launches

/// Whether packs of `n` numbers lie side by side: channels, or in NCHW pixels of one plane.
inline bool packs(const MapLayout& map, int n) {
  return map.block == 1 ? map.h * map.w % n == 0 : map.block % n == 0;
}

template <int N, typename T, typename Terms>
void launch_sums(Stream stream, const MapLayout& map, const Terms& terms, double* partial) {
  const int64_t pieces = pieces_of(map);
  if (map.block == 1) {
    launch({"batch_norm_sum_plain", static_cast<unsigned>(pieces * map.c), kThreads, 0, stream},
           sum_plain<N, T, Terms>, map, static_cast<unsigned>(pieces), terms, partial);
    return;
  }
  const int lanes = lanes_for(map, N);
  const auto tiles = static_cast<unsigned>(ceil_div(stored_channels(map), lanes * N));
  launch({"batch_norm_sum_lanes", {static_cast<unsigned>(pieces), tiles}, kThreads, 0, stream},
         sum_lanes<N, T, Terms>, map, lanes, terms, partial);
}

template <typename Finish>
void launch_finish(Stream stream, const MapLayout& map, const double* partial,
                   const Finish& finish) {
  launch({"batch_norm_finish", static_cast<unsigned>(ceil_div(map.c, 32)), 1024, 0, stream},
         finish_sums<Finish>, map, pieces_of(map), partial, finish);
}

template <int N, typename T, typename Apply>
void launch_apply(Stream stream, const MapLayout& map, const Apply& apply) {
  const int64_t size = channel_size(map);
  if (map.block == 1) {
    const int64_t pieces = ceil_div(size, int64_t{kThreads} * kTurns * N);
    launch({"batch_norm_apply_plain", static_cast<unsigned>(pieces * map.c), kThreads, 0, stream},
           apply_plain<N, T, Apply>, map, static_cast<unsigned>(pieces), apply);
    return;
  }
  const int lanes = lanes_for(map, N);
  const auto tiles = static_cast<unsigned>(ceil_div(stored_channels(map), lanes * N));
  const auto pieces = static_cast<unsigned>(ceil_div(size, int64_t{kThreads} / lanes * kTurns));
  launch({"batch_norm_apply_lanes", {pieces, tiles}, kThreads, 0, stream}, apply_lanes<N, T, Apply>,
         map, lanes, apply);
}
template <typename T, typename Apply>
void launch_apply_naive(Stream stream, const MapLayout& map, const Apply& apply) {
  launch({"batch_norm_apply_naive", blocks_for(map.size(), kThreads), kThreads, 0, stream},
         apply_naive<T, Apply>, map, apply);
}

/// Device memory that a caller gives: sums of pieces, then two sums per channel.
struct Workspace {
  double *partial, *totals;
  Workspace(const MapLayout& map, void* memory)
      : partial(static_cast<double*>(memory)),
        totals(partial + 2 * pieces_of(map) * stored_channels(map)) {}
};

/// 1 / sqrt(var + epsilon), in double as on the CPU.
template <typename T>
__device__ double rstd_of(double epsilon, T var) {
  return 1.0 / std::sqrt(static_cast<double>(var) + epsilon);
}
template <typename T>
__device__ double value_or(const T* values, int64_t c, double absent) {
  return values != nullptr ? static_cast<double>(values[c]) : absent;
}

}  // namespace frcnn::kernels::gpu::norm
