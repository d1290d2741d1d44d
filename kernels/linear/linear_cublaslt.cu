#include "kernels/linear/linear_cublaslt.h"

#include <map>
#include <mutex>
#include <tuple>

#include "kernels/launch/vendor.cuh"

namespace frcnn::kernels::gpu {

#if defined(FRCNN_HAVE_CUBLAS)
namespace {

__global__ void round_to_bf16(int64_t count, const float* from, Bfloat16* to) {
  for (int64_t i = grid_first(); i < count; i += grid_step()) to[i] = Bfloat16(from[i]);
}

template <typename T>
constexpr cudaDataType_t kDataType = std::is_same_v<T, float> ? CUDA_R_32F : CUDA_R_16BF;

/// The largest power of two, up to 256, that divides an address.
uint32_t alignment(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer) | 256u;
  return static_cast<uint32_t>(address & (~address + 1));
}

/// What distinguishes one prepared product from another.
struct Key {
  int device;
  ProductShape shape;
  cublasComputeType_t compute;
  cudaDataType_t in, out;
  bool bias, relu;
  uint32_t align_a, align_b, align_c;
  auto operator<=>(const Key&) const = default;
};

/// Descriptions and the chosen algorithm. Plans are kept until the program ends: the library may be
/// gone before destructors of static objects run.
struct Plan {
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t first = nullptr, second = nullptr, result = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
};

template <typename Value>
void set(cublasLtMatmulDesc_t product, cublasLtMatmulDescAttributes_t attribute, Value value) {
  FRCNN_VENDOR(cublaslt, cublasLtMatmulDescSetAttribute)(product, attribute, &value, sizeof value);
}
template <typename Value>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute,
         Value value) {
  FRCNN_VENDOR(cublaslt, cublasLtMatmulPreferenceSetAttribute)
  (preference, attribute, &value, sizeof value);
}

cublasLtEpilogue_t epilogue(bool bias, bool relu) {
  if (bias) return relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
  return relu ? CUBLASLT_EPILOGUE_RELU : CUBLASLT_EPILOGUE_DEFAULT;
}

cublasLtMatrixLayout_t layout(cudaDataType_t type, int64_t rows, int64_t columns, int64_t stride) {
  cublasLtMatrixLayout_t result = nullptr;
  FRCNN_VENDOR(cublaslt, cublasLtMatrixLayoutCreate)
  (&result, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), stride);
  return result;
}

Plan make_plan(cublasLtHandle_t handle, const Key& key) {
  const BlasCall call = blas_call(key.shape);
  Plan plan;
  FRCNN_VENDOR(cublaslt, cublasLtMatmulDescCreate)(&plan.product, key.compute, CUDA_R_32F);
  const auto op = [](bool transpose) { return transpose ? CUBLAS_OP_T : CUBLAS_OP_N; };
  set(plan.product, CUBLASLT_MATMUL_DESC_TRANSA, op(call.transpose_first));
  set(plan.product, CUBLASLT_MATMUL_DESC_TRANSB, op(call.transpose_second));
  set(plan.product, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue(key.bias, key.relu));
  if (key.bias) set(plan.product, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, key.out);
  plan.first = layout(key.in, call.transpose_first ? call.k : call.m,
                      call.transpose_first ? call.m : call.k, call.stride_first);
  plan.second = layout(key.in, call.transpose_second ? call.n : call.k,
                       call.transpose_second ? call.k : call.n, call.stride_second);
  plan.result = layout(key.out, call.m, call.n, call.stride_result);

  cublasLtMatmulPreference_t preference = nullptr;
  FRCNN_VENDOR(cublaslt, cublasLtMatmulPreferenceCreate)(&preference);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{CublasltWorkspace::kOwn});
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.align_b);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.align_a);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.align_c);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.align_c);
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  FRCNN_VENDOR(cublaslt, cublasLtMatmulAlgoGetHeuristic)
  (handle, plan.product, plan.first, plan.second, plan.result, plan.result, preference, 1, &found,
   &count);
  FRCNN_VENDOR(cublaslt, cublasLtMatmulPreferenceDestroy)(preference);
  check(count > 0, "[cublas] cuBLASLt has no algorithm for a product of {} x {} x {}", key.shape.m,
        key.shape.n, key.shape.k);
  plan.algorithm = found.algo;
  return plan;
}

/// The calling thread's handle and plans for the current device: calls need no lock.
struct ThreadState {
  std::map<int, cublasLtHandle_t> handles;
  std::map<Key, Plan> plans;
};
ThreadState& thread_state() {
  thread_local ThreadState state;
  return state;
}

void multiply(Stream stream, const Key& key, const void* a, const void* b, const void* bias,
              void* c, void* workspace) {
  ThreadState& state = thread_state();
  cublasLtHandle_t& handle = state.handles[key.device];
  if (handle == nullptr) FRCNN_VENDOR(cublaslt, cublasLtCreate)(&handle);
  auto found = state.plans.find(key);
  if (found == state.plans.end()) found = state.plans.emplace(key, make_plan(handle, key)).first;
  const Plan& plan = found->second;
  if (bias != nullptr) set(plan.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  const float one = 1, zero = 0;
  FRCNN_VENDOR(cublaslt, cublasLtMatmul)
  (handle, plan.product, &one, b, plan.first, a, plan.second, &zero, c, plan.result, c, plan.result,
   &plan.algorithm, workspace, CublasltWorkspace::kOwn, stream);
}

/// A bfloat16 copy of an array at `to`, or the array itself when it is one.
const void* rounded(Stream stream, const float* from, int64_t count, char* to) {
  constexpr int kThreads = 256;
  launch({"round_to_bf16", blocks_for(count, kThreads), kThreads, 0, stream}, round_to_bf16, count,
         from, reinterpret_cast<Bfloat16*>(to));
  return to;
}
const void* rounded(Stream, const Bfloat16* from, int64_t, char*) {
  return from;
}

}  // namespace

template <Backend backend, typename T, typename Out>
void cublaslt_product(Stream stream, LinearVersion version, const ProductShape& shape, const T* a,
                      const T* b, const float* bias, bool relu, Out* c, void* workspace) {
  const bool bf16 = version == LinearVersion::cublaslt_bf16;
  const CublasltWorkspace parts(shape, bf16 && std::is_same_v<T, float>);
  check(workspace != nullptr, "[linear] the cublaslt versions need a workspace of {} bytes",
        parts.end);
  auto* const room = static_cast<char*>(workspace);
  const void* factor_a = bf16 ? rounded(stream, a, shape.m * shape.k, room + parts.a) : a;
  const void* factor_b = bf16 ? rounded(stream, b, shape.k * shape.n, room + parts.b) : b;
  const void* biases = bias;
  if (bias != nullptr && std::is_same_v<Out, Bfloat16>)
    biases = rounded(stream, bias, shape.n, room + parts.bias);
  Key key{};
  key.device = current_device();
  key.shape = shape;
  key.compute =
      version == LinearVersion::cublaslt_tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  key.in = bf16 ? CUDA_R_16BF : CUDA_R_32F;
  key.out = kDataType<Out>;
  key.bias = bias != nullptr;
  key.relu = relu;
  key.align_a = alignment(factor_a);
  key.align_b = alignment(factor_b);
  key.align_c = alignment(c);
  multiply(stream, key, factor_a, factor_b, biases, c, workspace);
}

#else  // emulation, or a toolkit without cuBLAS

template <Backend backend, typename T, typename Out>
void cublaslt_product(Stream, LinearVersion, const ProductShape&, const T*, const T*, const float*,
                      bool, Out*, void*) {
  fail("[linear] cuBLASLt is not available {}",
       backend == Backend::emulated ? "under emulation"
                                    : "in this build: the toolkit had no cublasLt.h");
}

#endif

#define FRCNN_INSTANTIATE(T, Out)                                                                \
  template void cublaslt_product<kBackend, T, Out>(Stream, LinearVersion, const ProductShape&,   \
                                                   const T*, const T*, const float*, bool, Out*, \
                                                   void*);
FRCNN_INSTANTIATE(float, float)
FRCNN_INSTANTIATE(Bfloat16, float)
FRCNN_INSTANTIATE(Bfloat16, Bfloat16)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
