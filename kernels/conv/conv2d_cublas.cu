// The convolution as matrix products by cuBLAS. For each image, im2col copies the window of every
// output pixel into a matrix; with P output pixels and K = C kh kw elements of a window:
//
//                      NCHW, as Caffe does it              NHWC
//   columns            (K, P), K in the order (c, u, v)    (P, K), K in the order (u, v, c)
//   forward            y (O, P) = w columns                y (P, O) = columns wT
//   backward data      dcolumns = wT dy                    dcolumns = dy w
//   backward weights   dw (O, K) += dy columnsT            dw (O, K) += dyT columns
//
// Both orders let neighbouring threads read and write neighbouring elements. The way back from
// columns to the map is a sum over windows, gathered per pixel: deterministic.
#include "kernels/conv/conv2d_vendor.cuh"
#include "kernels/launch/blas.h"
#include "kernels/launch/vendor.cuh"

namespace frcnn::kernels::gpu {
namespace {
using namespace vendor;

/// What the kernels need of the shape, of one image. Columns of less than 2^31 elements keep the
/// divisions short.
struct Windows {
  int channels, height, width, out_h, out_w, kernel_h, kernel_w;
  int stride_h, stride_w, pad_h, pad_w;
  int pixels, depth;  ///< P and K
  bool nhwc;

  explicit Windows(const Conv2dParams& p)
      : channels(static_cast<int>(p.input.c)),
        height(static_cast<int>(p.input.h)),
        width(static_cast<int>(p.input.w)),
        out_h(static_cast<int>(p.out_h())),
        out_w(static_cast<int>(p.out_w())),
        kernel_h(p.kernel_h),
        kernel_w(p.kernel_w),
        stride_h(p.stride_h),
        stride_w(p.stride_w),
        pad_h(p.pad_h),
        pad_w(p.pad_w),
        pixels(out_h * out_w),
        depth(channels * kernel_h * kernel_w),
        nhwc(is_nhwc(p)) {
    constexpr int64_t kMost = int64_t{1} << 31;
    const int64_t elements = p.out_h() * p.out_w() * p.input.c * p.kernel_h * p.kernel_w;
    check(elements < kMost && p.input.c * p.input.h * p.input.w < kMost,
          "[conv2d] {} elements of im2col are too many for one image", elements);
  }
  __host__ __device__ int columns() const { return pixels * depth; }
  __host__ __device__ int image() const { return channels * height * width; }

  __device__ int map_at(int c, int h, int w) const {
    return nhwc ? (h * width + w) * channels + c : (c * height + h) * width + w;
  }
  __device__ int column_at(int c, int u, int v, int pixel) const {
    return nhwc ? pixel * depth + (u * kernel_w + v) * channels + c
                : ((c * kernel_h + u) * kernel_w + v) * pixels + pixel;
  }
};

/// One thread, one element of the columns, in their order.
template <typename T, typename Factor>
__global__ void im2col_kernel(Windows s, const T* x, Factor* columns) {
  const int64_t count = s.columns();
  const int taps = s.kernel_h * s.kernel_w;
  for (int64_t at = grid_first(); at < count; at += grid_step()) {
    const int i = static_cast<int>(at);
    const int pixel = s.nhwc ? i / s.depth : i % s.pixels;
    const int k = s.nhwc ? i % s.depth : i / s.pixels;
    const int c = s.nhwc ? k % s.channels : k / taps, tap = s.nhwc ? k / s.channels : k % taps;
    const int h = pixel / s.out_w * s.stride_h - s.pad_h + tap / s.kernel_w;
    const int w = pixel % s.out_w * s.stride_w - s.pad_w + tap % s.kernel_w;
    const bool inside = h >= 0 && h < s.height && w >= 0 && w < s.width;
    columns[i] = static_cast<Factor>(inside ? static_cast<float>(x[s.map_at(c, h, w)]) : 0.0f);
  }
}

/// One thread, one element of the map: the sum of its copies in the columns.
template <typename T>
__global__ void col2im_kernel(Windows s, const T* columns, T* dx) {
  const int64_t count = s.image();
  for (int64_t at = grid_first(); at < count; at += grid_step()) {
    const int i = static_cast<int>(at);
    const int c = s.nhwc ? i % s.channels : i / (s.height * s.width);
    const int place = s.nhwc ? i / s.channels : i % (s.height * s.width);
    const int h = place / s.width + s.pad_h, w = place % s.width + s.pad_w;
    float sum = 0;
    for (int u = 0; u < s.kernel_h; ++u)
      for (int v = 0; v < s.kernel_w; ++v) {
        const int y = h - u, x = w - v;  // strides times the output's row and column
        if (y < 0 || x < 0 || y % s.stride_h != 0 || x % s.stride_w != 0) continue;
        if (y / s.stride_h >= s.out_h || x / s.stride_w >= s.out_w) continue;
        const int pixel = y / s.stride_h * s.out_w + x / s.stride_w;
        sum += static_cast<float>(columns[s.column_at(c, u, v, pixel)]);
      }
    dx[i] = static_cast<T>(sum);
  }
}

/// y = relu(y + b), in place. `inner` neighbours in memory share a channel.
template <typename T>
__global__ void finish_kernel(int64_t count, int64_t inner, int64_t channels, const float* b,
                              bool relu, T* y) {
  for (int64_t i = grid_first(); i < count; i += grid_step()) {
    float value = static_cast<float>(y[i]);
    if (b != nullptr) value += b[i / inner % channels];
    y[i] = static_cast<T>(relu && value < 0 ? 0.0f : value);
  }
}

/// db[o] = sum of dy over the pixels of channel o, which a block adds up in double.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    bias_gradient_kernel(MapLayout map, const T* dy, float* db) {
  const int64_t plane = map.h * map.w, channel = blockIdx.x;
  double sum = 0;
  for (int64_t i = threadIdx.x; i < map.n * plane; i += kThreads)
    sum += static_cast<double>(
        static_cast<float>(dy[map.at(i / plane, channel, i % plane / map.w, i % map.w)]));
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) db[channel] = static_cast<float>(sum);
}

// cuBLAS's own workspace: what NVIDIA suggests for Hopper.
constexpr int64_t kLibraryBytes = kBackend == Backend::cuda ? int64_t{32} << 20 : 0;

#if defined(FRCNN_HAVE_CUBLAS)

template <typename T>
constexpr cudaDataType_t kDataType = std::is_same_v<T, float> ? CUDA_R_32F : CUDA_R_16BF;

cublasHandle_t handle_for(Stream stream, void* workspace) {
  thread_local cublasHandle_t handles[64] = {};  // never destroyed: the library may go first
  const int device = current_device();
  check(device < 64, "[conv2d] device {} is too far down the list", device);
  cublasHandle_t& handle = handles[device];
  if (handle == nullptr) FRCNN_VENDOR(cublas, cublasCreate)(&handle);
  FRCNN_VENDOR(cublas, cublasSetStream)(handle, stream);
  FRCNN_VENDOR(cublas, cublasSetWorkspace)(handle, workspace, size_t{kLibraryBytes});
  return handle;
}

/// c = a b + beta c
template <typename Factor, typename Out>
void product(Stream stream, VendorMath math, const ProductShape& shape, const Factor* a,
             const Factor* b, float beta, Out* c, void* workspace) {
  const BlasCall call = blas_call(shape);
  const auto op = [](bool transpose) { return transpose ? CUBLAS_OP_T : CUBLAS_OP_N; };
  const float alpha = 1;
  FRCNN_VENDOR(cublas, cublasGemmEx_64)
  (handle_for(stream, workspace), op(call.transpose_first), op(call.transpose_second), call.m,
   call.n, call.k, &alpha, b, kDataType<Factor>, call.stride_first, a, kDataType<Factor>,
   call.stride_second, &beta, c, kDataType<Out>, call.stride_result,
   math == VendorMath::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
   CUBLAS_GEMM_DEFAULT);
}

#elif defined(__CUDACC__)

template <typename Factor, typename Out>
void product(Stream, VendorMath, const ProductShape&, const Factor*, const Factor*, float, Out*,
             void*) {
  fail("[conv2d] cuBLAS is not available in this build: the toolkit had no cublas_v2.h");
}

#else  // emulation: the call as the BLAS defines it

template <typename Factor, typename Out>
__global__ void blas_kernel(BlasCall call, const Factor* first, const Factor* second, float beta,
                            Out* result) {
  for (int64_t i = grid_first(); i < call.m * call.n; i += grid_step()) {
    const int64_t row = i % call.m, column = i / call.m;
    float sum = 0;
    for (int64_t k = 0; k < call.k; ++k)
      sum += static_cast<float>(first[call.transpose_first ? k + row * call.stride_first
                                                           : row + k * call.stride_first]) *
             static_cast<float>(second[call.transpose_second ? column + k * call.stride_second
                                                             : k + column * call.stride_second]);
    Out& to = result[row + column * call.stride_result];
    to = static_cast<Out>(beta == 0 ? sum : sum + beta * static_cast<float>(to));
  }
}
template <typename Factor, typename Out>
void product(Stream stream, VendorMath, const ProductShape& shape, const Factor* a, const Factor* b,
             float beta, Out* c, void*) {
  const BlasCall call = blas_call(shape);
  launch({"blas", blocks_for(call.m * call.n, kThreads), kThreads, 0, stream},
         blas_kernel<Factor, Out>, call, b, a, beta, c);
}

#endif

/// Calls body with a null pointer of the type of the factors: float or Bfloat16.
template <typename T, typename Body>
void with_factor(VendorMath math, const Body& body) {
  check_math<T>(math);
  if (math == VendorMath::bf16) return body(static_cast<Bfloat16*>(nullptr));
  if constexpr (std::is_same_v<T, float>) body(static_cast<float*>(nullptr));
}

/// The array itself where it has the type of the factors, else a rounded copy.
template <typename Factor, typename T>
const Factor* factors(Stream stream, int64_t count, const T* from, Factor* room) {
  if constexpr (std::is_same_v<Factor, T>) {
    return from;
  } else {
    launch_convert(stream, count, from, room);
    return room;
  }
}

/// The parts of a workspace; room for a copy of dy (all images) where it must be rounded.
template <typename T, typename Factor>
struct Parts {
  char* library;
  Factor* columns = nullptr;  // forward, backward weights
  T* gradients = nullptr;     // backward data: of the columns
  Factor* dy = nullptr;
  float* dw = nullptr;
  size_t bytes;

  Parts(const Conv2dParams& p, LayerPass pass, void* workspace) {
    const Windows s(p);
    Room room(workspace);
    library = room.take<char>(kLibraryBytes);
    const bool data = pass == LayerPass::backward_data,
               weights = pass == LayerPass::backward_weights;
    if (data) {
      gradients = room.take<T>(s.columns());
    } else {
      columns = room.take<Factor>(s.columns());
    }
    if ((data || weights) && !std::is_same_v<T, Factor>) dy = room.take<Factor>(p.output().size());
    if (weights && s.nhwc) dw = room.take<float>(p.weight_size());
    bytes = room.used();
  }
};

template <typename Factor, typename T>
void im2col(Stream stream, const Windows& s, const T* x, Factor* columns) {
  launch({"im2col", blocks_for(s.columns(), kThreads), kThreads, 0, stream},
         im2col_kernel<T, Factor>, s, x, columns);
}

}  // namespace

template <Backend backend, typename T>
size_t conv2d_workspace_cublas(const Conv2dParams& p, LayerPass pass, VendorMath math) {
  size_t bytes = 0;
  with_factor<T>(math, [&](auto* type) {
    bytes = Parts<T, std::remove_pointer_t<decltype(type)>>(p, pass, nullptr).bytes;
  });
  return bytes;
}

template <Backend backend, typename T>
void conv2d_forward_cublas(Stream stream, const Conv2dParams& p, const T* x, const void* w,
                           const float* b, T* y, void* workspace, VendorMath math) {
  const Windows s(p);
  const int64_t o = p.out_channels, pixels = s.pixels, depth = s.depth;
  if (p.output().size() == 0) return;
  with_factor<T>(math, [&](auto* type) {
    using Factor = std::remove_pointer_t<decltype(type)>;
    const Parts<T, Factor> parts(p, LayerPass::forward_training, workspace);
    const auto* weights = static_cast<const Factor*>(w);
    for (int64_t image = 0; image < p.input.n; ++image) {
      im2col(stream, s, x + image * s.image(), parts.columns);
      T* const to = y + image * o * pixels;
      if (s.nhwc) {
        product(stream, math, {pixels, o, depth, false, false}, parts.columns, weights, 0.0f, to,
                parts.library);
      } else {
        product(stream, math, {o, pixels, depth, false, true}, weights, parts.columns, 0.0f, to,
                parts.library);
      }
    }
  });
  if (b == nullptr && !p.relu) return;
  const int64_t count = p.output().size();
  launch({"conv2d_bias_relu", blocks_for(count, kThreads), kThreads, 0, stream}, finish_kernel<T>,
         count, s.nhwc ? 1 : pixels, o, b, p.relu, y);
}

template <Backend backend, typename T>
void conv2d_backward_data_cublas(Stream stream, const Conv2dParams& p, const T* dy, const void* w,
                                 T* dx, void* workspace, VendorMath math) {
  const Windows s(p);
  const int64_t o = p.out_channels, pixels = s.pixels, depth = s.depth;
  if (p.input.size() == 0) return;
  with_factor<T>(math, [&](auto* type) {
    using Factor = std::remove_pointer_t<decltype(type)>;
    const Parts<T, Factor> parts(p, LayerPass::backward_data, workspace);
    const auto* weights = static_cast<const Factor*>(w);
    const Factor* gradient = factors<Factor>(stream, p.output().size(), dy, parts.dy);
    for (int64_t image = 0; image < p.input.n; ++image) {
      const Factor* from = gradient + image * o * pixels;
      if (s.nhwc) {
        product(stream, math, {pixels, depth, o, false, true}, from, weights, 0.0f, parts.gradients,
                parts.library);
      } else {
        product(stream, math, {depth, pixels, o, true, true}, weights, from, 0.0f, parts.gradients,
                parts.library);
      }
      launch({"col2im", blocks_for(s.image(), kThreads), kThreads, 0, stream}, col2im_kernel<T>, s,
             parts.gradients, dx + image * s.image());
    }
  });
}

template <Backend backend, typename T>
void conv2d_backward_weights_cublas(Stream stream, const Conv2dParams& p, const T* x, const T* dy,
                                    float* dw, float* db, void* workspace, VendorMath math) {
  const Windows s(p);
  const int64_t o = p.out_channels, pixels = s.pixels, depth = s.depth;
  with_factor<T>(math, [&](auto* type) {
    using Factor = std::remove_pointer_t<decltype(type)>;
    const Parts<T, Factor> parts(p, LayerPass::backward_weights, workspace);
    const Factor* gradient = factors<Factor>(stream, p.output().size(), dy, parts.dy);
    float* const to = s.nhwc ? parts.dw : dw;
    if (p.input.n == 0 || pixels == 0)
      fill_bytes<backend>(stream, dw, 0, static_cast<size_t>(p.weight_size()) * sizeof(float));
    for (int64_t image = 0; image < p.input.n && pixels > 0; ++image) {
      im2col(stream, s, x + image * s.image(), parts.columns);
      product(stream, math, {o, depth, pixels, s.nhwc, s.nhwc}, gradient + image * o * pixels,
              parts.columns, image == 0 ? 0.0f : 1.0f, to, parts.library);
    }
    if (s.nhwc && p.input.n > 0 && pixels > 0) launch_unpack(stream, p, parts.dw, dw);
  });
  if (db != nullptr)
    launch({"conv2d_bias_gradient", static_cast<unsigned>(o), kThreads, 0, stream},
           bias_gradient_kernel<T>, p.output(), dy, db);
}

#define FRCNN_INSTANTIATE(T)                                                                    \
  template size_t conv2d_workspace_cublas<kBackend, T>(const Conv2dParams&, LayerPass,          \
                                                       VendorMath);                             \
  template void conv2d_forward_cublas<kBackend, T>(                                             \
      Stream, const Conv2dParams&, const T*, const void*, const float*, T*, void*, VendorMath); \
  template void conv2d_backward_data_cublas<kBackend, T>(Stream, const Conv2dParams&, const T*, \
                                                         const void*, T*, void*, VendorMath);   \
  template void conv2d_backward_weights_cublas<kBackend, T>(                                    \
      Stream, const Conv2dParams&, const T*, const T*, float*, float*, void*, VendorMath);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(Bfloat16)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
