// Dense layers on a GPU: each pass is one matrix product (gemm.cuh), by the version asked for.
#include "kernels/linear/linear.h"

#include "kernels/linear/gemm_mma.cuh"
#include "kernels/linear/gemm_registers.cuh"
#include "kernels/linear/gemm_simple.cuh"
#include "kernels/linear/linear_cublaslt.h"

namespace frcnn::kernels::gpu {
namespace {
using gemm::DepthMajor;
using gemm::Major;
using gemm::OuterMajor;
using gemm::Output;
using gemm::Split;
using Version = LinearVersion;

constexpr int64_t kTile = 128;  // of C, in all versions that split
static_assert(kTile == gemm::RegisterTile::kSize);
static_assert(kTile == gemm::MmaTile<gemm::Tf32, float, Major::depth>::kSize);

bool is_cublaslt(Version version) {
  return version >= Version::cublaslt_f32;
}

/// How a version cuts the depth of an m x n product.
Split split_of(Version version, int64_t m, int64_t n, int64_t k) {
  const bool splits =
      version == Version::split_k || version == Version::mma_tf32 || version == Version::mma_bf16;
  return splits ? Split::of(m, n, k, kTile) : Split::none(k);
}

template <typename T>
void check_version(Version version) {
  check(linear_supports<T>(version), "[linear] the version {} does not take {} factors",
        kLinearVersions[static_cast<int>(version)].name,
        std::is_same_v<T, double> ? "double" : "bfloat16");
}

/// C = A B with the kernels of the ladder.
template <Backend backend, typename A, typename B, typename Out, typename Sum>
void multiply(Stream stream, Version version, const A& a, const B& b, const Output<Out, Sum>& out,
              void* workspace) {
  using T = typename A::Element;
  check_version<T>(version);
  const bool empty = out.m == 0 || out.n == 0 || a.depth == 0;  // the library refuses these
  if (is_cublaslt(version) && !empty) {
    if constexpr (!std::is_same_v<T, double>) {
      constexpr bool a_outer = A::major == Major::outer, b_outer = B::major == Major::outer;
      cublaslt_product<backend, T, Out>(stream, version, {out.m, out.n, a.depth, a_outer, b_outer},
                                        a.data, b.data, out.bias, out.relu, out.data, workspace);
    }
    return;
  }
  const Split split = split_of(version, out.m, out.n, a.depth);
  if (version == Version::naive || is_cublaslt(version)) return gemm::run_naive(stream, a, b, out);
  if (version == Version::tiled) return gemm::run_tiled(stream, a, b, out);
  if constexpr (std::is_same_v<T, float>) {
    if (version == Version::registers || version == Version::split_k)
      return gemm::run_registers(stream, a, b, out, split, workspace);
    if (version == Version::mma_tf32)
      return gemm::run_mma<gemm::Tf32>(stream, a, b, out, split, workspace);
  }
  if constexpr (!std::is_same_v<T, double>)
    return gemm::run_mma<gemm::Bf16>(stream, a, b, out, split, workspace);
}

constexpr unsigned kSumColumns = 32, kSumRows = 8;

/// sums[c] = sum over r of x[r, c], by a block per 32 columns: eight threads per column take rows
/// in turn, the first of them adds the eight sums in order.
template <typename T, typename Sum>
__global__ void column_sums(const T* x, int64_t rows, int64_t columns, Sum* sums) {
  FRCNN_SHARED(double, parts, [kSumRows][kSumColumns]);
  const int64_t column = int64_t{blockIdx.x} * kSumColumns + threadIdx.x;
  double sum = 0;
  if (column < columns)
    for (int64_t row = threadIdx.y; row < rows; row += kSumRows)
      sum += static_cast<double>(gemm::element_cast<Sum>(x[row * columns + column]));
  parts[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= columns) return;
  for (unsigned i = 1; i < kSumRows; ++i) sum += parts[i][threadIdx.x];
  sums[column] = static_cast<Sum>(sum);
}

}  // namespace

template <Backend backend, typename T, typename Out>
void linear_forward(Stream stream, const LinearParams& p, const T* x, const T* w,
                    const LinearSum<T>* b, Out* y, void* workspace, Version version) {
  multiply<backend>(stream, version, DepthMajor<T>{x, p.rows, p.in}, DepthMajor<T>{w, p.out, p.in},
                    Output<Out, LinearSum<T>>{y, p.rows, p.out, b, p.relu}, workspace);
}

template <Backend backend, typename T, typename Out>
void linear_backward_data(Stream stream, const LinearParams& p, const T* dy, const T* w, Out* dx,
                          void* workspace, Version version) {
  multiply<backend>(stream, version, DepthMajor<T>{dy, p.rows, p.out},
                    OuterMajor<T>{w, p.in, p.out}, Output<Out, LinearSum<T>>{dx, p.rows, p.in},
                    workspace);
}

template <Backend backend, typename T>
void linear_backward_weights(Stream stream, const LinearParams& p, const T* x, const T* dy,
                             LinearSum<T>* dw, LinearSum<T>* db, void* workspace, Version version) {
  multiply<backend>(stream, version, OuterMajor<T>{dy, p.out, p.rows},
                    OuterMajor<T>{x, p.in, p.rows},
                    Output<LinearSum<T>, LinearSum<T>>{dw, p.out, p.in}, workspace);
  if (db == nullptr) return;
  launch(
      {"linear_bias_gradient", blocks_for(p.out, kSumColumns), {kSumColumns, kSumRows}, 0, stream},
      column_sums<T, LinearSum<T>>, dy, p.rows, p.out, db);
}

template <Backend backend, typename T>
size_t linear_workspace(const LinearParams& p, LayerPass pass, Version version) {
  check_version<T>(version);
  int64_t m = p.rows, n = p.out, k = p.in;
  if (pass == LayerPass::backward_data) n = p.in, k = p.out;
  if (pass == LayerPass::backward_weights) m = p.out, n = p.in, k = p.rows;
  if (is_cublaslt(version))
    return CublasltWorkspace({m, n, k},
                             version == Version::cublaslt_bf16 && std::is_same_v<T, float>)
        .end;
  return split_of(version, m, n, k).workspace(m, n);
}

#define FRCNN_INSTANTIATE(T, Out)                                                                 \
  template void linear_forward<kBackend, T, Out>(Stream, const LinearParams&, const T*, const T*, \
                                                 const LinearSum<T>*, Out*, void*, Version);      \
  template void linear_backward_data<kBackend, T, Out>(Stream, const LinearParams&, const T*,     \
                                                       const T*, Out*, void*, Version);
FRCNN_INSTANTIATE(float, float)
FRCNN_INSTANTIATE(double, double)
FRCNN_INSTANTIATE(Bfloat16, float)
FRCNN_INSTANTIATE(Bfloat16, Bfloat16)
#undef FRCNN_INSTANTIATE

#define FRCNN_INSTANTIATE(T)                                                                 \
  template void linear_backward_weights<kBackend, T>(Stream, const LinearParams&, const T*,  \
                                                     const T*, LinearSum<T>*, LinearSum<T>*, \
                                                     void*, Version);                        \
  template size_t linear_workspace<kBackend, T>(const LinearParams&, LayerPass, Version);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
FRCNN_INSTANTIATE(Bfloat16)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
