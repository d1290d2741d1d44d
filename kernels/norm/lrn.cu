// Local response normalisation on a GPU. Both versions walk the channels of a pixel in order and
// keep what the windows need in shared memory. With h = (size - 1) / 2 and l = size / 2, the
// channels above and below in a window: when channel X has been read, the sum of channel T = X - h
// is known, and with it the number that T adds to the gradients of its window; when that is known,
// the gradient of channel T - l = X - (size - 1).
#include "kernels/norm/lrn.h"

#include <cmath>

#include "kernels/launch/gpu.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kNaiveThreads = 64;
constexpr int kThreads = 256;
constexpr int kTile = 32;  // channels and pixels of a tile
constexpr int kMostSize = 32;

template <typename T>
struct Problem {
  MapLayout map;
  int size, above, below;  ///< of the window
  T factor, slope, k;      ///< alpha / size, 2 alpha beta / size, k
  double beta;

  Problem(const MapLayout& layout, const LrnParams& p)
      : map(layout),
        size(static_cast<int>(p.size)),
        above((size - 1) / 2),
        below(size / 2),
        factor(static_cast<T>(p.alpha / static_cast<double>(p.size))),
        slope(static_cast<T>(2 * p.alpha * p.beta / static_cast<double>(p.size))),
        k(static_cast<T>(p.k)),
        beta(p.beta) {
    check(p.size > 0 && p.size <= kMostSize, "[lrn] expected a window of 1 to {} channels, got {}",
          kMostSize, p.size);
  }
  __device__ T scale(T squares) const { return std::fma(factor, squares, k); }
  /// s^-beta. Square roots serve the usual exponents.
  __device__ T power(T s) const {
    if (beta == 0.75) {
      const T root = std::sqrt(s);
      return T(1) / (root * std::sqrt(root));
    }
    if (beta == 0.5) return T(1) / std::sqrt(s);
    return std::pow(s, static_cast<T>(-beta));
  }
  __host__ __device__ int64_t stored() const { return map.blocks() * map.block; }
  /// Index in memory; the pixel counts inside its image.
  __device__ int64_t at(int64_t image, int64_t c, int64_t pixel) const {
    return map.block_at(image, c / map.block) + pixel * map.block + c % map.block;
  }
};

// ----------------------------------------------------------------------------------------- naive

/// The last `size` numbers of each thread's walk: number i of a row that has no end.
template <typename T>
struct Ring {
  T* first;
  int size;
  __device__ T& operator[](int64_t i) const {
    return first[i % size * kNaiveThreads + threadIdx.x];
  }
};

template <typename T>
__device__ T window_squares(const Problem<T>& p, const Ring<T>& x, int64_t c) {
  T sum = 0;
  for (int64_t j = c - p.below; j <= c + p.above; ++j)
    if (j >= 0 && j < p.map.c) sum = std::fma(x[j], x[j], sum);
  return sum;
}

template <typename T>
__global__ void __launch_bounds__(kNaiveThreads) lrn_naive(Problem<T> p, const T* x, T* y) {
  FRCNN_DYNAMIC_SHARED(T, memory);
  const Ring<T> ring = {memory, p.size};
  const int64_t pixels = p.map.h * p.map.w;
  for (int64_t i = grid_first(); i < p.map.n * pixels; i += grid_step()) {
    const int64_t image = i / pixels, pixel = i % pixels;
    for (int64_t next = 0; next < p.stored() + p.above; ++next) {
      if (next < p.map.c) ring[next] = x[p.at(image, next, pixel)];
      const int64_t c = next - p.above;
      if (c < 0) continue;
      y[p.at(image, c, pixel)] =
          c < p.map.c ? ring[c] * p.power(p.scale(window_squares(p, ring, c))) : T(0);
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kNaiveThreads)
    lrn_backward_naive(Problem<T> p, const T* x, const T* dy, T* dx) {
  FRCNN_DYNAMIC_SHARED(T, memory);
  const int ring = p.size * kNaiveThreads;
  const Ring<T> xs = {memory, p.size}, terms = {memory + ring, p.size},
                direct = {memory + 2 * ring, p.size};
  const int64_t pixels = p.map.h * p.map.w;
  for (int64_t i = grid_first(); i < p.map.n * pixels; i += grid_step()) {
    const int64_t image = i / pixels, pixel = i % pixels;
    for (int64_t next = 0; next < p.stored() + p.size - 1; ++next) {
      if (next < p.map.c) xs[next] = x[p.at(image, next, pixel)];
      const int64_t t = next - p.above, c = t - p.below;
      if (t >= 0 && t < p.map.c) {
        const T s = p.scale(window_squares(p, xs, t)), power = p.power(s);
        const T gradient = dy[p.at(image, t, pixel)];
        terms[t] = gradient * xs[t] * power / s;
        direct[t] = gradient * power;
      }
      if (c < 0) continue;
      T sum = 0;
      for (int64_t j = c - p.above; j <= c + p.below; ++j)
        if (j >= 0 && j < p.map.c) sum += terms[j];
      dx[p.at(image, c, pixel)] = c < p.map.c ? std::fma(-(p.slope * xs[c]), sum, direct[c]) : T(0);
    }
  }
}

// ------------------------------------------------------------------------------------------ tile

/// Rows of 32 pixels, one per channel: size - 1 that the windows still need, then 32 new ones.
template <typename T>
struct Rows {
  T* first;
  __device__ T& at(int row, int pixel) const { return first[row * (kTile + 1) + pixel]; }
  /// Moves the last size - 1 rows to the front. A barrier must come before and behind.
  __device__ void advance(int size) const {
    for (int i = static_cast<int>(threadIdx.x); i < (size - 1) * kTile; i += kThreads)
      at(i / kTile, i % kTile) = at(i / kTile + kTile, i % kTile);
  }
  __device__ void clear(int size) const {
    for (int i = static_cast<int>(threadIdx.x); i < (size - 1) * kTile; i += kThreads)
      at(i / kTile, i % kTile) = T(0);
  }
};
template <typename T>
size_t rows_size(const Problem<T>& p) {
  return static_cast<size_t>((kTile + p.size - 1) * (kTile + 1));
}

/// What a thread does of each 32 channels x 32 pixels: neighbouring threads are neighbouring pixels
/// in NCHW, and channels in every other layout.
struct Cells {
  int64_t image, first_pixel, pixels;
  bool plain;
  __device__ explicit Cells(const MapLayout& map) : pixels(map.h * map.w), plain(map.block == 1) {
    const auto tiles = static_cast<unsigned>(ceil_div(pixels, kTile));
    image = blockIdx.x / tiles;
    first_pixel = int64_t{blockIdx.x % tiles} * kTile;
  }
  template <typename F>
  __device__ void each(const F& body) const {
    for (int i = 0; i < kTile * kTile / kThreads; ++i) {
      const int lane = static_cast<int>(threadIdx.x) % kTile;
      const int other = static_cast<int>(threadIdx.x) / kTile + i * (kThreads / kTile);
      body(plain ? other : lane, plain ? lane : other);  // channel, pixel
    }
  }
  __device__ bool inside(int pixel) const { return first_pixel + pixel < pixels; }
};

/// Sum of the squares of `size` rows from `row` on; rows beyond the channels are zero.
template <typename T>
__device__ T window_squares(const Rows<T>& rows, int size, int row, int pixel) {
  T sum = 0;
  for (int j = row; j < row + size; ++j) sum = std::fma(rows.at(j, pixel), rows.at(j, pixel), sum);
  return sum;
}

template <typename T>
__global__ void __launch_bounds__(kThreads) lrn_tile(Problem<T> p, const T* x, T* y) {
  FRCNN_DYNAMIC_SHARED(T, memory);
  const Rows<T> xs = {memory};
  const Cells cells(p.map);
  xs.clear(p.size);
  for (int64_t first = 0; first < p.stored() + p.above; first += kTile) {
    cells.each([&](int channel, int pixel) {
      const int64_t c = first + channel;
      xs.at(p.size - 1 + channel, pixel) = c < p.map.c && cells.inside(pixel)
                                               ? x[p.at(cells.image, c, cells.first_pixel + pixel)]
                                               : T(0);
    });
    __syncthreads();
    cells.each([&](int channel, int pixel) {
      const int64_t c = first - p.above + channel;  // row channel + below
      if (c < 0 || c >= p.stored() || !cells.inside(pixel)) return;
      const T s = p.scale(window_squares(xs, p.size, channel, pixel));
      y[p.at(cells.image, c, cells.first_pixel + pixel)] =
          c < p.map.c ? xs.at(channel + p.below, pixel) * p.power(s) : T(0);
    });
    __syncthreads();
    xs.advance(p.size);
    __syncthreads();
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 4)
    lrn_backward_tile(Problem<T> p, const T* x, const T* dy, T* dx) {
  FRCNN_DYNAMIC_SHARED(T, memory);
  const int rows = (kTile + p.size - 1) * (kTile + 1);
  const Rows<T> xs = {memory}, terms = {memory + rows}, direct = {memory + 2 * rows};
  const Cells cells(p.map);
  xs.clear(p.size);
  for (int64_t first = 0; first < p.stored() + p.size - 1; first += kTile) {
    cells.each([&](int channel, int pixel) {
      const int64_t c = first + channel;
      xs.at(p.size - 1 + channel, pixel) = c < p.map.c && cells.inside(pixel)
                                               ? x[p.at(cells.image, c, cells.first_pixel + pixel)]
                                               : T(0);
    });
    __syncthreads();
    cells.each([&](int channel, int pixel) {
      const int64_t t = first - p.above + channel;  // row channel + below of xs
      T term = 0, straight = 0;
      if (t >= 0 && t < p.map.c && cells.inside(pixel)) {
        const T s = p.scale(window_squares(xs, p.size, channel, pixel)), power = p.power(s);
        const T gradient = dy[p.at(cells.image, t, cells.first_pixel + pixel)];
        term = gradient * xs.at(channel + p.below, pixel) * power / s;
        straight = gradient * power;
      }
      terms.at(p.size - 1 + channel, pixel) = term;
      direct.at(p.size - 1 + channel, pixel) = straight;
    });
    __syncthreads();
    cells.each([&](int channel, int pixel) {
      const int64_t c = first - (p.size - 1) + channel;  // row channel of xs, + above of the others
      if (c < 0 || c >= p.stored() || !cells.inside(pixel)) return;
      T sum = 0;
      for (int j = channel; j < channel + p.size; ++j) sum += terms.at(j, pixel);
      dx[p.at(cells.image, c, cells.first_pixel + pixel)] =
          c < p.map.c ? std::fma(-(p.slope * xs.at(channel, pixel)), sum,
                                 direct.at(channel + p.above, pixel))
                      : T(0);
    });
    __syncthreads();
    xs.advance(p.size), terms.advance(p.size), direct.advance(p.size);
    __syncthreads();
  }
}

template <typename T>
unsigned tiles_of(const Problem<T>& p) {
  return static_cast<unsigned>(p.map.n * ceil_div(p.map.h * p.map.w, kTile));
}
template <typename T>
unsigned naive_blocks(const Problem<T>& p) {
  return blocks_for(p.map.n * p.map.h * p.map.w, kNaiveThreads);
}
template <typename T>
size_t naive_bytes(const Problem<T>& p) {
  return static_cast<size_t>(p.size) * kNaiveThreads * sizeof(T);
}

}  // namespace

template <Backend backend, typename T>
void lrn_forward(Stream stream, const MapLayout& layout, const LrnParams& params, const T* x, T* y,
                 LrnVersion version) {
  const Problem<T> problem(layout, params);
  if (version == LrnVersion::naive)
    launch({"lrn_naive", naive_blocks(problem), kNaiveThreads, naive_bytes(problem), stream},
           lrn_naive<T>, problem, x, y);
  else
    launch({"lrn_tile", tiles_of(problem), kThreads, rows_size(problem) * sizeof(T), stream},
           lrn_tile<T>, problem, x, y);
}

template <Backend backend, typename T>
void lrn_backward(Stream stream, const MapLayout& layout, const LrnParams& params, const T* x,
                  const T* dy, T* dx, LrnVersion version) {
  const Problem<T> problem(layout, params);
  if (version == LrnVersion::naive)
    launch({"lrn_backward_naive", naive_blocks(problem), kNaiveThreads, 3 * naive_bytes(problem),
            stream},
           lrn_backward_naive<T>, problem, x, dy, dx);
  else
    launch({"lrn_backward_tile", tiles_of(problem), kThreads, 3 * rows_size(problem) * sizeof(T),
            stream},
           lrn_backward_tile<T>, problem, x, dy, dx);
}

#define FRCNN_INSTANTIATE(T)                                                                       \
  template void lrn_forward<kBackend, T>(Stream, const MapLayout&, const LrnParams&, const T*, T*, \
                                         LrnVersion);                                              \
  template void lrn_backward<kBackend, T>(Stream, const MapLayout&, const LrnParams&, const T*,    \
                                          const T*, T*, LrnVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
