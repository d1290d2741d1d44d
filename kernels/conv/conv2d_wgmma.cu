// Convolution, version "wgmma_bf16": forward on Hopper, NHWC of Bfloat16, stride 1.
//
// A block computes 128 pixels, a rectangle of one image, times 128 output channels. For each filter
// tap and 64 input channels, TMA brings the rectangle, moved by the tap, and 128 rows of weights to
// shared memory: one instruction of one thread each. The zeros of the padding, of channels beyond C
// and of outputs beyond O come from TMA, too, so the kernel has no index arithmetic in its loop.
// One warp only loads; two warpgroups only multiply, 64 pixels each. They meet at two barriers per
// stage: `full`, which counts the bytes that have come, and `empty`, which the multiplying warps
// arrive at when they have read a stage.
#include "kernels/conv/conv_versions.cuh"

#if defined(__CUDACC__)
#include "kernels/conv/hopper.cuh"
#endif

namespace frcnn::kernels::gpu::conv {

#if defined(__CUDACC__)
namespace {

constexpr int kTile = 128;  // pixels, and output channels
constexpr int kDepth = 64;  // input channels of a stage: 128 bytes
constexpr int kStages = 6;
constexpr int kOperand = kTile * kDepth * 2, kStage = 2 * kOperand;
constexpr int kWarps = 8;  // that multiply
constexpr int kThreads = 32 * (kWarps + 1);
constexpr int kShared = 1024 + kStages * kStage + 2 * kStages * static_cast<int>(sizeof(uint64_t));

struct Problem {
  int images, out_h, out_w, channels, out_channels;
  int kernel_h, kernel_w, pad_h, pad_w;
  int log_width;         ///< a rectangle has 2^log_width columns and 2^(7 - log_width) rows
  int tiles_h, tiles_w;  ///< rectangles of an image
  bool relu;
};

__global__ void __launch_bounds__(kThreads, 1)
    wgmma_kernel(const Problem p, const __grid_constant__ CUtensorMap x,
                 const __grid_constant__ CUtensorMap weights, const float* bias, Bfloat16* y) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  FRCNN_DYNAMIC_SHARED(unsigned char, dynamic);
  // The swizzle is one of addresses: stages begin at multiples of 1024.
  unsigned char* const shared = dynamic + (1024 - shared_address(dynamic) % 1024) % 1024;
  auto* const full = reinterpret_cast<uint64_t*>(shared + kStages * kStage);
  uint64_t* const empty = full + kStages;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;

  const int tiles_n = ceil_div(p.out_channels, kTile);
  const int first_channel = static_cast<int>(blockIdx.x) % tiles_n * kTile;
  const int rectangle = static_cast<int>(blockIdx.x) / tiles_n;
  const int image = rectangle / (p.tiles_h * p.tiles_w);
  const int inside = rectangle - image * p.tiles_h * p.tiles_w;
  const int first_h = inside / p.tiles_w << (7 - p.log_width);
  const int first_w = inside % p.tiles_w << p.log_width;
  const int slices = ceil_div(p.channels, kDepth), steps = p.kernel_h * p.kernel_w * slices;

  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      hopper::barrier_init(full + i, 1);
      hopper::barrier_init(empty + i, kWarps);
    }
    hopper::barrier_fence();
  }
  __syncthreads();

  if (warp == kWarps) {
    if (lane != 0) return;
    for (int step = 0; step < steps; ++step) {
      const int stage = step % kStages, tap = step / slices;
      const int u = tap / p.kernel_w, v = tap % p.kernel_w, c = step % slices * kDepth;
      unsigned char* const to = shared + stage * kStage;
      hopper::barrier_wait(empty + stage, (step / kStages & 1) ^ 1);
      hopper::barrier_arrive_expect(full + stage, kStage);
      hopper::tma_load(to, x, full + stage, c, first_w + v - p.pad_w, first_h + u - p.pad_h, image);
      hopper::tma_load(to + kOperand, weights, full + stage, c, tap, first_channel);
    }
    return;
  }

  float sum[64] = {};
  const int group = warp / 4;
  for (int step = 0; step < steps; ++step) {
    const int stage = step % kStages;
    const unsigned char* const from = shared + stage * kStage;
    hopper::barrier_wait(full + stage, step / kStages & 1);
    const uint64_t a = hopper::matrix_descriptor(from + group * (kOperand / 2));
    const uint64_t b = hopper::matrix_descriptor(from + kOperand);
    hopper::products_fence();
#pragma unroll
    for (int k = 0; k < kDepth / 16; ++k)  // 32 bytes further along the row
      hopper::multiply_m64n128k16(sum, a + static_cast<uint64_t>(2 * k),
                                  b + static_cast<uint64_t>(2 * k));
    hopper::products_commit();
    // The products of the step before are done: its stage may be filled again.
    hopper::products_wait<1>();
    if (step > 0 && lane == 0) hopper::barrier_arrive(empty + (step - 1) % kStages);
  }
  hopper::products_wait<0>();

  struct alignas(4) Pair {
    Bfloat16 v[2];
  };
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int pixel = 16 * warp + lane / 4 + 8 * half;  // warps 4 to 7 are the second 64 pixels
    const int h = first_h + (pixel >> p.log_width);
    const int w = first_w + (pixel & ((1 << p.log_width) - 1));
    if (h >= p.out_h || w >= p.out_w) continue;
    Bfloat16* const to = y + ((int64_t{image} * p.out_h + h) * p.out_w + w) * p.out_channels;
#pragma unroll
    for (int j = 0; j < kTile / 8; ++j) {
      const int o = first_channel + 8 * j + 2 * (lane % 4);
      if (o >= p.out_channels) break;
      Pair pair;
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float value = sum[4 * j + 2 * half + e] + (bias != nullptr ? bias[o + e] : 0.0f);
        pair.v[e] = Bfloat16(p.relu && value < 0.0f ? 0.0f : value);
      }
      *reinterpret_cast<Pair*>(to + o) = pair;
    }
  }
#else
  __trap();  // not compiled for sm_90a
#endif
}

/// The rectangle of 128 pixels that covers the map with the fewest copies of itself.
void choose_rectangle(Problem& p) {
  int64_t fewest = -1;
  for (int log = 0; log <= 7; ++log) {
    const int tiles_h = ceil_div(p.out_h, kTile >> log), tiles_w = ceil_div(p.out_w, 1 << log);
    const int64_t tiles = int64_t{tiles_h} * tiles_w;
    if (fewest >= 0 && tiles >= fewest) continue;
    fewest = tiles;
    p.log_width = log, p.tiles_h = tiles_h, p.tiles_w = tiles_w;
  }
}

}  // namespace
#endif

template <Backend backend>
void wgmma_forward(Stream stream, const Conv2dParams& conv, const Bfloat16* x, const void* packed,
                   const float* bias, Bfloat16* y) {
#if defined(__CUDACC__)
  int device = 0, major = 0, minor = 0;
  FRCNN_CUDA_CHECK(cudaGetDevice(&device));
  FRCNN_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  FRCNN_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  check(major == 9 && minor == 0,
        "[conv2d] wgmma_bf16 needs compute capability 9.0, this device has {}.{}", major, minor);
  // Code for plain sm_90 has only the trap, which needs no registers; the sums alone need 64.
  cudaFuncAttributes compiled{};
  FRCNN_CUDA_CHECK(cudaFuncGetAttributes(&compiled, wgmma_kernel));
  check(compiled.numRegs >= 64,
        "[conv2d] wgmma_bf16 is not in this build: compile for sm_90a "
        "(CMAKE_CUDA_ARCHITECTURES=90a)");
  check(reinterpret_cast<uintptr_t>(x) % 16 == 0 && reinterpret_cast<uintptr_t>(packed) % 16 == 0 &&
            reinterpret_cast<uintptr_t>(y) % 4 == 0,
        "[conv2d] wgmma_bf16 needs x and weights aligned to 16 bytes, y to 4");
  if (conv.input.n == 0) return;
  Problem p;
  p.images = static_cast<int>(conv.input.n);
  p.out_h = static_cast<int>(conv.out_h()), p.out_w = static_cast<int>(conv.out_w());
  p.channels = static_cast<int>(conv.input.c);
  p.out_channels = static_cast<int>(conv.out_channels);
  p.kernel_h = conv.kernel_h, p.kernel_w = conv.kernel_w;
  p.pad_h = conv.pad_h, p.pad_w = conv.pad_w;
  p.relu = conv.relu;
  choose_rectangle(p);

  using Size = cuuint64_t;
  const auto c = static_cast<Size>(conv.input.c), w = static_cast<Size>(conv.input.w),
             h = static_cast<Size>(conv.input.h), n = static_cast<Size>(conv.input.n),
             o = static_cast<Size>(conv.out_channels),
             taps = static_cast<Size>(conv.kernel_h * conv.kernel_w);
  const CUtensorMap x_map =
      hopper::tensor_map<4>(x, {c, w, h, n}, {2 * c, 2 * c * w, 2 * c * w * h},
                            {kDepth, 1u << p.log_width, unsigned{kTile} >> p.log_width, 1});
  const CUtensorMap weight_map =
      hopper::tensor_map<3>(packed, {c, taps, o}, {2 * c, 2 * c * taps}, {kDepth, 1, kTile});
  const int64_t blocks =
      int64_t{p.images} * p.tiles_h * p.tiles_w * ceil_div(p.out_channels, kTile);
  check(blocks < (int64_t{1} << 31), "[conv2d] {} blocks are too many for one launch", blocks);
  launch({"conv2d_forward", Dim3(static_cast<unsigned>(blocks)), kThreads, kShared, stream},
         wgmma_kernel, p, x_map, weight_map, bias, y);
#else
  static_cast<void>(stream), static_cast<void>(conv), static_cast<void>(x);
  static_cast<void>(packed), static_cast<void>(bias), static_cast<void>(y);
  fail("[conv2d] wgmma_bf16 runs on a GPU only: wgmma and TMA are not emulated");
#endif
}

template void wgmma_forward<kBackend>(Stream, const Conv2dParams&, const Bfloat16*, const void*,
                                      const float*, Bfloat16*);

}  // namespace frcnn::kernels::gpu::conv
