// Around the matrix products of the convolution: packing weights, adding the parts of a weights
// gradient, the gradient of the bias.
#include "kernels/conv/conv_versions.cuh"
#include "kernels/launch/reduce.cuh"

namespace frcnn::kernels::gpu::conv {
namespace {

constexpr int kThreads = 256;

template <typename Element, bool kTf32>
__global__ void pack_kernel(GatherProblem p, const float* w, Element* packed) {
  const int64_t per_class = int64_t{p.columns} * p.depth, count = p.classes * per_class;
  const int64_t filter = int64_t{p.kernel_h} * p.kernel_w;
  for (int64_t i = grid_first(); i < count; i += grid_step()) {
    const int cls = static_cast<int>(i / per_class);
    const int column = static_cast<int>(i % per_class / p.depth);
    const int k = static_cast<int>(i % p.depth);
    const GatherAxis vertical = p.vertical(cls), horizontal = p.horizontal(cls);
    const int tap = k / p.channels, c = k % p.channels;
    float value = 0;  // beyond the last tap, and padding channels
    if (c < p.source.channels && tap < vertical.taps * horizontal.taps) {
      const int u = vertical.first_tap + tap / horizontal.taps * vertical.tap_spacing;
      const int v = horizontal.first_tap + tap % horizontal.taps * horizontal.tap_spacing;
      const int64_t o = p.backward ? c : column, in = p.backward ? column : c;
      const int64_t inputs = p.backward ? p.columns : p.source.channels;
      value = w[(o * inputs + in) * filter + u * p.kernel_w + v];
    }
    if constexpr (kTf32) value = __uint_as_float(to_tf32(value));
    packed[i] = static_cast<Element>(value);
  }
}

__global__ void finish_kernel(WeightsProblem p, const float* parts, float* dw) {
  const int64_t size = int64_t{p.dy.channels} * p.columns;
  const int taps = p.columns / p.channels;
  for (int64_t i = grid_first(); i < size; i += grid_step()) {
    float sum = parts[i];
    for (int split = 1; split < p.splits; ++split) sum += parts[split * size + i];
    const int64_t o = i / p.columns;
    const int k = static_cast<int>(i % p.columns), tap = k / p.channels, c = k % p.channels;
    if (c < p.x.channels) dw[(o * p.x.channels + c) * taps + tap] = sum;
  }
}

// ---- bias

/// One piece of an image and 32 channels. Eight threads share a channel. NCHW: a warp reads 32
/// neighbouring pixels of one channel after the other. Other layouts: 32 neighbouring channels of
/// one pixel after the other.
template <typename T, typename Sum>
__global__ void __launch_bounds__(kThreads)
    bias_parts_kernel(Map map, int pieces, const T* dy, double* parts) {
  FRCNN_SHARED(Sum, sums, [8][32]);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int piece = static_cast<int>(blockIdx.x) % pieces;
  const int64_t image = blockIdx.x / static_cast<unsigned>(pieces);
  const int first = piece * kBiasPixels;
  const int end = std::min(map.height * map.width, first + kBiasPixels);
  const int first_channel = static_cast<int>(blockIdx.y) * 32;
  dy += image * map.image;
  double* const to = parts + int64_t{blockIdx.x} * map.channels + first_channel;
  const int channels = std::min(32, map.channels - first_channel);
  if (map.block == 1) {
    for (int c = warp; c < channels; c += 8) {
      Sum sum = 0;
      for (int i = first + lane; i < end; i += 32)
        sum += static_cast<Sum>(dy[map.channel(first_channel + c) + i]);
      sum = warp_sum(sum);
      if (lane == 0) to[c] = static_cast<double>(sum);
    }
    return;
  }
  Sum sum = 0;
  if (lane < channels) {
    const int channel = map.channel(first_channel + lane);
    for (int i = first + warp; i < end; i += 8)
      sum += static_cast<Sum>(dy[channel + i * map.block]);
  }
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || lane >= channels) return;
  for (int i = 1; i < 8; ++i) sum += sums[i][lane];
  to[lane] = static_cast<double>(sum);
}

template <typename W>
__global__ void bias_sum_kernel(int channels, int64_t rows, const double* parts, W* db) {
  for (int64_t c = grid_first(); c < channels; c += grid_step()) {
    double sum = 0;
    for (int64_t row = 0; row < rows; ++row) sum += parts[row * channels + c];
    db[c] = static_cast<W>(sum);
  }
}

}  // namespace

template <Backend backend>
void pack_weights(Stream stream, const GatherProblem& problem, WeightFormat format, const float* w,
                  void* packed) {
  const int64_t count = int64_t{problem.classes} * problem.columns * problem.depth;
  const Launch where{"conv2d_pack_weights", blocks_for(count, kThreads), kThreads, 0, stream};
  switch (format) {
    case WeightFormat::f32:
      return launch(where, pack_kernel<float, false>, problem, w, static_cast<float*>(packed));
    case WeightFormat::tf32:
      return launch(where, pack_kernel<float, true>, problem, w, static_cast<float*>(packed));
    case WeightFormat::bf16:
      return launch(where, pack_kernel<Bfloat16, false>, problem, w,
                    static_cast<Bfloat16*>(packed));
  }
}

template <Backend backend>
void finish_weights(Stream stream, const WeightsProblem& problem, const float* parts, float* dw) {
  const int64_t count = int64_t{problem.dy.channels} * problem.columns;
  launch({"conv2d_finish_weights", blocks_for(count, kThreads), kThreads, 0, stream}, finish_kernel,
         problem, parts, dw);
}

template <Backend backend, typename T>
void backward_bias(Stream stream, const MapLayout& layout, const T* dy, ConvWeight<T>* db,
                   double* workspace) {
  using Sum = ConvWeight<T>;
  const int64_t pieces = bias_pieces(layout), rows = layout.n * pieces;
  launch({"conv2d_bias_parts",
          Dim3(static_cast<unsigned>(rows), static_cast<unsigned>(ceil_div(layout.c, 32))),
          kThreads, 0, stream},
         bias_parts_kernel<T, Sum>, Map(layout), static_cast<int>(pieces), dy, workspace);
  launch({"conv2d_bias_sum", blocks_for(layout.c, 64), 64, 0, stream}, bias_sum_kernel<Sum>,
         static_cast<int>(layout.c), rows, workspace, db);
}

template void pack_weights<kBackend>(Stream, const GatherProblem&, WeightFormat, const float*,
                                     void*);
template void finish_weights<kBackend>(Stream, const WeightsProblem&, const float*, float*);
template void backward_bias<kBackend, float>(Stream, const MapLayout&, const float*, float*,
                                             double*);
template void backward_bias<kBackend, double>(Stream, const MapLayout&, const double*, double*,
                                              double*);
template void backward_bias<kBackend, Bfloat16>(Stream, const MapLayout&, const Bfloat16*, float*,
                                                double*);

}  // namespace frcnn::kernels::gpu::conv
