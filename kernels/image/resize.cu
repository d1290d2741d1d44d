#include "kernels/image/resize.h"

#include "kernels/launch/gpu.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;

/// Where sample i of one axis lies: low * (1 - part) + high * part; as Samples of resize_cpu.cpp.
template <typename T>
struct Sample {
  int64_t low, high;
  T part;
  __device__ Sample(int64_t in, int64_t out, int64_t i) {
    const T scale = div_rn(static_cast<T>(in), static_cast<T>(out));
    const T place = sub_rn(mul_rn(scale, add_rn(static_cast<T>(i), T(0.5))), T(0.5));
    const T at = place < T(0) ? T(0) : place;
    low = static_cast<int64_t>(at);
    low = low < in - 1 ? low : in - 1;
    high = low + 1 < in - 1 ? low + 1 : in - 1;
    part = sub_rn(at, static_cast<T>(low));
    part = part < T(1) ? part : T(1);
  }
};

/// What a thread needs beside its arrays. The arrays are in the order of the image: R, G, B.
template <typename T>
struct Problem {
  int64_t in_h, in_w, out_h, out_w, padded_h, padded_w;
  bool flip, interleaved;
  T factor[3], shift[3];
  int target[3];  ///< channel of the output

  __device__ int64_t place(int c, int64_t i, int64_t j) const {
    return interleaved ? (i * padded_w + j) * 3 + target[c]
                       : (target[c] * padded_h + i) * padded_w + j;
  }
  __device__ T value(const uint8_t* image, const Sample<T>& row, const Sample<T>& column,
                     int c) const {
    const auto along = [&](int64_t h) {
      const uint8_t* from = image + h * in_w * 3 + c;
      return std::fma(T(1) - column.part, static_cast<T>(from[3 * column.low]),
                      column.part * static_cast<T>(from[3 * column.high]));
    };
    const T mixed = std::fma(T(1) - row.part, along(row.low), row.part * along(row.high));
    return std::fma(mixed, factor[c], shift[c]);
  }
};

template <typename T>
__global__ void resize_naive(Problem<T> p, const uint8_t* image, T* out) {
  const int64_t count = 3 * p.padded_h * p.padded_w;
  for (int64_t item = grid_first(); item < count; item += grid_step()) {
    const int64_t pixel = item % (p.padded_h * p.padded_w);
    const int c = static_cast<int>(item / (p.padded_h * p.padded_w));
    const int64_t i = pixel / p.padded_w, j = pixel % p.padded_w;
    T value = 0;
    if (i < p.out_h && j < p.out_w)
      value = p.value(image, Sample<T>(p.in_h, p.out_h, i),
                      Sample<T>(p.in_w, p.out_w, p.flip ? p.out_w - 1 - j : j), c);
    out[p.place(c, i, j)] = value;
  }
}

template <typename T>
__global__ void resize_pixel(Problem<T> p, const uint8_t* image, T* out) {
  const int64_t count = p.padded_h * p.padded_w;
  for (int64_t pixel = grid_first(); pixel < count; pixel += grid_step()) {
    const int64_t i = pixel / p.padded_w, j = pixel % p.padded_w;
    if (i >= p.out_h || j >= p.out_w) {
      for (int c = 0; c < 3; ++c) out[p.place(c, i, j)] = T(0);
      continue;
    }
    const Sample<T> row(p.in_h, p.out_h, i);
    const Sample<T> column(p.in_w, p.out_w, p.flip ? p.out_w - 1 - j : j);
    for (int c = 0; c < 3; ++c) out[p.place(c, i, j)] = p.value(image, row, column, c);
  }
}

}  // namespace

template <Backend backend, typename T>
void resize_normalize(Stream stream, const ResizeParams& p, const uint8_t* image, T* out,
                      ResizeVersion version) {
  check(p.in_h > 0 && p.in_w > 0 && p.out_h > 0 && p.out_w > 0,
        "[resize] expected positive sizes, got {}x{} to {}x{}", p.in_h, p.in_w, p.out_h, p.out_w);
  Problem<T> problem = {};
  problem.in_h = p.in_h, problem.in_w = p.in_w;
  problem.out_h = p.out_h, problem.out_w = p.out_w;
  problem.padded_h = p.padded_h != 0 ? p.padded_h : p.out_h;
  problem.padded_w = p.padded_w != 0 ? p.padded_w : p.out_w;
  problem.flip = p.flip, problem.interleaved = p.interleaved;
  check(problem.padded_h >= p.out_h && problem.padded_w >= p.out_w,
        "[resize] expected a padded size of at least {}x{}, got {}x{}", p.out_h, p.out_w,
        problem.padded_h, problem.padded_w);
  for (size_t c = 0; c < 3; ++c) {
    const size_t to = p.order == ChannelOrder::bgr ? 2 - c : c;
    check(p.std[to] != 0, "[resize] expected a standard deviation other than 0 for channel {}", to);
    problem.target[c] = static_cast<int>(to);
    problem.factor[c] = static_cast<T>(p.scale / p.std[to]);
    problem.shift[c] = static_cast<T>(-p.mean[to] / p.std[to]);
  }
  const int64_t pixels = problem.padded_h * problem.padded_w;
  if (version == ResizeVersion::naive)
    launch({"resize_naive", blocks_for(3 * pixels, kThreads), kThreads, 0, stream}, resize_naive<T>,
           problem, image, out);
  else
    launch({"resize_pixel", blocks_for(pixels, kThreads), kThreads, 0, stream}, resize_pixel<T>,
           problem, image, out);
}

#define FRCNN_INSTANTIATE(T)                                                                   \
  template void resize_normalize<kBackend, T>(Stream, const ResizeParams&, const uint8_t*, T*, \
                                              ResizeVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
