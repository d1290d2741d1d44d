// The convolution by cuDNN's functions of one operation each.
#include <array>
#include <map>
#include <optional>

#include "kernels/conv/conv2d_vendor.cuh"
#include "kernels/launch/vendor.cuh"

namespace frcnn::kernels::gpu {

#if defined(FRCNN_HAVE_CUDNN)
namespace {
using namespace vendor;

static_assert(std::size(kCudnnForward) == CUDNN_CONVOLUTION_FWD_ALGO_COUNT);
static_assert(std::size(kCudnnBackwardData) == CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT);
static_assert(std::size(kCudnnBackwardWeights) == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT);

bool is_forward(LayerPass pass) {
  return pass == LayerPass::forward_inference || pass == LayerPass::forward_training;
}
int algorithm_count(LayerPass pass) {
  if (is_forward(pass)) return static_cast<int>(std::size(kCudnnForward));
  return static_cast<int>(pass == LayerPass::backward_data ? std::size(kCudnnBackwardData)
                                                           : std::size(kCudnnBackwardWeights));
}
const CudnnAlgorithm& algorithm_at(LayerPass pass, int index) {
  if (is_forward(pass)) return kCudnnForward[index];
  return pass == LayerPass::backward_data ? kCudnnBackwardData[index]
                                          : kCudnnBackwardWeights[index];
}

/// Everything that cuDNN knows of a convolution in one pass. Plans and handles are kept by their
/// thread and never destroyed: the library may be gone before.
struct Plan {
  cudnnTensorDescriptor_t x = nullptr, y = nullptr, bias = nullptr;
  cudnnFilterDescriptor_t filter = nullptr;
  cudnnConvolutionDescriptor_t convolution = nullptr;
  cudnnActivationDescriptor_t relu = nullptr;
  int algorithm = -1;
  size_t workspace = 0;
  std::string refused;  ///< why cuDNN does not do it; else empty
};

cudnnTensorDescriptor_t tensor(cudnnTensorFormat_t format, cudnnDataType_t type, int64_t n,
                               int64_t c, int64_t h, int64_t w) {
  cudnnTensorDescriptor_t result = nullptr;
  FRCNN_VENDOR(cudnn, cudnnCreateTensorDescriptor)(&result);
  FRCNN_VENDOR(cudnn, cudnnSetTensor4dDescriptor)
  (result, format, type, static_cast<int>(n), static_cast<int>(c), static_cast<int>(h),
   static_cast<int>(w));
  return result;
}

Plan describe(const Conv2dParams& p, VendorMath math) {
  const auto format = is_nhwc(p) ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW;
  const auto type = math == VendorMath::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
  Plan plan;
  plan.x = tensor(format, type, p.input.n, p.input.c, p.input.h, p.input.w);
  plan.y = tensor(format, type, p.input.n, p.out_channels, p.out_h(), p.out_w());
  plan.bias = tensor(format, type, 1, p.out_channels, 1, 1);
  FRCNN_VENDOR(cudnn, cudnnCreateFilterDescriptor)(&plan.filter);
  FRCNN_VENDOR(cudnn, cudnnSetFilter4dDescriptor)
  (plan.filter, type, format, static_cast<int>(p.out_channels), static_cast<int>(p.input.c),
   p.kernel_h, p.kernel_w);
  FRCNN_VENDOR(cudnn, cudnnCreateConvolutionDescriptor)(&plan.convolution);
  FRCNN_VENDOR(cudnn, cudnnSetConvolution2dDescriptor)
  (plan.convolution, p.pad_h, p.pad_w, p.stride_h, p.stride_w, 1, 1, CUDNN_CROSS_CORRELATION,
   CUDNN_DATA_FLOAT);
  // CUDNN_DEFAULT_MATH would use tf32 where it can.
  FRCNN_VENDOR(cudnn, cudnnSetConvolutionMathType)
  (plan.convolution, math == VendorMath::f32 ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH);
  FRCNN_VENDOR(cudnn, cudnnCreateActivationDescriptor)(&plan.relu);
  FRCNN_VENDOR(cudnn, cudnnSetActivationDescriptor)
  (plan.relu, CUDNN_ACTIVATION_RELU, CUDNN_NOT_PROPAGATE_NAN, 0.0);  // all that can be fused
  return plan;
}

/// The workspace of an algorithm, or nothing when cuDNN does not have it for this convolution.
std::optional<size_t> workspace_of(cudnnHandle_t handle, const Plan& plan, LayerPass pass,
                                   int algorithm) {
  size_t bytes = 0;
  cudnnStatus_t status;
  if (is_forward(pass)) {
    status = FRCNN_VENDOR(cudnn, cudnnGetConvolutionForwardWorkspaceSize)
                 .status(handle, plan.x, plan.filter, plan.convolution, plan.y,
                         static_cast<cudnnConvolutionFwdAlgo_t>(algorithm), &bytes);
  } else if (pass == LayerPass::backward_data) {
    status = FRCNN_VENDOR(cudnn, cudnnGetConvolutionBackwardDataWorkspaceSize)
                 .status(handle, plan.filter, plan.y, plan.convolution, plan.x,
                         static_cast<cudnnConvolutionBwdDataAlgo_t>(algorithm), &bytes);
  } else {
    status = FRCNN_VENDOR(cudnn, cudnnGetConvolutionBackwardFilterWorkspaceSize)
                 .status(handle, plan.x, plan.y, plan.convolution, plan.filter,
                         static_cast<cudnnConvolutionBwdFilterAlgo_t>(algorithm), &bytes);
  }
  if (status != CUDNN_STATUS_SUCCESS) return std::nullopt;
  return bytes;
}

/// Algorithms in the order of cuDNN's heuristics, those it advises against left out.
std::vector<int> advised(cudnnHandle_t handle, const Plan& plan, LayerPass pass) {
  std::vector<int> order;
  const auto collect = [&](const auto& found, int count) {
    for (int i = 0; i < count; ++i)
      if (found[i].status == CUDNN_STATUS_SUCCESS) order.push_back(static_cast<int>(found[i].algo));
  };
  int count = 0;
  if (is_forward(pass)) {
    std::array<cudnnConvolutionFwdAlgoPerf_t, CUDNN_CONVOLUTION_FWD_ALGO_COUNT> found{};
    FRCNN_VENDOR(cudnn, cudnnGetConvolutionForwardAlgorithm_v7)
    (handle, plan.x, plan.filter, plan.convolution, plan.y, static_cast<int>(found.size()), &count,
     found.data());
    collect(found, count);
  } else if (pass == LayerPass::backward_data) {
    std::array<cudnnConvolutionBwdDataAlgoPerf_t, CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT> found{};
    FRCNN_VENDOR(cudnn, cudnnGetConvolutionBackwardDataAlgorithm_v7)
    (handle, plan.filter, plan.y, plan.convolution, plan.x, static_cast<int>(found.size()), &count,
     found.data());
    collect(found, count);
  } else {
    std::array<cudnnConvolutionBwdFilterAlgoPerf_t, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT>
        found{};
    FRCNN_VENDOR(cudnn, cudnnGetConvolutionBackwardFilterAlgorithm_v7)
    (handle, plan.x, plan.y, plan.convolution, plan.filter, static_cast<int>(found.size()), &count,
     found.data());
    collect(found, count);
  }
  return order;
}

cudnnHandle_t handle_for(int device) {
  thread_local std::map<int, cudnnHandle_t> handles;
  cudnnHandle_t& handle = handles[device];
  if (handle == nullptr) FRCNN_VENDOR(cudnn, cudnnCreate)(&handle);
  return handle;
}

/// Fills in algorithm and workspace, or why there is none.
void choose(cudnnHandle_t handle, LayerPass pass, int wanted, Plan& plan) {
  std::vector<int> candidates{wanted};
  if (wanted < 0) {
    candidates.clear();
    for (const int algorithm : advised(handle, plan, pass))
      if (algorithm_at(pass, algorithm).deterministic) candidates.push_back(algorithm);
  }
  for (const int algorithm : candidates)
    if (const auto bytes = workspace_of(handle, plan, pass, algorithm)) {
      plan.algorithm = algorithm;
      plan.workspace = *bytes;
      return;
    }
  plan.refused = wanted < 0 ? "cuDNN has no deterministic algorithm for this convolution"
                            : fmt::format("cuDNN's algorithm {} does not do this convolution",
                                          algorithm_at(pass, wanted).name);
}

const Plan& plan_for(const Conv2dParams& p, LayerPass pass, const CudnnChoice& choice) {
  check(choice.algorithm < algorithm_count(pass),
        "[conv2d] cuDNN has no algorithm {} for this pass", choice.algorithm);
  is_nhwc(p);  // refuses what the key does not tell apart
  const int device = current_device();
  const std::array<int64_t, 17> key{
      device,
      p.input.n,
      p.input.c,
      p.input.h,
      p.input.w,
      p.input.block,
      p.out_channels,
      p.out_block,
      p.kernel_h,
      p.kernel_w,
      p.stride_h,
      p.stride_w,
      p.pad_h,
      p.pad_w,
      static_cast<int64_t>(is_forward(pass) ? LayerPass::forward_training : pass),
      static_cast<int64_t>(choice.math),
      choice.algorithm};
  thread_local std::map<std::array<int64_t, 17>, Plan> plans;
  const auto found = plans.find(key);
  if (found != plans.end()) return found->second;
  Plan plan = describe(p, choice.math);
  choose(handle_for(device), pass, choice.algorithm, plan);
  return plans.emplace(key, plan).first->second;
}

/// The same, for work: throws Error where there is none.
const Plan& working_plan(const Conv2dParams& p, LayerPass pass, const CudnnChoice& choice) {
  const Plan& plan = plan_for(p, pass, choice);
  check(plan.refused.empty(), "[conv2d] {}", plan.refused);
  return plan;
}

cudnnHandle_t handle_for(Stream stream) {
  const cudnnHandle_t handle = handle_for(current_device());
  FRCNN_VENDOR(cudnn, cudnnSetStream)(handle, stream);
  return handle;
}

/// The parts of a workspace. Maps of float are copied to bfloat16 and back where the factors are;
/// weight gradients come in the packed format.
template <typename T>
struct Parts {
  char* library = nullptr;
  Bfloat16 *x = nullptr, *y = nullptr;  ///< or their gradients
  Bfloat16 *bias = nullptr, *filter = nullptr;
  float* ordered = nullptr;  ///< gradient of the weights in float, (O, kh, kw, C)
  size_t bytes = 0;

  Parts(const Conv2dParams& p, LayerPass pass, VendorMath math, size_t library_bytes,
        void* workspace) {
    Room room(workspace);
    library = room.take<char>(static_cast<int64_t>(library_bytes));
    const bool bf16 = math == VendorMath::bf16, weights = pass == LayerPass::backward_weights;
    if (bf16 && std::is_same_v<T, float>) {
      x = room.take<Bfloat16>(p.input.size());
      y = room.take<Bfloat16>(p.output().size());
    }
    if (bf16) bias = room.take<Bfloat16>(p.out_channels);
    if (bf16 && weights) filter = room.take<Bfloat16>(p.weight_size());
    if (!bf16 && weights && is_nhwc(p)) ordered = room.take<float>(p.weight_size());
    bytes = room.used();
  }
};

/// The array for cuDNN to read: itself, or its rounded copy at `room`.
template <typename T>
const void* rounded(Stream stream, int64_t count, const T* from, Bfloat16* room) {
  if (room == nullptr) return from;
  launch_convert(stream, count, from, room);
  return room;
}
/// After cuDNN has written `room` in the place of `to`.
template <typename T>
void widen(Stream stream, int64_t count, const Bfloat16* room, T* to) {
  if (room != nullptr) launch_convert(stream, count, room, to);
}

constexpr float kOne = 1, kZero = 0;

}  // namespace

template <Backend backend, typename T>
bool conv2d_supported_cudnn(const Conv2dParams& p, LayerPass pass, const CudnnChoice& choice,
                            std::string* why) {
  try {
    check_math<T>(choice.math);
    const Plan& plan = plan_for(p, pass, choice);
    if (why != nullptr) *why = plan.refused;
    return plan.refused.empty();
  } catch (const Error& error) {
    if (why != nullptr) *why = error.what();
    return false;
  }
}

template <Backend backend, typename T>
size_t conv2d_workspace_cudnn(const Conv2dParams& p, LayerPass pass, const CudnnChoice& choice) {
  check_math<T>(choice.math);
  const Plan& plan = working_plan(p, pass, choice);
  return Parts<T>(p, pass, choice.math, plan.workspace, nullptr).bytes;
}

template <Backend backend, typename T>
void conv2d_forward_cudnn(Stream stream, const Conv2dParams& p, const T* x, const void* w,
                          const float* b, T* y, void* workspace, const CudnnChoice& choice) {
  check_math<T>(choice.math);
  const Plan& plan = working_plan(p, LayerPass::forward_training, choice);
  const Parts<T> parts(p, LayerPass::forward_training, choice.math, plan.workspace, workspace);
  const cudnnHandle_t handle = handle_for(stream);
  const auto algorithm = static_cast<cudnnConvolutionFwdAlgo_t>(plan.algorithm);
  const void* from = rounded(stream, p.input.size(), x, parts.x);
  const void* bias = b == nullptr ? nullptr : rounded(stream, p.out_channels, b, parts.bias);
  void* const to = parts.y != nullptr ? static_cast<void*>(parts.y) : y;
  if (bias != nullptr && p.relu) {
    FRCNN_VENDOR(cudnn, cudnnConvolutionBiasActivationForward)
    (handle, &kOne, plan.x, from, plan.filter, w, plan.convolution, algorithm, parts.library,
     plan.workspace, &kZero, plan.y, to, plan.bias, bias, plan.relu, plan.y, to);
  } else {
    FRCNN_VENDOR(cudnn, cudnnConvolutionForward)
    (handle, &kOne, plan.x, from, plan.filter, w, plan.convolution, algorithm, parts.library,
     plan.workspace, &kZero, plan.y, to);
    if (bias != nullptr)
      FRCNN_VENDOR(cudnn, cudnnAddTensor)(handle, &kOne, plan.bias, bias, &kOne, plan.y, to);
    if (p.relu) FRCNN_VENDOR(cudnn, cudnnActivationForward)
    (handle, plan.relu, &kOne, plan.y, to, &kZero, plan.y, to);
  }
  widen(stream, p.output().size(), parts.y, y);
}

template <Backend backend, typename T>
void conv2d_backward_data_cudnn(Stream stream, const Conv2dParams& p, const T* dy, const void* w,
                                T* dx, void* workspace, const CudnnChoice& choice) {
  check_math<T>(choice.math);
  const Plan& plan = working_plan(p, LayerPass::backward_data, choice);
  const Parts<T> parts(p, LayerPass::backward_data, choice.math, plan.workspace, workspace);
  const void* from = rounded(stream, p.output().size(), dy, parts.y);
  void* const to = parts.x != nullptr ? static_cast<void*>(parts.x) : dx;
  FRCNN_VENDOR(cudnn, cudnnConvolutionBackwardData)
  (handle_for(stream), &kOne, plan.filter, w, plan.y, from, plan.convolution,
   static_cast<cudnnConvolutionBwdDataAlgo_t>(plan.algorithm), parts.library, plan.workspace,
   &kZero, plan.x, to);
  widen(stream, p.input.size(), parts.x, dx);
}

template <Backend backend, typename T>
void conv2d_backward_weights_cudnn(Stream stream, const Conv2dParams& p, const T* x, const T* dy,
                                   float* dw, float* db, void* workspace,
                                   const CudnnChoice& choice) {
  check_math<T>(choice.math);
  const Plan& plan = working_plan(p, LayerPass::backward_weights, choice);
  const Parts<T> parts(p, LayerPass::backward_weights, choice.math, plan.workspace, workspace);
  const cudnnHandle_t handle = handle_for(stream);
  const void* from_x = rounded(stream, p.input.size(), x, parts.x);
  const void* from_dy = rounded(stream, p.output().size(), dy, parts.y);
  void* to = dw;
  if (parts.filter != nullptr) to = parts.filter;
  if (parts.ordered != nullptr) to = parts.ordered;
  FRCNN_VENDOR(cudnn, cudnnConvolutionBackwardFilter)
  (handle, &kOne, plan.x, from_x, plan.y, from_dy, plan.convolution,
   static_cast<cudnnConvolutionBwdFilterAlgo_t>(plan.algorithm), parts.library, plan.workspace,
   &kZero, plan.filter, to);
  if (parts.filter != nullptr) launch_unpack(stream, p, parts.filter, dw);
  if (parts.ordered != nullptr) launch_unpack(stream, p, parts.ordered, dw);
  if (db == nullptr) return;
  void* const to_bias = parts.bias != nullptr ? static_cast<void*>(parts.bias) : db;
  FRCNN_VENDOR(cudnn, cudnnConvolutionBackwardBias)
  (handle, &kOne, plan.y, from_dy, &kZero, plan.bias, to_bias);
  widen(stream, p.out_channels, parts.bias, db);
}

#else  // emulation, or a toolkit without cuDNN
namespace {
constexpr const char* kAbsent = kBackend == Backend::emulated
                                    ? "cuDNN is not available under emulation"
                                    : "cuDNN is not available in this build: there was no cudnn.h";
}  // namespace

template <Backend backend, typename T>
bool conv2d_supported_cudnn(const Conv2dParams&, LayerPass, const CudnnChoice&, std::string* why) {
  if (why != nullptr) *why = kAbsent;
  return false;
}
template <Backend backend, typename T>
size_t conv2d_workspace_cudnn(const Conv2dParams&, LayerPass, const CudnnChoice&) {
  fail("[conv2d] {}", kAbsent);
}
template <Backend backend, typename T>
void conv2d_forward_cudnn(Stream, const Conv2dParams&, const T*, const void*, const float*, T*,
                          void*, const CudnnChoice&) {
  fail("[conv2d] {}", kAbsent);
}
template <Backend backend, typename T>
void conv2d_backward_data_cudnn(Stream, const Conv2dParams&, const T*, const void*, T*, void*,
                                const CudnnChoice&) {
  fail("[conv2d] {}", kAbsent);
}
template <Backend backend, typename T>
void conv2d_backward_weights_cudnn(Stream, const Conv2dParams&, const T*, const T*, float*, float*,
                                   void*, const CudnnChoice&) {
  fail("[conv2d] {}", kAbsent);
}
#endif

#define FRCNN_INSTANTIATE(T)                                                              \
  template bool conv2d_supported_cudnn<kBackend, T>(const Conv2dParams&, LayerPass,       \
                                                    const CudnnChoice&, std::string*);    \
  template size_t conv2d_workspace_cudnn<kBackend, T>(const Conv2dParams&, LayerPass,     \
                                                      const CudnnChoice&);                \
  template void conv2d_forward_cudnn<kBackend, T>(Stream, const Conv2dParams&, const T*,  \
                                                  const void*, const float*, T*, void*,   \
                                                  const CudnnChoice&);                    \
  template void conv2d_backward_data_cudnn<kBackend, T>(                                  \
      Stream, const Conv2dParams&, const T*, const void*, T*, void*, const CudnnChoice&); \
  template void conv2d_backward_weights_cudnn<kBackend, T>(                               \
      Stream, const Conv2dParams&, const T*, const T*, float*, float*, void*, const CudnnChoice&);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(Bfloat16)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
