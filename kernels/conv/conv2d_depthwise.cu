// Convolution, version "depthwise": one filter for each channel, as in MobileNets.
//
// With one product per loaded number and tap there is nothing for tensor cores to do: memory sets
// the pace. A warp's lanes are 32 neighbouring channels, so that each access to a cell is one
// transaction, and a block's part of the map is loaded once and then read by all taps.
#include "kernels/conv/conv_versions.cuh"

namespace frcnn::kernels::gpu::conv {
namespace {

constexpr int kLanes = kDepthwiseLanes;
constexpr int kTile = kDepthwiseTile;
constexpr int kWarps = kTile;  // a row of the tile each
constexpr int kThreads = kLanes * kWarps;

struct Filter {
  int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  explicit Filter(const Conv2dParams& p)
      : kernel_h(p.kernel_h),
        kernel_w(p.kernel_w),
        stride_h(p.stride_h),
        stride_w(p.stride_w),
        pad_h(p.pad_h),
        pad_w(p.pad_w),
        dilation_h(p.dilation_h),
        dilation_w(p.dilation_w) {}
  __host__ __device__ int taps() const { return kernel_h * kernel_w; }
  /// Cells of the source under a tile.
  __host__ __device__ int tile_h() const {
    return (kTile - 1) * stride_h + (kernel_h - 1) * dilation_h + 1;
  }
  __host__ __device__ int tile_w() const {
    return (kTile - 1) * stride_w + (kernel_w - 1) * dilation_w + 1;
  }
};

__host__ __device__ int deep(const Map& map) {
  return ceil_div(map.stored, kLanes);
}

__device__ int lane() {
  return static_cast<int>(threadIdx.x) % kLanes;
}
__device__ int warp() {
  return static_cast<int>(threadIdx.x) / kLanes;
}

/// The taps of 32 channels in shared memory, channels side by side; 0 behind the last channel.
__device__ void load_weights(const float* w, int taps, int first_channel, int channels, bool flip,
                             float* to) {
  for (int i = static_cast<int>(threadIdx.x); i < taps * kLanes; i += kThreads) {
    const int c = i / taps, tap = i % taps;
    const bool valid = first_channel + c < channels;
    to[(flip ? taps - 1 - tap : tap) * kLanes + c] =
        valid ? w[int64_t{first_channel} * taps + i] : 0.0f;
  }
}

/// target[i, j] = bias + sum of taps (u, v) of w[u, v] source[i stride - pad + u dilation, ...].
/// With stride 1 this is the data gradient, too: the filter turned round (`flip`), and extent - 1 -
/// pad as padding. K: the kernel is K x K, known to the compiler; 0: any.
template <typename T, int K>
__global__ void __launch_bounds__(kThreads)
    gather_tile(Map from, Map to, Filter f, bool flip, bool relu, const T* source, const float* w,
                const float* b, T* target) {
  FRCNN_DYNAMIC_SHARED(float, shared);
  const int kernel_h = K > 0 ? K : f.kernel_h, kernel_w = K > 0 ? K : f.kernel_w;
  const int tile_h = f.tile_h(), tile_w = f.tile_w();
  float* const weights = shared + tile_h * tile_w * kLanes;

  const int groups = deep(to), across = ceil_div(to.width, kTile),
            down = ceil_div(to.height, kTile);
  const int first_c = static_cast<int>(blockIdx.x) % groups * kLanes;
  const int tile = static_cast<int>(blockIdx.x) / groups;
  const int first_w = tile % across * kTile, first_h = tile / across % down * kTile;
  const int image = tile / across / down, c = first_c + lane();

  load_weights(w, f.taps(), first_c, to.channels, flip, weights);
  const T* const channel = source + image * from.image + (c < from.stored ? from.channel(c) : 0);
  const int top = first_h * f.stride_h - f.pad_h, left = first_w * f.stride_w - f.pad_w;
  for (int i = warp(); i < tile_h * tile_w; i += kWarps) {
    const int h = top + i / tile_w, l = left + i % tile_w;
    const bool inside = h >= 0 && h < from.height && l >= 0 && l < from.width && c < from.stored;
    shared[i * kLanes + lane()] = inside ? static_cast<float>(channel[from.pixel(h, l)]) : 0.0f;
  }
  __syncthreads();

  const int h = first_h + warp();
  if (h >= to.height || c >= to.stored) return;
  float sum[kTile];
  const float start = b != nullptr && c < to.channels ? b[c] : 0.0f;
  for (float& s : sum) s = start;
#pragma unroll
  for (int u = 0; u < kernel_h; ++u)
#pragma unroll
    for (int v = 0; v < kernel_w; ++v) {
      const float factor = weights[(u * kernel_w + v) * kLanes + lane()];
      const float* row =
          shared + ((warp() * f.stride_h + u * f.dilation_h) * tile_w + v * f.dilation_w) * kLanes +
          lane();
#pragma unroll
      for (int j = 0; j < kTile; ++j) sum[j] += factor * row[j * f.stride_w * kLanes];
    }
  T* const out = target + image * to.image + to.channel(c);
#pragma unroll
  for (int j = 0; j < kTile; ++j)
    if (first_w + j < to.width)
      out[to.pixel(h, first_w + j)] = static_cast<T>(relu && sum[j] < 0.0f ? 0.0f : sum[j]);
}

/// Data gradient with strides: a warp takes one cell of dx after the other, its lanes are channels.
/// Which taps reach a cell is the same for all lanes.
template <typename T>
__global__ void __launch_bounds__(kThreads, 4)
    scatter_back(Map from, Map to, Filter f, const T* dy, const float* w, T* dx) {
  FRCNN_DYNAMIC_SHARED(float, weights);
  const int groups = deep(to), first_c = static_cast<int>(blockIdx.x) % groups * kLanes;
  load_weights(w, f.taps(), first_c, to.channels, false, weights);
  __syncthreads();
  const int c = first_c + lane(), cells = to.height * to.width;
  if (c >= to.stored) return;
  const int first = static_cast<int>(blockIdx.x) / groups * kTile * kTile;
  for (int i = first + warp(); i < first + kTile * kTile; i += kWarps) {
    const int image = i / cells, h = i % cells / to.width, l = i % cells % to.width;
    if (image >= to.images) return;
    const T* const channel = dy + image * from.image + from.channel(c);
    float sum = 0;
    for (int u = 0; u < f.kernel_h; ++u) {
      const int y = h + f.pad_h - u * f.dilation_h;  // = row of dy * stride
      if (y < 0 || y % f.stride_h != 0 || y / f.stride_h >= from.height) continue;
      for (int v = 0; v < f.kernel_w; ++v) {
        const int x = l + f.pad_w - v * f.dilation_w;
        if (x < 0 || x % f.stride_w != 0 || x / f.stride_w >= from.width) continue;
        sum += weights[(u * f.kernel_w + v) * kLanes + lane()] *
               static_cast<float>(channel[from.pixel(y / f.stride_h, x / f.stride_w)]);
      }
    }
    dx[image * to.image + to.channel(c) + to.pixel(h, l)] = static_cast<T>(sum);
  }
}

constexpr int kTaps = 9;  // of a thread of weights_parts

/// Parts of dw: a block sums kDepthwisePiece cells of dy of one image, 32 channels, 9 taps; warps
/// take turns at the cells and are added in order at the end.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    weights_parts(Map x_map, Map dy_map, Filter f, int pieces, const T* x, const T* dy,
                  float* parts) {
  FRCNN_SHARED(float, sums, [kWarps][kTaps][kLanes]);
  const int groups = deep(dy_map), first_tap = static_cast<int>(blockIdx.y) * kTaps;
  const int part = static_cast<int>(blockIdx.x) / groups, image = part / pieces;
  const int c = static_cast<int>(blockIdx.x) % groups * kLanes + lane();
  const int first = part % pieces * kDepthwisePiece, cells = dy_map.height * dy_map.width;
  const int end = first + kDepthwisePiece < cells ? first + kDepthwisePiece : cells;
  float sum[kTaps] = {};
  if (c < dy_map.channels) {
    const T* const gradients = dy + image * dy_map.image + dy_map.channel(c);
    const T* const channel = x + image * x_map.image + x_map.channel(c);
    for (int i = first + warp(); i < end; i += kWarps) {
      const int top = i / dy_map.width * f.stride_h - f.pad_h;
      const int left = i % dy_map.width * f.stride_w - f.pad_w;
      const auto gradient = static_cast<float>(gradients[i * dy_map.block]);
#pragma unroll
      for (int t = 0; t < kTaps; ++t) {
        const int tap = first_tap + t;
        const int h = top + tap / f.kernel_w * f.dilation_h;
        const int l = left + tap % f.kernel_w * f.dilation_w;
        if (tap < f.taps() && h >= 0 && h < x_map.height && l >= 0 && l < x_map.width)
          sum[t] += gradient * static_cast<float>(channel[x_map.pixel(h, l)]);
      }
    }
  }
#pragma unroll
  for (int t = 0; t < kTaps; ++t) sums[warp()][t][lane()] = sum[t];
  __syncthreads();
  if (c >= dy_map.channels) return;
  for (int t = warp(); t < kTaps; t += kWarps) {
    if (first_tap + t >= f.taps()) return;
    float total = 0;
    for (int i = 0; i < kWarps; ++i) total += sums[i][t][lane()];
    parts[(int64_t{part} * dy_map.channels + c) * f.taps() + first_tap + t] = total;
  }
}

/// dw[i] = the sum of its parts, in order.
__global__ void __launch_bounds__(kThreads)
    add_parts(int64_t count, int64_t number, const float* parts, float* dw) {
  for (int64_t i = grid_first(); i < count; i += grid_step()) {
    float sum = 0;
    for (int64_t part = 0; part < number; ++part) sum += parts[part * count + i];
    dw[i] = sum;
  }
}

unsigned blocks_of(int64_t blocks) {
  check(blocks < (int64_t{1} << 31), "[conv2d] {} blocks are too many for one launch", blocks);
  return static_cast<unsigned>(blocks);
}

template <typename T>
void launch_gather(const char* name, Stream stream, const Conv2dParams& p, const Map& from,
                   const Map& to, const Filter& f, bool flip, bool relu, const T* source,
                   const float* w, const float* b, T* target) {
  const int64_t tiles = int64_t{to.images} * ceil_div(to.height, kTile) * ceil_div(to.width, kTile);
  launch({name, blocks_of(tiles * deep(to)), kThreads,
          static_cast<size_t>(depthwise_shared_bytes(p)), stream},
         f.kernel_h == 3 && f.kernel_w == 3 ? gather_tile<T, 3> : gather_tile<T, 0>, from, to, f,
         flip, relu, source, w, b, target);
}

}  // namespace

template <Backend backend, typename T>
void depthwise_forward(Stream stream, const Conv2dParams& p, const T* x, const float* w,
                       const float* b, T* y) {
  launch_gather("conv2d_depthwise", stream, p, Map(p.input), Map(p.output()), Filter(p), false,
                p.relu, x, w, b, y);
}

template <Backend backend, typename T>
void depthwise_backward_data(Stream stream, const Conv2dParams& p, const T* dy, const float* w,
                             T* dx) {
  const Map from(p.output()), to(p.input);
  Filter f(p);
  if (p.stride_h == 1 && p.stride_w == 1) {
    f.pad_h = (p.kernel_h - 1) * p.dilation_h - p.pad_h;
    f.pad_w = (p.kernel_w - 1) * p.dilation_w - p.pad_w;
    return launch_gather("conv2d_depthwise_data", stream, p, from, to, f, true, false, dy, w,
                         static_cast<const float*>(nullptr), dx);
  }
  const int64_t runs = ceil_div(int64_t{to.images} * to.height * to.width, int64_t{kTile * kTile});
  launch({"conv2d_depthwise_data", blocks_of(runs * deep(to)), kThreads,
          sizeof(float) * kLanes * static_cast<size_t>(f.taps()), stream},
         scatter_back<T>, from, to, f, dy, w, dx);
}

template <Backend backend, typename T>
void depthwise_backward_weights(Stream stream, const Conv2dParams& p, const T* x, const T* dy,
                                float* parts, float* dw) {
  const Map from(p.input), gradients(p.output());
  const Filter f(p);
  const int64_t pieces = depthwise_pieces(p), number = p.input.n * pieces;
  launch(
      {"conv2d_depthwise_weights",
       Dim3(blocks_of(number * deep(gradients)), static_cast<unsigned>(ceil_div(f.taps(), kTaps))),
       kThreads, 0, stream},
      weights_parts<T>, from, gradients, f, pieces, x, dy, parts);
  launch({"conv2d_depthwise_add", blocks_for(p.weight_size(), kThreads), kThreads, 0, stream},
         add_parts, p.weight_size(), number, parts, dw);
}

#define FRCNN_INSTANTIATE(T)                                                                   \
  template void depthwise_forward<kBackend, T>(Stream, const Conv2dParams&, const T*,          \
                                               const float*, const float*, T*);                \
  template void depthwise_backward_data<kBackend, T>(Stream, const Conv2dParams&, const T*,    \
                                                     const float*, T*);                        \
  template void depthwise_backward_weights<kBackend, T>(Stream, const Conv2dParams&, const T*, \
                                                        const T*, float*, float*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(Bfloat16)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu::conv
